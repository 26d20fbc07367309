"""google-cloud-kms against the fake Cloud KMS, by its REST transport: use, each state, each refusal, checksums."""

import base64

import pytest
import requests
from google.api_core import exceptions
from google.auth.transport.requests import Request
from google.cloud import kms_v1

import gcp as google
from gcp import KEY, KMS, OPERATOR, PLAIN, PROJECT, RING

AAD = b"a tenant's uid"
MEMBER = f"serviceAccount:{OPERATOR}"


def crc32c(data):
    """CRC-32C as RFC 3720 defines it; google-cloud-kms leaves it to its callers."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.fixture
def gcp(cloud):
    return google.customer(cloud)


@pytest.fixture
def kms(gcp):
    return google.client(google.machine())


def encrypt(kms, name=KEY, plaintext=PLAIN, aad=AAD, **fields):
    request = {
        "name": name,
        "plaintext": plaintext,
        "additional_authenticated_data": aad,
        "plaintext_crc32c": crc32c(plaintext),
        "additional_authenticated_data_crc32c": crc32c(aad),
    }
    return kms.encrypt(request={**request, **fields}, retry=None, timeout=20)


def decrypt(kms, ciphertext, name=KEY, aad=AAD, **fields):
    request = {
        "name": name,
        "ciphertext": ciphertext,
        "additional_authenticated_data": aad,
        "ciphertext_crc32c": crc32c(ciphertext),
        "additional_authenticated_data_crc32c": crc32c(aad),
    }
    return kms.decrypt(request={**request, **fields}, retry=None, timeout=20)


def refused(call, kind, status):
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.response.json()["error"]["status"] == status
    return caught.value


def told(error):
    """The service's own message; the client puts the URL before it."""
    return error.response.json()["error"]["message"]


def violation(error):
    """Type and subject of the one violation that a FAILED_PRECONDITION tells."""
    (detail,) = error.details
    (one,) = detail["violations"]
    return one["type"], one["subject"]


def test_what_is_encrypted_is_decrypted(cloud, kms):
    sealed = encrypt(kms)
    assert sealed.name == f"{KEY}/cryptoKeyVersions/1"
    assert sealed.verified_plaintext_crc32c and sealed.verified_additional_authenticated_data_crc32c
    assert sealed.ciphertext_crc32c == crc32c(sealed.ciphertext)
    assert sealed.protection_level == kms_v1.ProtectionLevel.SOFTWARE
    opened = decrypt(kms, sealed.ciphertext)
    assert (opened.plaintext, opened.used_primary) == (PLAIN, True)
    assert opened.plaintext_crc32c == crc32c(PLAIN)
    assert (cloud.count(KMS, "encrypt"), cloud.count(KMS, "decrypt")) == (1, 1)
    assert {call["principal"] for call in cloud.calls() if call["host"] == KMS} == {MEMBER}


def test_without_checksums_nothing_is_verified(kms):
    sealed = kms.encrypt(request={"name": KEY, "plaintext": PLAIN})
    assert not sealed.verified_plaintext_crc32c
    assert not sealed.verified_additional_authenticated_data_crc32c
    assert kms.decrypt(request={"name": KEY, "ciphertext": sealed.ciphertext}).plaintext == PLAIN


@pytest.mark.parametrize("field", ["plaintext_crc32c", "additional_authenticated_data_crc32c"])
def test_a_wrong_checksum_at_encrypt(kms, field):
    error = refused(lambda: encrypt(kms, **{field: 1}), exceptions.BadRequest, "INVALID_ARGUMENT")
    assert told(error).startswith(f"The checksum in field {field} did not match")


@pytest.mark.parametrize("field", ["ciphertext_crc32c", "additional_authenticated_data_crc32c"])
def test_a_wrong_checksum_at_decrypt(kms, field):
    sealed = encrypt(kms).ciphertext
    error = refused(lambda: decrypt(kms, sealed, **{field: 1}), exceptions.BadRequest, "INVALID_ARGUMENT")
    assert told(error).startswith(f"The checksum in field {field} did not match")


def test_a_request_that_changes_on_its_way(gcp, kms):
    gcp.fault("encrypt", {"kind": "corrupt-request", "field": "plaintext"})
    error = refused(lambda: encrypt(kms), exceptions.BadRequest, "INVALID_ARGUMENT")
    assert "plaintext_crc32c" in told(error)


