"""google-auth against the fake STS, IAM credentials and metadata server: what gives a token, and each refusal."""

import time

import pytest
import requests
from google.api_core import exceptions
from google.auth import exceptions as auth
from google.auth.transport.requests import Request

import gcp as google
from gcp import BECOME, CUSTOMER, IAM, ISSUER, KEY, METADATA, OPERATOR, PLAIN, PROJECT, STS, SUBJECT
from test_entra import Issuer


@pytest.fixture
def gcp(cloud):
    return google.customer(cloud)


def use(credentials):
    """One call of Cloud KMS."""
    return google.client(credentials).encrypt(request={"name": KEY, "plaintext": PLAIN}, retry=None, timeout=20)


def test_the_machines_own_account(cloud, gcp):
    credentials = google.machine()
    use(credentials)
    assert credentials.service_account_email == OPERATOR
    calls = [call for call in cloud.calls() if call["operation"] == "metadata-token"]
    assert calls and calls[-1]["principal"] == f"serviceAccount:{OPERATOR}"


def test_a_machine_without_an_account(gcp):
    gcp.do("machine")
    with pytest.raises(auth.GoogleAuthError):
        google.machine().refresh(Request())


def test_no_metadata_server(gcp):
    gcp.do("metadata-absent", absent=True)
    with pytest.raises(auth.GoogleAuthError):
        google.machine().refresh(Request())
    gcp.do("metadata-absent", absent=False)
    google.machine().refresh(Request())


def test_the_metadata_server_wants_its_header(cloud, gcp):
    base = f"http://{cloud.place['gcp_metadata']}"
    path = f"{base}/computeMetadata/v1/instance/service-accounts/default/token"
    flavor = {"Metadata-Flavor": "Google"}
    good = requests.get(path, headers=flavor, timeout=30)
    assert (good.status_code, good.headers["Metadata-Flavor"]) == (200, "Google")
    assert good.json()["token_type"] == "Bearer" and good.json()["expires_in"] <= 3600
    for headers in ({}, {"Metadata-Flavor": "Other"}, {**flavor, "X-Forwarded-For": "10.0.0.1"}):
        answer = requests.get(path, headers=headers, timeout=30)
        assert (answer.status_code, answer.headers["Metadata-Flavor"]) == (403, "Google")
    assert requests.post(path, headers=flavor, timeout=30).status_code == 405
    assert requests.get(f"{base}/computeMetadata/v1/other", headers=flavor, timeout=30).status_code == 404
    assert cloud.count(METADATA, "metadata-token") == 5


def test_impersonation(cloud, gcp):
    account = gcp.account("open")
    gcp.do("revoke", resource=KEY, member=f"serviceAccount:{OPERATOR}")
    gcp.grant(account["member"])
    credentials = google.impersonating(google.machine())
    with pytest.raises(auth.RefreshError) as caught:
        use(credentials)
    assert "iam.serviceAccounts.getAccessToken" in str(caught.value)
    gcp.grant(f"serviceAccount:{OPERATOR}", resource=account["resource"], role=BECOME)
    use(credentials)
    calls = [call for call in cloud.calls() if call["host"] == IAM and call["status"] == 200]
    assert (calls[-1]["principal"], calls[-1]["app"]) == (f"serviceAccount:{OPERATOR}", CUSTOMER)
    gcp.account("disable")
    with pytest.raises(auth.RefreshError) as caught:
        # Cloud KMS answers 401, at which google-auth asks for another token.
        use(credentials)
    assert "is disabled" in str(caught.value)
    gcp.account("enable")
    credentials.refresh(Request())
    gcp.account("delete")
    with pytest.raises(auth.RefreshError) as caught:
        credentials.refresh(Request())
    assert "may not exist" in str(caught.value) or "not found" in str(caught.value).lower()


