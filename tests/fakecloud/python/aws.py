"""What the tests of AWS share: the customer's account, the platform's user, and boto3 clients that try once."""

import json
import time

import boto3
import jwt
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import rsa

PLATFORM, CUSTOMER = "111122223333", "444455556666"
REGION = "eu-central-1"
OPERATOR = f"arn:aws:iam::{PLATFORM}:user/operator"
ROLE = f"arn:aws:iam::{CUSTOMER}:role/byok/acme-kms"
SESSION = "tenant-kms-acme"
EXTERNAL_ID = "tkms-0123456789abcdef"
ISSUER = "https://kubernetes.default.svc"
SUBJECT = "system:serviceaccount:tenants:acme-kms"
STS_AUDIENCE = "sts.amazonaws.com"
CONTEXT = {"tenantkms.dev/tenant": "one"}
ONCE = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=5)


def client(service, key, region=REGION, **fields):
    secrets = {"aws_access_key_id": key["id"], "aws_secret_access_key": key["secret"]}
    return boto3.session.Session(**secrets, **fields).client(service, region_name=region, config=ONCE)


def of_session(credentials, service="kms", region=REGION):
    key = {"id": credentials["AccessKeyId"], "secret": credentials["SecretAccessKey"]}
    return client(service, key, region, aws_session_token=credentials["SessionToken"])


def refused(code, status, call, **fields):
    with pytest.raises(ClientError) as caught:
        call(**fields)
    error = caught.value.response
    found = (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"])
    assert found == (code, status), error
    assert error["ResponseMetadata"]["RequestId"]
    return error["Error"]["Message"]


class Issuer:
    """An API server's key and the tokens it signs."""

    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwks(self):
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**public, "kid": "k1", "alg": "RS256"}]}

    def token(self, **changes):
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": SUBJECT, "aud": [STS_AUDIENCE], "nbf": now, "exp": now + 600, **changes}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k1"})


class Account:
    """A customer's key and role, and the platform's user whom the role trusts."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.user = cloud.do("aws", "user", arn=OPERATOR)
        cloud.do("aws-role", "open", arn=ROLE)
        self.key = cloud.do("aws-key", "create", account=CUSTOMER, region=REGION)["arn"]
        self.role("allow", actions=["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"], resource=self.key)
        self.role("trust", principal=OPERATOR, external_id=EXTERNAL_ID)
        self.operator_may()

    def operator_may(self):
        self.cloud.do("aws-role", "allow", arn=OPERATOR, actions=["sts:AssumeRole"], resource="*")

    def role(self, verb, **fields):
        self.cloud.do("aws-role", verb, arn=ROLE, **fields)

    def on_key(self, verb, **fields):
        self.cloud.do("aws-key", verb, arn=self.key, **fields)

    def sts(self, **fields):
        return client("sts", self.user, **fields)

    def assume(self, **fields):
        wish = {"RoleArn": ROLE, "RoleSessionName": SESSION, "ExternalId": EXTERNAL_ID, **fields}
        return self.sts().assume_role(**{name: value for name, value in wish.items() if value is not None})

    def kms(self):
        return of_session(self.assume()["Credentials"])