def test_additional_data_is_bound(kms):
    sealed = encrypt(kms).ciphertext
    for aad in (b"another tenant's uid", b""):
        error = refused(lambda: decrypt(kms, sealed, aad=aad), exceptions.BadRequest, "INVALID_ARGUMENT")
        assert told(error) == "Decryption failed: the ciphertext is invalid."


def test_another_key_and_changed_bytes(gcp, kms):
    sealed = encrypt(kms).ciphertext
    other = f"{RING}/cryptoKeys/other"
    gcp.key("create", name=other)
    gcp.grant(MEMBER, resource=other)
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for name, bytes_, words in (
        (other, sealed, "verify that 'name' refers to the correct CryptoKey"),
        (KEY, b"no ciphertext", "verify that 'name' refers to the correct CryptoKey"),
        (KEY, changed, "the ciphertext is invalid"),
    ):
        error = refused(lambda: decrypt(kms, bytes_, name=name), exceptions.BadRequest, "INVALID_ARGUMENT")
        assert words in told(error)


def test_rotation(gcp, kms):
    first = encrypt(kms)
    assert gcp.key("rotate")["primary"] == f"{KEY}/cryptoKeyVersions/2"
    assert encrypt(kms).name == f"{KEY}/cryptoKeyVersions/2"
    assert encrypt(kms, name=first.name).name == first.name
    opened = decrypt(kms, first.ciphertext)
    assert (opened.plaintext, opened.used_primary) == (PLAIN, False)
    assert kms.decrypt(request={"name": KEY, "ciphertext": encrypt(kms, aad=b"").ciphertext}).used_primary


@pytest.mark.parametrize(
    "state", ["DISABLED", "DESTROYED", "DESTROY_SCHEDULED", "PENDING_IMPORT", "PENDING_GENERATION"]
)
def test_a_version_that_is_not_enabled(gcp, kms, state):
    sealed = encrypt(kms)
    gcp.key("state", version=1, state=state)
    for call in (lambda: encrypt(kms), lambda: decrypt(kms, sealed.ciphertext)):
        error = refused(call, exceptions.BadRequest, "FAILED_PRECONDITION")
        assert violation(error) == (f"KEY_{state}", sealed.name)
        assert told(error).endswith(f"is not enabled, current state is: {state}.")
    gcp.key("state", version=1, state="ENABLED")
    assert decrypt(kms, sealed.ciphertext).plaintext == PLAIN


def test_no_primary_and_wrong_purpose(gcp, kms):
    gcp.key("primary")
    refused(lambda: encrypt(kms), exceptions.BadRequest, "FAILED_PRECONDITION")
    signing = f"{RING}/cryptoKeys/signing"
    gcp.key("create", name=signing, purpose="ASYMMETRIC_SIGN")
    gcp.grant(MEMBER, resource=signing)
    refused(lambda: encrypt(kms, name=signing), exceptions.BadRequest, "FAILED_PRECONDITION")


def test_roles(gcp, kms):
    sealed = encrypt(kms).ciphertext
    gcp.do("revoke", resource=KEY, member=MEMBER)
    for call, permission in (
        (lambda: encrypt(kms), "useToEncrypt"),
        (lambda: decrypt(kms, sealed), "useToDecrypt"),
    ):
        error = refused(call, exceptions.Forbidden, "PERMISSION_DENIED")
        assert (error.reason, error.domain) == ("IAM_PERMISSION_DENIED", KMS)
        assert error.details[0]["metadata"]["permission"] == f"cloudkms.cryptoKeyVersions.{permission}"
        assert told(error).endswith(f"denied on resource '{KEY}' (or it may not exist).")
    gcp.grant(MEMBER, role="roles/cloudkms.cryptoKeyDecrypter")
    assert decrypt(kms, sealed).plaintext == PLAIN
    refused(lambda: encrypt(kms), exceptions.Forbidden, "PERMISSION_DENIED")
    gcp.grant(MEMBER, resource=RING)
    encrypt(kms)


def test_a_key_that_is_not_there(gcp, kms):
    absent = f"{RING}/cryptoKeys/absent"
    refused(lambda: encrypt(kms, name=absent), exceptions.Forbidden, "PERMISSION_DENIED")
    gcp.grant(MEMBER, resource=f"projects/{PROJECT}")
    error = refused(lambda: encrypt(kms, name=absent), exceptions.NotFound, "NOT_FOUND")
    assert told(error) == f"CryptoKey {absent} not found."
    refused(lambda: encrypt(kms, name=f"{KEY}/cryptoKeyVersions/9"), exceptions.NotFound, "NOT_FOUND")
    gcp.key("delete")
    refused(lambda: encrypt(kms), exceptions.NotFound, "NOT_FOUND")


