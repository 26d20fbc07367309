"""azure-identity's managed identity against the fake IMDS."""

import time

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError, ManagedIdentityCredential
from azure.keyvault.keys import KeyClient

from conftest import CLIENT, KEY, TENANT, URL, VAULT_SCOPE

OBJECT = "22223333-4444-5555-6666-777788889999"
RESOURCE = "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"
IMDS = "169.254.169.254"


def test_the_system_identity_reads_a_key(cloud, customer):
    principal = cloud.do("imds", "system-assigned", tenant=TENANT)["principal"]
    cloud.vault("grant", principal=principal)
    credential = ManagedIdentityCredential()
    assert KeyClient(URL, credential).get_key(KEY).name == KEY
    assert credential.get_token(VAULT_SCOPE).expires_on > time.time() + 80_000
    assert [call["principal"] for call in cloud.calls() if call["operation"] == "imds-token"][-1] == principal


@pytest.mark.parametrize(
    "named", [{"client_id": CLIENT}, {"identity_config": {"object_id": OBJECT}}, {"identity_config": {"resource_id": RESOURCE}}]
)
def test_a_user_identity_by_each_name(cloud, named):
    cloud.do("directory", "open", tenant=TENANT)
    cloud.do("imds", "user-assigned", tenant=TENANT, client=CLIENT, object=OBJECT, resource=RESOURCE)
    cloud.do("imds", "user-assigned", tenant=TENANT, client=OBJECT, object=CLIENT, resource="/other")
    assert ManagedIdentityCredential(**named).get_token(VAULT_SCOPE).token
    calls = [call for call in cloud.calls() if call["operation"] == "imds-token" and call["status"] == 200]
    assert (calls[-1]["principal"], calls[-1]["app"]) == (OBJECT, CLIENT)


def test_no_identity(cloud):
    with pytest.raises((CredentialUnavailableError, ClientAuthenticationError)) as caught:
        ManagedIdentityCredential().get_token(VAULT_SCOPE)
    assert "Identity not found" in str(caught.value) or "no managed identity" in str(caught.value).lower()
    assert cloud.count(IMDS, "imds-token") >= 1


def test_nothing_listens(cloud):
    cloud.do("imds", "absent", absent=True)
    with pytest.raises(CredentialUnavailableError):
        ManagedIdentityCredential(retry_total=0).get_token(VAULT_SCOPE)
    cloud.do("imds", "absent", absent=False)
    cloud.do("imds", "system-assigned", tenant=TENANT)
    assert ManagedIdentityCredential().get_token(VAULT_SCOPE).token
