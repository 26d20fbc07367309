"""What the tests of the Google cloud share: a customer's project with a key, and who may use it."""

from google.auth import compute_engine, identity_pool, impersonated_credentials
from google.cloud import kms_v1

PROJECT = "acme-prod"
RING = f"projects/{PROJECT}/locations/europe-west3/keyRings/tenants"
KEY = f"{RING}/cryptoKeys/acme"
KMS = "cloudkms.googleapis.com"
STS = "sts.googleapis.com"
IAM = "iamcredentials.googleapis.com"
METADATA = "metadata.google.internal"
OPERATOR = "operator@platform-1.iam.gserviceaccount.com"
CUSTOMER = "tenant-kms@acme-prod.iam.gserviceaccount.com"
USE = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
BECOME = "roles/iam.serviceAccountTokenCreator"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
ISSUER = "https://kubernetes.default.svc"
SUBJECT = "system:serviceaccount:tenants:acme-kms"
PLAIN = b"32 bytes of a tenants master key"


class Gcp:
    """The control API, as far as it is about this cloud."""

    def __init__(self, cloud):
        self.cloud = cloud

    def do(self, verb, **fields):
        return self.cloud.do("gcp", verb, **fields)

    def account(self, verb, email=CUSTOMER):
        return self.cloud.do("service-account", verb, email=email)

    def key(self, verb, name=KEY, **fields):
        return self.cloud.do("crypto-key", verb, name=name, **fields)

    def provider(self, verb, name, **fields):
        return self.cloud.do("provider", verb, name=name, **fields)

    def grant(self, member, resource=KEY, role=USE):
        self.do("grant", resource=resource, member=member, role=role)

    def fault(self, operation, effect, host=KMS, **fields):
        return self.cloud.fault(operation, effect, host=host, **fields)


def customer(cloud):
    """A key that the machine's service account may use."""
    gcp = Gcp(cloud)
    gcp.key("create")
    gcp.do("machine", email=OPERATOR)
    gcp.grant(f"serviceAccount:{OPERATOR}")
    return gcp


def machine():
    return compute_engine.Credentials(scopes=[SCOPE])


def impersonating(source, email=CUSTOMER):
    return impersonated_credentials.Credentials(
        source_credentials=source, target_principal=email, target_scopes=[SCOPE], lifetime=600
    )


def federated(provider, token, folder, impersonate=None):
    file = folder / "token"
    file.write_text(token)
    info = {
        "type": "external_account",
        "audience": f"//iam.googleapis.com/{provider}",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"https://{STS}/v1/token",
        "credential_source": {"file": str(file)},
    }
    if impersonate:
        path = f"v1/projects/-/serviceAccounts/{impersonate}:generateAccessToken"
        info["service_account_impersonation_url"] = f"https://{IAM}/{path}"
    return identity_pool.Credentials.from_info(info, scopes=[SCOPE])


def client(credentials, **options):
    return kms_v1.KeyManagementServiceClient(credentials=credentials, transport="rest", **options)
