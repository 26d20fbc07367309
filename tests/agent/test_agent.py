"""The agent API against its OpenAPI document, on the real operator.

The order matters: the tenant's story goes on from test to test, and the last one asks that every call
was answered in every way that is documented for it.
"""

import base64
import datetime
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import hypothesis
import openapi_spec_validator
import pytest
import schemathesis
from conftest import CANARY, DOCUMENT, JSON, PATHS, POSTS, ROOT, TENANT, Ledger
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

LONG = bool(os.environ.get("MANY_EXAMPLES"))
EXAMPLES = 500 if LONG else 60
# Nobody has allowed it this key.
MANIFEST = """
apiVersion: tenantkms.dev/v1alpha1
kind: TenantKms
metadata: { name: fern }
spec:
  provider: azure
  kmsKeyRef: https://acme-kv.vault.azure.net/keys/none
"""


def b64(data):
    return base64.b64encode(data).decode()


PLAINTEXT, AAD = b64(b"plaintext"), b64(b"record-1")
EARLY = {}


@pytest.fixture(scope="session")
def bodies(world):
    """A good one for each call."""
    session = world.session()["session_token"]
    _, sealed = world.post("encrypt", {"plaintext": PLAINTEXT, "aad": AAD}, session=session)
    item = {"ciphertext": sealed["ciphertext"], "aad": AAD}
    return {
        "session": {"tenant": TENANT},
        "encrypt": {"plaintext": PLAINTEXT, "aad": AAD},
        "decrypt": item,
        "data_key": {"aad": AAD},
        "rewrap": {"items": [item]},
    }


def test_the_document_is_valid_and_served(world):
    openapi_spec_validator.validate(DOCUMENT)
    served = world.http.get(world.url + "/agent/v1/openapi.json", timeout=30)
    assert served.status_code == 200 and served.headers["content-type"] == JSON
    assert served.json() == DOCUMENT


def test_every_call_is_served(world, bodies):
    answer = world.session()
    EARLY.update(answer)
    world.every("ok", bodies, answer["session_token"])
    session = answer["session_token"]
    for aad in [{}, {"aad": None}, {"aad": ""}]:
        _, sealed = world.post("encrypt", {"plaintext": PLAINTEXT, **aad}, session=session)
        opened = world.until("ok", "decrypt", {"ciphertext": sealed["ciphertext"]}, session=session)
        assert opened["plaintext"] == PLAINTEXT


def test_decrypt_py_opens_what_the_operator_made_and_the_reverse(world, tmp_path):
    session = world.session()["session_token"]
    known = world.ask("masterKeys")
    _, sealed = world.post("encrypt", {"plaintext": PLAINTEXT, "aad": AAD}, session=session)
    key_id = sealed["key_id"]
    file = tmp_path / "key"
    file.write_bytes(base64.b64decode(known["keys"][key_id]))

    def run(what, data, *options):
        command = [sys.executable, ROOT / "examples/decrypt.py", what]
        command += ["--tenant-uid", known["tenantUid"], "--master-key-file", file, "--aad", AAD]
        ran = subprocess.run([*command, *options], input=data, stdout=subprocess.PIPE, timeout=60)
        assert ran.returncode == 0
        return ran.stdout

    assert run("open", sealed["ciphertext"].encode()) == b"plaintext"
    _, key = world.post("data_key", {"aad": AAD}, session=session)
    assert run("open", key["ciphertext"].encode()) == base64.b64decode(key["plaintext"])
    made = run("seal", b"made elsewhere", "--key-id", key_id).decode().strip()
    opened = world.until("ok", "decrypt", {"ciphertext": made, "aad": AAD}, session=session)
    assert (opened["plaintext"], opened["key_id"]) == (b64(b"made elsewhere"), key_id)
    for wrong in [{"ciphertext": made}, {"ciphertext": made, "aad": PLAINTEXT}]:
        assert world.post("decrypt", wrong, session=session)[0] == "ciphertext_invalid"


