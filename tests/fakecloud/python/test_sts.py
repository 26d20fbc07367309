"""boto3 against the fake STS: who gets a session, and each refusal as the client reports it."""

import time

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from aws import CONTEXT, CUSTOMER, EXTERNAL_ID, ISSUER, OPERATOR, PLATFORM, REGION, ROLE, SESSION, STS_AUDIENCE, SUBJECT, Issuer, client, of_session, refused

STS = f"sts.{REGION}.amazonaws.com"


def test_a_role_is_assumed_with_its_external_id(cloud, account):
    given = account.assume(DurationSeconds=900)
    ends = given["Credentials"]["Expiration"].timestamp() - time.time()
    assert 895 < ends <= 900
    arn = f"arn:aws:sts::{CUSTOMER}:assumed-role/acme-kms/{SESSION}"
    assert given["AssumedRoleUser"]["Arn"] == arn
    who = of_session(given["Credentials"], "sts").get_caller_identity()
    assert (who["Arn"], who["Account"]) == (arn, CUSTOMER)
    call = [call for call in cloud.calls() if call["operation"] == "assume-role"][-1]
    assert (call["host"], call["principal"], call["tenant"], call["app"]) == (STS, OPERATOR, CUSTOMER, SESSION)
    assert call["request_id"] == given["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize("wrong", [None, "tkms-other", EXTERNAL_ID.upper(), EXTERNAL_ID + "0"])
def test_another_external_id_is_refused(account, wrong):
    message = refused("AccessDenied", 403, account.assume, ExternalId=wrong)
    assert message == f"User: {OPERATOR} is not authorized to perform: sts:AssumeRole on resource: {ROLE}"
    assert account.assume()


def test_a_role_that_asks_for_no_external_id_takes_any(account):
    account.role("trust-nobody")
    account.role("trust", principal=OPERATOR)
    assert account.assume(ExternalId="anything") and account.assume(ExternalId=None)


def test_a_role_may_take_every_external_id_of_a_kind(account):
    account.role("trust-nobody")
    account.role("trust", principal=OPERATOR, external_id="tkms-*")
    assert account.assume(ExternalId="tkms-other")
    for other in (None, "other-1"):
        refused("AccessDenied", 403, account.assume, ExternalId=other)


def test_trust_is_asked_at_each_session(account):
    begun = account.kms()
    account.role("trust-nobody")
    refused("AccessDenied", 403, account.assume)
    assert begun.describe_key(KeyId=account.key), "a session that was begun goes on"
    account.role("trust", principal=f"arn:aws:iam::{PLATFORM}:root", external_id=EXTERNAL_ID)
    assert account.assume(), "the whole account"
    account.role("delete")
    refused("AccessDenied", 403, account.assume)
    refused("AccessDeniedException", 400, begun.describe_key, KeyId=account.key)


def test_both_accounts_must_agree(cloud, account):
    cloud.do("aws-role", "allow-nothing", arn=OPERATOR)
    refused("AccessDenied", 403, account.assume)


def test_the_request_is_checked(account):
    for fields in ({"DurationSeconds": 43_201}, {"DurationSeconds": 3601}, {"RoleSessionName": "no spaces"}):
        refused("ValidationError", 400, account.assume, **fields)
    refused("ValidationError", 400, account.assume, ExternalId="no spaces")
    refused("ValidationError", 400, account.assume, RoleArn=ROLE.replace(":aws:", ":aws-cn:"))
    account.role("longest-session", seconds=7200)
    assert account.assume(DurationSeconds=7200)
    chained = of_session(account.assume()["Credentials"], "sts")
    refused("AccessDenied", 403, chained.assume_role, RoleArn=ROLE, RoleSessionName=SESSION)


def test_the_signature_is_verified(cloud, account):
    wrong = client("sts", {**account.user, "secret": "x" * 40})
    refused("SignatureDoesNotMatch", 403, wrong.get_caller_identity)
    unknown = client("sts", {**account.user, "id": "AKIAIOSFODNN7EXAMPLE"})
    refused("InvalidClientTokenId", 403, unknown.get_caller_identity)
    unsigned = boto3.client("sts", region_name=REGION, config=Config(signature_version=UNSIGNED))
    refused("MissingAuthenticationToken", 403, unsigned.get_caller_identity)
    elsewhere = boto3.session.Session(account.user["id"], account.user["secret"])
    elsewhere = elsewhere.client("sts", region_name="us-west-2", endpoint_url=f"https://{STS}")
    assert "valid region" in refused("SignatureDoesNotMatch", 403, elsewhere.get_caller_identity)
    cloud.do("aws", "remove-access-key", id=account.user["id"])
    refused("InvalidClientTokenId", 403, account.sts().get_caller_identity)


@pytest.mark.parametrize("ahead, said", [(16 * 60, "Signature expired"), (-16 * 60, "Signature not yet current")])
def test_clocks_that_differ(cloud, account, ahead, said):
    cloud.do("aws", "clock-ahead", seconds=ahead)
    assert refused("SignatureDoesNotMatch", 403, account.assume).startswith(said)
    cloud.do("aws", "clock-ahead", seconds=ahead // 2)
    assert account.sts().get_caller_identity()


def test_sessions_end(cloud, account):
    session = of_session(account.assume()["Credentials"], "sts")
    assert session.get_caller_identity()
    cloud.do("aws", "expire-sessions")
    refused("ExpiredToken", 403, session.get_caller_identity)
    forged = of_session({**account.assume()["Credentials"], "SessionToken": "x"}, "sts")
    refused("InvalidClientTokenId", 403, forged.get_caller_identity)


def test_a_partition_knows_only_its_own_keys(cloud, account):
    china = client("sts", account.user, region="cn-north-1")
    refused("InvalidClientTokenId", 403, china.get_caller_identity)
    user = cloud.do("aws", "user", arn=f"arn:aws-cn:iam::{PLATFORM}:user/operator")
    assert client("sts", user, region="cn-north-1").get_caller_identity()["Arn"].startswith("arn:aws-cn:")
    assert cloud.count("sts.cn-north-1.amazonaws.com.cn") == 2


def test_throttling(cloud, account):
    body = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    cloud.fault("assume-role", {"kind": "status", "status": 400, "body": body, "headers": [["x-amzn-requestid", "r"]]}, host=STS)
    refused("Throttling", 400, account.assume)


@pytest.fixture
def issuer(cloud, account):
    issuer = Issuer()
    cloud.do("cloud", "trust-issuer", issuer=ISSUER, jwks=issuer.jwks())
    cloud.do("aws", "oidc-provider", account=CUSTOMER, issuer=ISSUER, audiences=[STS_AUDIENCE])
    account.role("trust-web-identity", issuer=ISSUER, subject=SUBJECT, audience=STS_AUDIENCE)
    return issuer


def by_token(token, **fields):
    anybody = boto3.client("sts", region_name=REGION, config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}))
    wish = {"RoleArn": ROLE, "RoleSessionName": SESSION, "WebIdentityToken": token, **fields}
    return anybody.assume_role_with_web_identity(**wish)


