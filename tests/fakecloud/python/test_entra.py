"""azure-identity against the fake Entra: what gives a token, and each refusal as the client reports it."""

import ssl
import time

import jwt
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientAssertionCredential, ClientSecretCredential
from cryptography.hazmat.primitives.asymmetric import rsa

from conftest import CLIENT, SECRET, TENANT, VAULT_SCOPE

NOBODY = "99998888-7777-6666-5555-444433332222"
ISSUER = "https://kubernetes.default.svc"
SUBJECT = "system:serviceaccount:tenants:acme-kms"
AUDIENCE = "api://AzureADTokenExchange"


def by_secret(secret=SECRET, tenant=TENANT, client=CLIENT):
    return ClientSecretCredential(tenant, client, secret)


def refused(credential, code, scope=VAULT_SCOPE):
    with pytest.raises(ClientAuthenticationError) as caught:
        credential.get_token(scope)
    assert f"AADSTS{code}:" in str(caught.value)


def test_a_secret_gives_a_token_for_an_hour(customer):
    token = by_secret().get_token(VAULT_SCOPE)
    claims = jwt.decode(token.token, options={"verify_signature": False})
    assert (claims["aud"], claims["tid"], claims["appid"]) == ("https://vault.azure.net", TENANT, CLIENT)
    assert claims["oid"] == customer
    assert 3500 < token.expires_on - time.time() <= 3600


def test_the_published_keys_verify_the_token(cloud, customer):
    token = by_secret().get_token(VAULT_SCOPE).token
    base = f"https://login.microsoftonline.com/{TENANT}"
    found = requests.get(f"{base}/v2.0/.well-known/openid-configuration", timeout=30).json()
    keys = jwt.PyJWKSet.from_dict(requests.get(found["jwks_uri"], timeout=30).json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience="https://vault.azure.net")
    assert claims["iss"] == f"https://sts.windows.net/{TENANT}/"
    assert ssl.get_default_verify_paths().cafile == cloud.place["ca"]


def test_secrets(cloud, customer):
    refused(by_secret("wrong"), 7000215)
    cloud.application("add-expired-secret", value="old")
    refused(by_secret("old"), 7000222)
    cloud.application("remove-secret", value=SECRET)
    refused(by_secret(), 7000215)


def test_who_is_unknown(customer):
    refused(by_secret(client=NOBODY), 700016)
    with pytest.raises(ClientAuthenticationError) as caught:
        by_secret(tenant=NOBODY).get_token(VAULT_SCOPE)
    # MSAL reads the tenant's configuration first and reports that it has none.
    assert "double check your tenant name or GUID" in str(caught.value)
    base = f"https://login.microsoftonline.com/{NOBODY}"
    configuration = requests.get(f"{base}/v2.0/.well-known/openid-configuration", timeout=30)
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET, "scope": VAULT_SCOPE}
    token = requests.post(f"{base}/oauth2/v2.0/token", data=form, timeout=30)
    for answer, error in ((configuration, "invalid_tenant"), (token, "invalid_request")):
        body = answer.json()
        assert (answer.status_code, body["error"], body["error_codes"]) == (400, error, [90002])


def test_disabled_and_deleted(cloud, customer):
    cloud.application("disable")
    refused(by_secret(), 7000112)
    cloud.application("enable")
    by_secret().get_token(VAULT_SCOPE)
    cloud.application("delete")
    refused(by_secret(), 700016)
    assert cloud.application("restore")["principal"] == customer
    by_secret().get_token(VAULT_SCOPE)


def test_scopes(customer):
    refused(by_secret(), 1002012, scope="https://vault.azure.net")
    refused(by_secret(), 500011, scope="https://management.azure.com/.default")


class Issuer:
    """A Kubernetes API server's token issuer, as far as its tokens go."""

    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwks(self):
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": "k1", "alg": "RS256", "use": "sig"}]}

    def token(self, **changes):
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 600}
        return jwt.encode({**claims, **changes}, self.key, algorithm="RS256", headers={"kid": "k1"})


def by_assertion(token):
    return ClientAssertionCredential(TENANT, CLIENT, lambda: token)


def test_a_federated_assertion(cloud, customer):
    issuer = Issuer()
    refused(by_assertion(issuer.token()), 70025)
    cloud.application("federate", issuer=ISSUER, subject=SUBJECT, audience=AUDIENCE)
    cloud.do("cloud", "trust-issuer", issuer=ISSUER, jwks=issuer.jwks())
    assert by_assertion(issuer.token()).get_token(VAULT_SCOPE).token
    refused(by_assertion(issuer.token(sub="system:serviceaccount:tenants:evil")), 700213)
    refused(by_assertion(issuer.token(iss="https://other.example")), 700211)
    refused(by_assertion(issuer.token(aud=["tenantkms.dev"])), 700212)
    refused(by_assertion(issuer.token(exp=int(time.time()) - 1)), 700024)
    refused(by_assertion(Issuer().token()), 700027)
    cloud.application("unfederate", subject=SUBJECT)
    refused(by_assertion(issuer.token()), 70025)