SCHEMA = schemathesis.openapi.from_dict(
    DOCUMENT,
    config=SchemathesisConfig.from_dict({
        "generation": {"max-examples": EXAMPLES, "deterministic": not LONG},
        "checks": {"negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 413, 415]}},
    }),
)  # fmt: skip


def beyond_the_schema(case, answer):
    """The checks that do not know what the schema cannot say of this case."""
    name = PATHS.get(case.operation.path)
    if name == "rewrap" and answer.status_code == 200:
        # What is wrong with an item is told in its place.
        if any("error" in item for item in answer.json()["items"]):
            yield negative_data_rejection
    elif name == "decrypt" and answer.status_code == 400:
        # Nobody can guess a ciphertext.
        if answer.json()["error"]["type"] == "ciphertext_invalid":
            yield positive_data_acceptance
    elif name == "session" and answer.status_code == 400 and isinstance(case.body, dict):
        # Names of objects are shorter than a namespace and the longest name together.
        if len(str(case.body.get("tenant")).partition("/")[2]) > 253:
            yield positive_data_acceptance


def texts(value):
    """All that a caller wrote."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from texts(one)


# What came of generated calls, call by call.
GENERATED = {name: set() for name in POSTS}
KNOWN = {text for text in texts(DOCUMENT)}


def judge(world, case, answer):
    name = PATHS.get(case.operation.path)
    if answer.status_code == 405 or name is None:
        return
    kind = world.ledger.saw(name, answer)
    GENERATED[name].add(kind)
    if kind in {"ok", "forbidden", "tenant_not_found"}:
        return  # the last two name the tenant, which is a name then
    for text in texts(case.body):
        assert len(text) < 8 or text in KNOWN or text not in answer.text, "what was sent is repeated"


def how(world, case):
    """How a generated case is sent."""
    headers = {"Authorization": f"Bearer {world.token}"}
    if PATHS.get(case.operation.path) != "session":
        headers["X-Session-Token"] = world.fresh()
    return headers, {"session": world.http, "verify": str(world.ca), "timeout": 30}


@SCHEMA.parametrize()
@hypothesis.settings(deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_generated_calls(case, world):
    headers, transport = how(world, case)
    answer = case.call(base_url=world.url, headers=headers, **transport)
    judge(world, case, answer)
    excluded = list(beyond_the_schema(case, answer))
    case.validate_response(
        answer, headers=headers, transport_kwargs=transport, excluded_checks=excluded
    )


def test_what_one_call_gives_another_takes(world):
    class Machine(SCHEMA.as_state_machine()):
        def get_call_kwargs(self, case):
            headers, transport = how(world, case)
            return {"base_url": world.url, "headers": headers, **transport}

        def after_call(self, response, case):
            judge(world, case, response)
            followed.add((case.operation.path, response.status_code))

        def validate_response(self, response, case, **_):
            headers, transport = how(world, case)
            # A link makes a good body of what was generated as a bad one.
            excluded = [negative_data_rejection, *beyond_the_schema(case, response)]
            case.validate_response(
                response, headers=headers, transport_kwargs=transport, excluded_checks=excluded
            )

    followed = set()
    settings = hypothesis.settings(
        max_examples=EXAMPLES // 2,
        stateful_step_count=6,
        deadline=None,
        derandomize=not LONG,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    Machine.run(settings=settings)
    assert ("/agent/v1/decrypt", 200) in followed, "nothing generated was ever decrypted"


def test_some_of_what_is_generated_is_served_by_every_call():
    never = [name for name, kinds in GENERATED.items() if "ok" not in kinds]
    assert not never, f"nothing generated was ever served: {never}"


def test_what_cannot_be_served_is_refused(world, bodies):
    session = world.session()["session_token"]
    raw = json.dumps({"plaintext": CANARY}).encode()
    for name in POSTS:
        shown = None if name == "session" else session
        for bad in [b"", b"[]", b"{", b"\xff", raw, b'{"more": "' + CANARY.encode() + b'"}']:
            kind, _ = world.post(name, bad, session=shown)
            assert kind == "invalid_request", bad
        # The values alone, in an array, are no object.
        values = json.dumps(list(bodies[name].values())).encode()
        assert world.post(name, values, session=shown)[0] == "invalid_request"
        large = json.dumps({"aad": "A" * (1024 * 1024)}).encode()
        assert world.post(name, large, session=shown)[0] == "payload_too_large"
        plain = world.post(name, bodies[name], session=shown, kind="text/plain")
        assert plain[0] == "unsupported_media_type"
        for token in [CANARY, "x.y.z", "é".encode().decode("latin-1")]:
            kind, _ = world.post(name, bodies[name], token=token, session=shown)
            assert kind == "unauthenticated"
        if shown:
            for wrong in [None, CANARY, "tks1_AAAA", session[:-4] + "AAAA"]:
                kind, _ = world.post(name, bodies[name], session=wrong)
                assert kind == "session_invalid"
    for field in ["ciphertext", "aad"]:
        item = {**bodies["decrypt"], field: b64(os.urandom(100))}
        assert world.post("decrypt", item, session=session)[0] == "ciphertext_invalid"


def test_what_is_wrong_with_one_item_is_told_in_its_place(world, bodies):
    session = world.session()["session_token"]
    good = bodies["decrypt"]
    # Of master keys that nobody knows: all in one call, each answered.
    unknown = [{"ciphertext": b64(b"TKM\x01" + os.urandom(200))} for _ in range(3)]
    odd = [{"ciphertext": CANARY}, {**good, "aad": "A" * 10924}]
    items = [good, *unknown, *odd, good]
    answer = world.until("ok", "rewrap", {"items": items}, session=session)
    kinds = [item.get("error", {}).get("type", "ok") for item in answer["items"]]
    wanted = ["ciphertext_invalid"] * 3 + ["invalid_request", "payload_too_large"]
    assert kinds == ["ok", *wanted, "ok"]
    assert CANARY not in json.dumps(answer)
    for number in [0, 101]:
        kind, _ = world.post("rewrap", {"items": [good] * number}, session=session)
        assert kind == "invalid_request"


def test_nobody_else_may(world, bodies):
    other = world.ask("token", account="other")["token"]
    session = world.session()["session_token"]
    world.every("forbidden", bodies, session, token=other)


def test_a_body_that_does_not_come_is_not_waited_for(world, bodies):
    session = world.session()["session_token"]

    def stall(name):
        place = urlsplit(world.url)
        tls = ssl.create_default_context(cafile=world.ca)
        head = (
            f"POST {POSTS[name][0]} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: {JSON}\r\n"
            f"Authorization: Bearer {world.token}\r\nX-Session-Token: {session}\r\n"
            "Content-Length: 1000\r\n\r\n{"
        )
        with socket.create_connection((place.hostname, place.port), timeout=30) as tcp:
            with tls.wrap_socket(tcp, server_hostname=place.hostname) as connection:
                connection.sendall(head.encode())
                return connection.makefile("rb").read()

    class Answer:
        def __init__(self, raw):
            head, _, body = raw.decode().partition("\r\n\r\n")
            status, *lines = head.split("\r\n")
            self.status_code, self.text = int(status.split()[1]), body
            self.headers = dict(line.split(": ", 1) for line in lines)

        def json(self):
            return json.loads(self.text)

    with ThreadPoolExecutor(len(POSTS)) as pool:
        for name, raw in zip(POSTS, pool.map(stall, POSTS), strict=True):
            assert world.ledger.saw(name, Answer(raw)) == "busy"


def test_a_session_ends_at_its_time(world, bodies):
    ends = datetime.datetime.fromisoformat(EARLY["expires_at"]).timestamp()
    time.sleep(max(0, ends - time.time()))
    for name in POSTS:
        if name != "session":
            kind, _ = world.post(name, bodies[name], session=EARLY["session_token"])
            assert kind == "session_expired"


def test_an_erased_key_opens_nothing(world, bodies):
    session = world.session()["session_token"]
    before = world.until("ok", "decrypt", bodies["decrypt"], session=session)["key_id"]
    world.ask("key", to="rotate")
    world.annotate("verify-requested-at")
    deadline = time.monotonic() + 30
    while world.until("ok", "encrypt", bodies["encrypt"], session=session)["key_id"] == before:
        assert time.monotonic() < deadline, "no rotation"
    world.ask("retired")
    world.annotate("verify-requested-at")  # then the record is read again
    world.patch({"masterKey": {"erasedIds": [before]}})
    world.until("session_invalid", "encrypt", bodies["encrypt"], session=session)
    session = world.session()["session_token"]
    world.until("key_erased", "decrypt", bodies["decrypt"], session=session)
    answer = world.until("ok", "rewrap", bodies["rewrap"], session=session)
    assert answer["items"][0]["error"]["type"] == "key_erased"


def test_nobody_may_call_for_ever(world, bodies):
    session = world.session()["session_token"]
    world.ask("limits", yaml="{ agentCallerRps: 1, agentTenantRps: 10000 }")
    world.every("rate_limited", bodies, session)
    world.ask("limits", yaml="{ agentCallerRps: 10000, agentTenantRps: 10000 }")
    world.session()


def test_without_a_proof_nothing_is_given_out(world, bodies):
    session = world.session()["session_token"]
    world.ask("cloud", to="hang")
    other = world.ask("replica")["url"]
    world.every("kms_unavailable", bodies, session, url=other)
    world.ask("cloud", to="heal")


def test_a_suspended_and_a_sealed_tenant_is_used_by_nobody(world, bodies):
    session = world.session()["session_token"]
    world.patch({"suspend": True})
    world.every("tenant_suspended", bodies, session)
    world.patch({"suspend": False})
    session = world.session()["session_token"]
    world.ask("key", to="disable")
    world.every("tenant_sealed", bodies, session)


def test_a_tenant_that_is_gone_has_no_sessions(world, bodies):
    # The session's form is right, and its tenant's state is told before whose it is.
    world.kubectl("delete", "tkms", "acme")
    world.every("tenant_not_found", bodies, EARLY["session_token"])


def test_a_tenant_that_was_never_proved_has_none_yet(world, bodies):
    for right in ["session", "datakey"]:
        world.allow("app", right, tenant="fern")
    world.kubectl("create", "--filename", "-", input=MANIFEST)
    early = EARLY["session_token"].removeprefix("tks1_")
    early = base64.urlsafe_b64decode(early + "=" * (-len(early) % 4))
    forged = early.replace(b"tenants/acme", b"tenants/fern")
    forged = "tks1_" + base64.urlsafe_b64encode(forged).decode().rstrip("=")
    world.every("tenant_pending", {**bodies, "session": {"tenant": "tenants/fern"}}, forged)


def test_without_reviews_nobody_is_known(world, bodies):
    token = world.ask("token", account="late")["token"]
    world.ask("api", to="stop")
    world.every("reviews_unavailable", bodies, EARLY["session_token"], token=token)


def test_every_call_was_answered_in_every_documented_way(ledger):
    missing = {
        name: sorted(types - ledger.seen[name])
        for name, types in Ledger.documented().items()
        if types - ledger.seen[name]
    }
    assert not missing, f"documented, and never answered: {missing}"