def test_a_service_account_assumes_a_role(cloud, account, issuer):
    given = by_token(issuer.token())
    assert (given["SubjectFromWebIdentityToken"], given["Audience"]) == (SUBJECT, STS_AUDIENCE)
    kms = of_session(given["Credentials"])
    assert kms.encrypt(KeyId=account.key, Plaintext=b"x", EncryptionContext=CONTEXT)["KeyId"] == account.key


def test_each_claim_of_a_token_is_checked(cloud, account, issuer):
    now = int(time.time())
    table = [
        ({"sub": "system:serviceaccount:tenants:evil"}, "AccessDenied", 403),
        ({"aud": ["tenantkms.dev"]}, "InvalidIdentityToken", 400),
        ({"iss": "https://other.example"}, "InvalidIdentityToken", 400),
        ({"exp": now - 1}, "ExpiredTokenException", 400),
        ({"exp": None}, "InvalidIdentityToken", 400),
        ({"nbf": now + 60}, "InvalidIdentityToken", 400),
    ]
    for changes, code, status in table:
        refused(code, status, by_token, token=issuer.token(**changes))
    refused("InvalidIdentityToken", 400, by_token, token=Issuer().token())
    refused("InvalidIdentityToken", 400, by_token, token="a.b.c")
    account.role("trust-nobody")
    refused("AccessDenied", 403, by_token, token=issuer.token())
    account.role("trust-web-identity", issuer=ISSUER, subject=SUBJECT, audience=STS_AUDIENCE)
    assert by_token(issuer.token())
    cloud.do("aws", "oidc-provider", account=CUSTOMER, issuer=ISSUER, audiences=["other"])
    assert "audience" in refused("InvalidIdentityToken", 400, by_token, token=issuer.token())
    cloud.do("aws", "remove-oidc-provider", account=CUSTOMER, issuer=ISSUER)
    assert "No OpenIDConnect provider" in refused("InvalidIdentityToken", 400, by_token, token=issuer.token())
