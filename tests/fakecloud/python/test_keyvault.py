"""azure-keyvault-keys against the fake Key Vault.

The SDK wraps locally once it has read the key, with another library's RSA-OAEP; the vault unwraps.
What the vault itself wraps is asked by REST, or by the SDK where it may not read the key.
"""

import base64
import time

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm

from conftest import CLIENT, HOST, KEY, SECRET, TENANT, URL, VAULT_SCOPE

ALGORITHM = KeyWrapAlgorithm.rsa_oaep_256
PLAIN = b"32 bytes of a tenants master key"


def credential():
    return ClientSecretCredential(TENANT, CLIENT, SECRET)


def keys(**options):
    return KeyClient(URL, credential(), **options)


def crypto(key=f"{URL}/keys/{KEY}"):
    return CryptographyClient(key, credential())


def rest(path, body, token=None, query="?api-version=7.6"):
    token = token or credential().get_token(VAULT_SCOPE).token
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{URL}/keys/{path}{query}", json=body, headers=headers, timeout=30)


def wrap(path=f"{KEY}//wrapkey", plain=PLAIN, algorithm="RSA-OAEP-256", **options):
    value = base64.urlsafe_b64encode(plain).rstrip(b"=").decode()
    return rest(path, {"alg": algorithm, "value": value}, **options)


def wrapped(answer):
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return body["kid"], base64.urlsafe_b64decode(body["value"] + "==")


def refused(caught, status, code, inner=None):
    error = caught.value
    body = error.response.json()["error"]
    found = (error.status_code, error.error.code, body.get("innererror", {}).get("code"))
    assert found == (status, code, inner)


def rest_refused(answer, status, code, inner=None):
    error = answer.json()["error"]
    found = (answer.status_code, error["code"], error.get("innererror", {}).get("code"))
    assert found == (status, code, inner), answer.text


def test_get_key(cloud, customer):
    key = keys().get_key(KEY)
    assert (key.key_type, key.properties.enabled, len(key.key.n)) == ("RSA", True, 256)
    assert set(key.key_operations) >= {"wrapKey", "unwrapKey"}
    assert key.properties.recovery_level == "Recoverable+Purgeable"
    assert key.id.startswith(f"{URL}/keys/{KEY}/")
    by_version = keys().get_key(KEY, key.properties.version)
    assert by_version.id == key.id
    assert cloud.count(HOST, "challenge") >= 1, "the SDK asks without a token first"


def test_the_sdk_wraps_locally_and_the_vault_unwraps(cloud, customer):
    client = crypto(keys().get_key(KEY))
    sealed = client.wrap_key(ALGORITHM, PLAIN)
    assert cloud.count(HOST, "wrapkey") == 0
    assert client.unwrap_key(ALGORITHM, sealed.encrypted_key).key == PLAIN
    assert cloud.count(HOST, "unwrapkey") == 1


def test_the_vault_wraps_and_unwraps_by_rest(customer):
    kid, value = wrapped(wrap())
    assert len(value) == 256
    assert crypto(kid).unwrap_key(ALGORITHM, value).key == PLAIN
    kid_again, _ = wrapped(wrap(f"{KEY}/wrapkey"))
    kid_versioned, _ = wrapped(wrap(f"{KEY}/{kid.rsplit('/', 1)[1]}/wrapkey"))
    assert kid == kid_again == kid_versioned


def test_the_sdk_wraps_in_the_vault_where_it_may_not_read_the_key(cloud, customer):
    kid = keys().get_key(KEY).id
    cloud.vault("revoke", principal=customer)
    cloud.vault("grant", principal=customer, permissions=["wrap", "unwrap"])
    client = crypto(kid)
    sealed = client.wrap_key(ALGORITHM, PLAIN)
    assert client.unwrap_key(ALGORITHM, sealed.encrypted_key).key == PLAIN
    assert (cloud.count(HOST, "wrapkey"), cloud.count(HOST, "unwrapkey")) == (1, 1)


def test_no_role(cloud, customer):
    kid, value = wrapped(wrap())
    cloud.vault("revoke", principal=customer)
    rest_refused(wrap(), 403, "Forbidden", "ForbiddenByRbac")
    with pytest.raises(HttpResponseError) as caught:
        keys().get_key(KEY)
    refused(caught, 403, "Forbidden", "ForbiddenByRbac")
    with pytest.raises(HttpResponseError) as caught:
        crypto(kid).unwrap_key(ALGORITHM, value)
    refused(caught, 403, "Forbidden", "ForbiddenByRbac")
    cloud.vault("grant", principal=customer, key=KEY)
    assert crypto(kid).unwrap_key(ALGORITHM, value).key == PLAIN


def test_no_policy(cloud, customer):
    cloud.vault("access-policies", enabled=True)
    wrapped(wrap())
    cloud.vault("revoke", principal=customer)
    rest_refused(wrap(), 403, "Forbidden", "ForbiddenByPolicy")
    with pytest.raises(HttpResponseError) as caught:
        keys().get_key(KEY)
    refused(caught, 403, "Forbidden", "ForbiddenByPolicy")


def test_the_firewall(cloud, customer):
    cloud.vault("firewall", enabled=True)
    with pytest.raises(HttpResponseError) as caught:
        keys().get_key(KEY)
    refused(caught, 403, "Forbidden", "ForbiddenByFirewall")
    rest_refused(wrap(), 403, "Forbidden", "ForbiddenByFirewall")


