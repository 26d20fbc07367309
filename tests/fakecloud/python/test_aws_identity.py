"""boto3's own identity of a machine and of a pod: instance profile, EKS Pod Identity and a web identity token file."""

import boto3
import pytest
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from aws import ISSUER, PLATFORM, REGION, STS_AUDIENCE, SUBJECT, Issuer, refused

OWN = f"arn:aws:iam::{PLATFORM}:role/operator"
POD_AUDIENCE = "pods.eks.amazonaws.com"


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_REGION", REGION)


def who():
    return boto3.session.Session().client("sts", region_name=REGION).get_caller_identity()["Arn"]


def test_an_instance_profile(cloud):
    with pytest.raises(NoCredentialsError):
        who()
    cloud.do("aws-role", "open", arn=OWN)
    cloud.do("aws", "instance-role", role=OWN)
    assert who() == f"arn:aws:sts::{PLATFORM}:assumed-role/operator/i-0123456789abcdef0"
    assert cloud.count("169.254.169.254", "imds-session") >= 1
    cloud.do("imds", "absent", absent=True)
    with pytest.raises(NoCredentialsError):
        who()


def test_version_one_of_the_metadata_service_is_not_there(cloud):
    cloud.do("aws", "instance-role", role=OWN)
    place, direct = cloud.place["imds"], cloud.direct
    roles = f"{place}/latest/meta-data/iam/security-credentials/"
    assert direct.get(roles, timeout=30).status_code == 401
    begin = f"{place}/latest/api/token"
    ttl = "X-aws-ec2-metadata-token-ttl-seconds"
    assert direct.put(begin, timeout=30).status_code == 400
    assert direct.put(begin, headers={ttl: "21601"}, timeout=30).status_code == 400
    assert direct.get(begin, headers={ttl: "60"}, timeout=30).status_code == 405
    forwarded = {ttl: "60", "X-Forwarded-For": "10.0.0.1"}
    assert direct.put(begin, headers=forwarded, timeout=30).status_code == 403
    token = direct.put(begin, headers={ttl: "60"}, timeout=30).text
    shown = {"X-aws-ec2-metadata-token": token}
    assert direct.get(roles, headers=shown, timeout=30).text == "operator"
    assert direct.get(roles + "other", headers=shown, timeout=30).status_code == 404
    assert direct.get(roles, headers={"X-aws-ec2-metadata-token": "x"}, timeout=30).status_code == 401
    cloud.do("aws", "clock-ahead", seconds=61)
    assert direct.get(roles, headers=shown, timeout=30).status_code == 401


@pytest.fixture
def issuer(cloud):
    issuer = Issuer()
    cloud.do("cloud", "trust-issuer", issuer=ISSUER, jwks=issuer.jwks())
    cloud.do("aws-role", "open", arn=OWN)
    return issuer


def test_pod_identity(cloud, issuer, monkeypatch, tmp_path):
    file = tmp_path / "token"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{cloud.place['imds']}/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(file))
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.RETRY_ATTEMPTS", 1)
    cloud.do("aws", "pod-identity", subject=SUBJECT, role=OWN)
    file.write_text(issuer.token(aud=[POD_AUDIENCE]))
    assert who().startswith(f"arn:aws:sts::{PLATFORM}:assumed-role/operator/")
    for token in (issuer.token(), issuer.token(aud=[POD_AUDIENCE], sub="other"), issuer.token(aud=[POD_AUDIENCE], exp=1), Issuer().token(aud=[POD_AUDIENCE])):
        file.write_text(token)
        with pytest.raises(CredentialRetrievalError):
            who()


def test_a_web_identity_token_file(cloud, issuer, monkeypatch, tmp_path):
    file = tmp_path / "token"
    file.write_text(issuer.token())
    monkeypatch.setenv("AWS_ROLE_ARN", OWN)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(file))
    monkeypatch.setenv("AWS_ROLE_SESSION_NAME", "operator")
    cloud.do("aws", "oidc-provider", account=PLATFORM, issuer=ISSUER, audiences=[STS_AUDIENCE])
    refused("AccessDenied", 403, who)
    cloud.do("aws-role", "trust-web-identity", arn=OWN, issuer=ISSUER, subject=SUBJECT, audience=STS_AUDIENCE)
    assert who() == f"arn:aws:sts::{PLATFORM}:assumed-role/operator/operator"
