"""A fake cloud for each test, driven by the vendors' own clients.

The binary is named by FAKECLOUD_BIN. The clients know the cloud only by the environment, as any
program does: proxy, CA and the metadata service's address; the control API is reached directly.
"""

import json
import os
import subprocess

import pytest
import requests
from azure.keyvault.keys._shared import http_challenge_cache
from google.auth.compute_engine import _metadata

from aws import Account

TENANT = "aaaabbbb-cccc-dddd-eeee-ffff00001111"
CLIENT = "11112222-3333-4444-5555-666677778888"
SECRET = "a-secret-that-works"
VAULT = "acme-kv"
HOST = f"{VAULT}.vault.azure.net"
URL = f"https://{HOST}"
KEY = "tenant-wrapping-key"
VAULT_SCOPE = "https://vault.azure.net/.default"


class Cloud:
    """The control API of one running fake cloud."""

    def __init__(self, place):
        self.place = place
        self.direct = requests.Session()
        self.direct.trust_env = False

    def do(self, on, verb, **fields):
        answer = self.direct.post(
            f"{self.place['control']}/commands", json={"on": on, "do": verb, **fields}, timeout=30
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def application(self, verb, **fields):
        return self.do("application", verb, tenant=TENANT, client=CLIENT, **fields)

    def vault(self, verb, **fields):
        return self.do("vault", verb, name=VAULT, **fields)

    def key(self, verb, name=KEY, **fields):
        return self.do("key", verb, vault=VAULT, name=name, **fields)

    def fault(self, operation, effect, host=HOST, **fields):
        fault = {"host": host, "operation": operation, "effect": effect, **fields}
        return self.do("cloud", "fault", fault=fault)["id"]

    def count(self, host="*", operation="*"):
        query = {"host": host, "operation": operation}
        return self.direct.get(f"{self.place['control']}/count", params=query, timeout=30).json()

    def calls(self):
        return self.direct.get(f"{self.place['control']}/calls", timeout=30).json()


@pytest.fixture
def cloud(monkeypatch):
    process = subprocess.Popen(
        [os.environ["FAKECLOUD_BIN"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        place = json.loads(process.stdout.readline())
        for name in ("HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, place["proxy"])
            monkeypatch.setenv(name.lower(), place["proxy"])
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1,localhost,::1")
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
            monkeypatch.setenv(name, place["ca"])
        for name in ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "AWS_EC2_METADATA_SERVICE_ENDPOINT"):
            monkeypatch.setenv(name, place["imds"])
        monkeypatch.setenv("GCE_METADATA_HOST", place["gcp_metadata"])
        # google-auth reads that variable once for the life of the process.
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", place["gcp_metadata"])
        # The SDK remembers challenges by host for the life of the process, so across clouds.
        http_challenge_cache.clear()
        yield Cloud(place)
    finally:
        # The end of its input is the end of the process.
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert process.returncode == 0


@pytest.fixture
def customer(cloud):
    """A directory with an application, a vault with a key, and the role that lets one use the other."""
    principal = cloud.application("add-secret", value=SECRET)["principal"]
    cloud.vault("create", tenant=TENANT)
    cloud.key("create")
    cloud.vault("grant", principal=principal)
    return principal


@pytest.fixture
def account(cloud):
    """A customer of AWS with a key, and a role that the platform's user may assume."""
    return Account(cloud)
