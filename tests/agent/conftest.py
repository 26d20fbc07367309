"""A world with the agent API in it, and the list of what it answered.

The world is a program named by AGENT_WORLD_BIN; what it can do is said there.
"""

import json
import os
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = json.loads((ROOT / "docs/openapi.json").read_text())
JSON = "application/json"
POSTS = {
    item["post"]["operationId"]: (path, item["post"])
    for path, item in DOCUMENT["paths"].items()
    if "post" in item
}
PATHS = {path: name for name, (path, _) in POSTS.items()}
# What rewrap tells of one item.
ITEM = "item: "
ITEMS = {"invalid_request", "ciphertext_invalid", "key_erased", "payload_too_large"}


class Ledger:
    """What each call was answered, each answer held against the document."""

    def __init__(self):
        self.seen = {name: set() for name in POSTS}

    @staticmethod
    def documented():
        """What each call may be answered."""
        all_of = {}
        for name, (_, post) in POSTS.items():
            types = [answer.get("x-error-types", []) for answer in post["responses"].values()]
            all_of[name] = {"ok"}.union(*types)
        all_of["rewrap"] |= {ITEM + kind for kind in ITEMS}
        return all_of

    def saw(self, name, answer):
        """Gives the type of the error, or `ok`."""
        path, post = POSTS[name]
        said = f"{name}: {answer.status_code} {answer.text[:500]}"
        status = str(answer.status_code)
        assert status in post["responses"], said
        headers = {  # lower-case; one value each
            key.lower(): value if isinstance(value, str) else ",".join(value)
            for key, value in answer.headers.items()
        }
        assert headers["content-type"] == JSON, said
        assert headers["cache-control"] == "no-store", said
        place = "/".join(part.replace("/", "~1") for part in [path, "post", "responses", status])
        schema = {**DOCUMENT, "$ref": f"#/paths/{place}/content/{JSON.replace('/', '~1')}/schema"}
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        body = answer.json()
        jsonschema.Draft202012Validator(schema, format_checker=checker).validate(body)
        for header, told in post["responses"][status].get("headers", {}).items():
            value = headers.get(header.lower())
            assert value is not None or not told.get("required"), f"{said}: no {header}"
            if header == "Retry-After" and value is not None:
                assert int(value) >= told["schema"]["minimum"], said
        kind = "ok"
        if status != "200":
            kind = body["error"]["type"]
            assert kind in post["responses"][status]["x-error-types"], said
            assert (kind == "unauthenticated") == ("www-authenticate" in headers), said
        self.seen[name].add(kind)
        if name == "rewrap" and kind == "ok":
            kinds = {item["error"]["type"] for item in body["items"] if "error" in item}
            assert kinds <= ITEMS, said
            self.seen[name] |= {ITEM + kind for kind in kinds}
        return kind


class World:
    def __init__(self, process, folder, ledger):
        self.process = process
        self.ledger = ledger
        self.renew = 0
        first = self.read()
        self.url = first["url"]
        self.ca = folder / "ca.crt"
        self.ca.write_text(first["ca"])
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.verify = str(self.ca)
        self.token = self.ask("token", account="app")["token"]
        self.allow("app", "session")
        self.allow("app", "datakey")

    def read(self):
        line = self.process.stdout.readline()
        assert line, f"the world ended: {self.process.wait(timeout=30)}"
        return json.loads(line)

    def ask(self, do, **fields):
        self.process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self.process.stdin.flush()
        return self.read()

    def kubectl(self, *args, input=None):
        return self.ask("kubectl", args=["--namespace", "tenants", *args], input=input)["said"]

    def patch(self, spec):
        self.kubectl("patch", "tkms", "acme", "--type", "merge", "--patch", json.dumps({"spec": spec}))

    def annotate(self, what):
        self.kubectl("annotate", "tkms", "acme", "--overwrite", f"tenantkms.dev/{what}={time.time()}")

    def allow(self, account, right, tenant="acme"):
        """By a Role for this tenant, as the API's own message says."""
        name = f"{account}-{tenant}-{right}"
        self.kubectl(
            *["create", "role", name, "--verb", "create", "--resource-name", tenant],
            *["--resource", f"tenantkmses.tenantkms.dev/{right}"],
        )
        self.kubectl(
            *["create", "rolebinding", name, "--role", name],
            *["--serviceaccount", f"tenants:{account}"],
        )

    def post(self, name, body, token=None, session=None, url=None, kind=JSON):
        """Any call; a body of bytes is sent as it is."""
        headers = {"Content-Type": kind, "Authorization": f"Bearer {token or self.token}"}
        if session is not None:
            headers["X-Session-Token"] = session
        data = body if isinstance(body, bytes) else json.dumps(body)
        path = POSTS[name][0]
        answer = self.http.post((url or self.url) + path, data=data, headers=headers, timeout=30)
        kind = self.ledger.saw(name, answer)
        if kind != "ok":
            assert CANARY not in answer.text, "what was sent is repeated"
        return kind, answer.json()

    def session(self, **options):
        """The answer with a new session, as soon as there is one."""
        return self.until("ok", "session", {"tenant": TENANT}, **options)

    def fresh(self):
        """The token of a session that lasts a while."""
        if time.monotonic() > self.renew:
            self.current, self.renew = self.session()["session_token"], time.monotonic() + 20
        return self.current

    def until(self, wanted, name, body, within=30, **options):
        deadline = time.monotonic() + within
        while True:
            kind, answer = self.post(name, body, **options)
            if kind == wanted:
                return answer
            assert time.monotonic() < deadline, f"not {wanted}: {name} is answered {answer}"
            time.sleep(0.05)

    def every(self, wanted, bodies, session, **options):
        """All five calls are answered alike."""
        for name in POSTS:
            shown = None if name == "session" else session
            self.until(wanted, name, bodies[name], session=shown, **options)


TENANT = "tenants/acme"
CANARY = "canary-of-what-was-sent"


@pytest.fixture(scope="session")
def ledger():
    return Ledger()


@pytest.fixture(scope="session")
def world(ledger, tmp_path_factory):
    with subprocess.Popen(
        [os.environ["AGENT_WORLD_BIN"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield World(process, tmp_path_factory.mktemp("agent"), ledger)
        process.stdin.close()
        assert process.wait(timeout=60) == 0