def test_impersonation_by_rest(gcp):
    account = gcp.account("open")
    gcp.grant(f"serviceAccount:{OPERATOR}", resource=account["resource"], role=BECOME)
    source = google.machine()
    source.refresh(Request())

    def ask(body, email=CUSTOMER, token=source.token):
        url = f"https://{IAM}/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
        return requests.post(url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    good = {"scope": [google.SCOPE], "lifetime": "300s"}
    answer = ask(good).json()
    assert answer["accessToken"].startswith("ya29.") and answer["expireTime"].endswith("Z")
    denied = ask(good, email=f"nobody@{PROJECT}.iam.gserviceaccount.com")
    error = denied.json()["error"]
    assert (denied.status_code, error["status"]) == (403, "PERMISSION_DENIED")
    assert error["details"][0]["reason"] == "IAM_PERMISSION_DENIED"
    for body in ({}, {"scope": []}, {**good, "lifetime": "3601s"}, {**good, "lifetime": "1h"}, {**good, "x": 1}):
        assert ask(body).status_code == 400, body
    assert ask(good, token="no").status_code == 401
    gcp.do("disable-service", project="platform-1", service=IAM)
    assert ask(good).json()["error"]["details"][0]["reason"] == "SERVICE_DISABLED"


@pytest.fixture
def pool(cloud, gcp):
    """A provider that trusts an issuer, and the principal of one ServiceAccount of it."""
    number = gcp.do("project", id=PROJECT)["number"]
    name = f"projects/{number}/locations/global/workloadIdentityPools/tenant-kms/providers/platform"
    issuer = Issuer()
    gcp.provider("create", name, issuer=ISSUER)
    cloud.do("cloud", "trust-issuer", issuer=ISSUER, jwks=issuer.jwks())
    pool = name.split("/providers/")[0]
    gcp.grant(f"principal://iam.googleapis.com/{pool}/subject/{SUBJECT}")
    return name, issuer


def audience(name):
    return [f"https://iam.googleapis.com/{name}"]


def test_federation(cloud, gcp, pool, tmp_path):
    name, issuer = pool
    use(google.federated(name, issuer.token(aud=audience(name)), tmp_path))
    kms = [call for call in cloud.calls() if call["operation"] == "encrypt"][-1]
    assert kms["principal"].endswith(f"/workloadIdentityPools/tenant-kms/subject/{SUBJECT}")
    other = issuer.token(aud=audience(name), sub="system:serviceaccount:tenants:other")
    with pytest.raises(exceptions.Forbidden):
        use(google.federated(name, other, tmp_path))


def test_federation_then_impersonation(gcp, pool, tmp_path):
    name, issuer = pool
    account = gcp.account("open")
    gcp.grant(account["member"])
    credentials = google.federated(name, issuer.token(aud=audience(name)), tmp_path, impersonate=CUSTOMER)
    with pytest.raises(auth.RefreshError):
        use(credentials)
    member = f"principal://iam.googleapis.com/{name.split('/providers/')[0]}/subject/{SUBJECT}"
    gcp.grant(member, resource=account["resource"], role="roles/iam.workloadIdentityUser")
    use(credentials)


def refused(name, token, folder, code):
    with pytest.raises(auth.OAuthError) as caught:
        google.federated(name, token, folder).refresh(Request())
    assert f"Error code {code}:" in str(caught.value)


def test_what_no_token_is_given_for(cloud, gcp, pool, tmp_path):
    name, issuer = pool
    good = {"aud": audience(name)}
    now = int(time.time())
    for changes in (
        {"aud": ["https://kubernetes.default.svc"]},
        {**good, "iss": "https://other.example"},
        {**good, "exp": now - 1},
        {**good, "iat": now + 600, "exp": now + 900},
        {**good, "exp": now + 100_000},
        {**good, "sub": "s" * 128},
    ):
        refused(name, issuer.token(**changes), tmp_path, "invalid_grant")
    refused(name, Issuer().token(**good), tmp_path, "invalid_grant")
    refused(name, "no token", tmp_path, "invalid_grant")
    gcp.provider("only-subject", name, subject="somebody else")
    refused(name, issuer.token(**good), tmp_path, "unauthorized_client")
    gcp.provider("only-subject", name)
    gcp.provider("disable", name)
    refused(name, issuer.token(**good), tmp_path, "invalid_target")
    gcp.provider("enable", name)
    google.federated(name, issuer.token(**good), tmp_path).refresh(Request())
    gcp.provider("allow-audiences", name, audiences=["tenant-kms"])
    refused(name, issuer.token(**good), tmp_path, "invalid_grant")
    google.federated(name, issuer.token(aud=["tenant-kms"]), tmp_path).refresh(Request())
    gcp.provider("delete", name)
    refused(name, issuer.token(**good), tmp_path, "invalid_target")
    refused("projects/x/locations/global/y", issuer.token(**good), tmp_path, "invalid_request")


def test_the_form_of_an_exchange(gcp, pool):
    name, issuer = pool
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": f"//iam.googleapis.com/{name}",
        "scope": google.SCOPE,
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "subject_token": issuer.token(aud=audience(name)),
    }

    def ask(**changes):
        changed = {key: value for key, value in {**form, **changes}.items() if value}
        return requests.post(f"https://{STS}/v1/token", data=changed, timeout=30)

    answer = ask()
    assert answer.json()["token_type"] == "Bearer" and answer.json()["expires_in"] == 3599
    names = ["grantType", "audience", "scope", "requestedTokenType", "subjectTokenType", "subjectToken"]
    body = dict(zip(names, form.values()))
    assert requests.post(f"https://{STS}/v1/token", json=body, timeout=30).status_code == 200
    for key in form:
        assert ask(**{key: None}).json()["error"] == "invalid_request", key
    assert ask(grant_type="client_credentials").json()["error"] == "unsupported_grant_type"
    assert ask(scope="https://www.googleapis.com/auth/drive").json()["error"] == "invalid_scope"
    assert ask(subject_token_type="urn:ietf:params:oauth:token-type:saml2").json()["error"] == "invalid_request"