def test_every_location_has_the_same_host(gcp, kms):
    for location in ("global", "eur4", "us-central1"):
        name = f"projects/{PROJECT}/locations/{location}/keyRings/r/cryptoKeys/k"
        gcp.key("create", name=name)
        gcp.grant(MEMBER, resource=name)
        assert decrypt(kms, encrypt(kms, name=name).ciphertext, name=name).plaintext == PLAIN


def test_the_service_is_disabled_in_the_project_that_is_billed(gcp, kms):
    gcp.do("disable-service", project=PROJECT, service=KMS)
    encrypt(kms)
    gcp.do("disable-service", project="platform-1", service=KMS)
    error = refused(lambda: encrypt(kms), exceptions.Forbidden, "PERMISSION_DENIED")
    number = gcp.do("project", id="platform-1")["number"]
    assert (error.reason, error.domain) == ("SERVICE_DISABLED", "googleapis.com")
    assert error.details[0]["metadata"]["consumer"] == f"projects/{number}"
    gcp.do("enable-service", project="platform-1", service=KMS)
    encrypt(kms)


def test_a_project_that_is_billed_by_name(gcp):
    kms = google.client(google.machine().with_quota_project(PROJECT))
    error = refused(lambda: encrypt(kms), exceptions.Forbidden, "PERMISSION_DENIED")
    assert error.reason == "USER_PROJECT_DENIED"
    gcp.grant(MEMBER, resource=f"projects/{PROJECT}", role="roles/serviceusage.serviceUsageConsumer")
    encrypt(kms)


def test_reading_a_key(gcp, kms):
    refused(lambda: kms.get_crypto_key(name=KEY), exceptions.Forbidden, "PERMISSION_DENIED")
    gcp.grant(MEMBER, role="roles/cloudkms.viewer")
    key = kms.get_crypto_key(name=KEY)
    assert key.purpose == kms_v1.CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT
    assert key.primary.state == kms_v1.CryptoKeyVersion.CryptoKeyVersionState.ENABLED
    gcp.key("state", version=1, state="DESTROY_SCHEDULED")
    version = kms.get_crypto_key_version(name=f"{KEY}/cryptoKeyVersions/1")
    assert version.state == kms_v1.CryptoKeyVersion.CryptoKeyVersionState.DESTROY_SCHEDULED


def test_faults_as_the_client_reports_them(gcp, kms):
    for status, code, kind in (
        (429, "RESOURCE_EXHAUSTED", exceptions.TooManyRequests),
        (503, "UNAVAILABLE", exceptions.ServiceUnavailable),
        (500, "INTERNAL", exceptions.InternalServerError),
    ):
        gcp.fault("encrypt", {"kind": "google", "status": status, "code": code})
        refused(lambda: encrypt(kms), kind, code)


def rest(verb, body, name=KEY, token=None, **headers):
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return requests.post(f"https://{KMS}/v1/{name}:{verb}", json=body, headers=headers, timeout=30)


def token_of(credentials):
    credentials.refresh(Request())
    return credentials.token


def test_who_asks(gcp):
    body = {"plaintext": base64.b64encode(PLAIN).decode()}
    for token, reason in ((None, "CREDENTIALS_MISSING"), ("ya29.no", "ACCESS_TOKEN_TYPE_UNSUPPORTED")):
        answer = rest("encrypt", body, token=token)
        error = answer.json()["error"]
        assert (answer.status_code, error["status"]) == (401, "UNAUTHENTICATED")
        assert error["details"][0]["reason"] == reason
    token = token_of(google.machine())
    assert rest("encrypt", body, token=token).status_code == 200
    gcp.account("disable", email=OPERATOR)
    assert rest("encrypt", body, token=token).json()["error"]["details"][0]["reason"] == "ACCOUNT_STATE_INVALID"


def test_what_is_no_request(gcp):
    token = token_of(google.machine())
    for body in ({"plaintext": "!"}, {"plain": "AAAA"}, {"plaintext": "AAAA", "plaintextCrc32c": "x"}, []):
        answer = rest("encrypt", body, token=token)
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT"), body
    assert rest("decrypt", {}, token=token, name=f"{KEY}/cryptoKeyVersions/1").status_code == 400
    for name in (f"{RING}/cryptoKeys/..", "projects/p/secrets/s", f"{KEY}/"):
        assert rest("encrypt", {}, token=token, name=name).status_code == 404