def test_disabled(cloud, customer):
    kid, value = wrapped(wrap())
    cloud.key("disable")
    rest_refused(wrap(), 403, "Forbidden", "KeyDisabled")
    assert keys().get_key(KEY).properties.enabled is False
    with pytest.raises(HttpResponseError) as caught:
        crypto(kid).unwrap_key(ALGORITHM, value)
    refused(caught, 403, "Forbidden", "KeyDisabled")
    cloud.key("enable")
    assert crypto(kid).unwrap_key(ALGORITHM, value).key == PLAIN


@pytest.mark.parametrize(
    "verb, at, code", [("set-expires", 1_000_000_000, "KeyExpired"), ("set-not-before", 4_000_000_000, "KeyNotYetValid")]
)
def test_dates(cloud, customer, verb, at, code):
    kid, value = wrapped(wrap())
    cloud.key(verb, at=at)
    rest_refused(wrap(), 403, "Forbidden", code)
    assert crypto(kid).unwrap_key(ALGORITHM, value).key == PLAIN
    with pytest.raises(ValueError):
        # The SDK reads the same dates and refuses before the vault would.
        crypto(keys().get_key(KEY)).wrap_key(ALGORITHM, PLAIN)
    cloud.key(verb, at=None)
    wrapped(wrap())


def test_operations(cloud, customer):
    kid, value = wrapped(wrap())
    cloud.key("set-ops", ops=["encrypt", "decrypt"])
    rest_refused(wrap(), 403, "Forbidden", "KeyOperationForbidden")
    token = credential().get_token(VAULT_SCOPE).token
    body = {"alg": "RSA-OAEP-256", "value": base64.urlsafe_b64encode(value).rstrip(b"=").decode()}
    answer = rest(f"{KEY}/{kid.rsplit('/', 1)[1]}/unwrapkey", body, token=token)
    rest_refused(answer, 403, "Forbidden", "KeyOperationForbidden")


def test_not_there_deleted_and_back(cloud, customer):
    kid, value = wrapped(wrap())
    with pytest.raises(ResourceNotFoundError) as caught:
        keys().get_key("missing")
    refused(caught, 404, "KeyNotFound")
    cloud.key("delete")
    rest_refused(wrap(), 404, "KeyNotFound")
    with pytest.raises(ResourceNotFoundError) as caught:
        keys().get_key(KEY)
    refused(caught, 404, "KeyNotFound")
    cloud.key("recover")
    assert crypto(kid).unwrap_key(ALGORITHM, value).key == PLAIN


def test_rotation(cloud, customer):
    kid, value = wrapped(wrap())
    version = cloud.key("new-version")["version"]
    new_kid, _ = wrapped(wrap())
    assert new_kid == f"{URL}/keys/{KEY}/{version}" != kid
    assert crypto(kid).unwrap_key(ALGORITHM, value).key == PLAIN
    with pytest.raises(HttpResponseError) as caught:
        crypto(new_kid).unwrap_key(ALGORITHM, value)
    refused(caught, 400, "BadParameter")


def test_requests_that_are_wrong(customer):
    rest_refused(wrap(algorithm="RSA1_5"), 400, "BadParameter")
    rest_refused(wrap(query=""), 400, "BadParameter")
    rest_refused(wrap(plain=b"x" * 191), 400, "BadParameter")
    rest_refused(wrap("a_b//wrapkey"), 400, "BadParameter")
    answer = wrap(token="rubbish")
    rest_refused(answer, 401, "Unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization=")


def test_a_curve(cloud, customer):
    cloud.key("create", name="curve", ec=True)
    assert keys().get_key("curve").key_type == "EC"
    rest_refused(wrap("curve//wrapkey"), 400, "BadParameter")


def test_another_directory(cloud, customer):
    other = "99998888-7777-6666-5555-444433332222"
    cloud.do("vault", "create", name="theirs", tenant=other)
    answer = requests.get(
        "https://theirs.vault.azure.net/keys/x?api-version=7.6",
        headers={"Authorization": f"Bearer {credential().get_token(VAULT_SCOPE).token}"},
        timeout=30,
    )
    rest_refused(answer, 401, "Unauthorized")
    assert "AKV10032" in answer.text and other in answer.headers["WWW-Authenticate"]


def test_an_expired_token(cloud, customer):
    cloud.do("directory", "token-lifetime", tenant=TENANT, seconds=0)
    token = requests.post(
        f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token",
        data={
            "grant_type": "client_credentials",
            "client_id": CLIENT,
            "client_secret": SECRET,
            "scope": VAULT_SCOPE,
        },
        timeout=30,
    ).json()["access_token"]
    rest_refused(wrap(token=token), 401, "Unauthorized")


def test_throttling_is_retried_after_what_the_vault_says(cloud, customer):
    cloud.fault("getkey", {"kind": "status", "status": 429, "retry_after": "1"}, times=1)
    start = time.monotonic()
    assert keys().get_key(KEY).name == KEY
    assert time.monotonic() - start >= 1
    statuses = [call["status"] for call in cloud.calls() if call["operation"] == "getkey"]
    assert statuses == [429, 200]


def test_faults_reach_the_client(cloud, customer):
    cloud.fault("getkey", {"kind": "status", "status": 503})
    with pytest.raises(HttpResponseError) as caught:
        keys(retry_total=0).get_key(KEY)
    assert caught.value.status_code == 503
    cloud.do("cloud", "clear-faults")
    kid, value = wrapped(wrap())
    cloud.fault("unwrapkey", {"kind": "wrong-unwrap"})
    assert crypto(kid).unwrap_key(ALGORITHM, value).key != PLAIN


def test_hosts_that_do_not_exist(cloud, customer):
    with pytest.raises(requests.exceptions.ProxyError):
        requests.get("https://evilvault.azure.net/", timeout=30)
    assert cloud.count("evilvault.azure.net", "connect-refused") == 1
