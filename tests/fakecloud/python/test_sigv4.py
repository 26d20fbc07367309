"""Requests that botocore signs and that are then not quite what it signed, or ask for what is not there: KMS and STS
refuse each as they do, before they look at keys and roles."""

import json
import re

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from aws import REGION

KMS, STS = "kms", "sts"
JSON = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.DescribeKey"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
VERSION = "2011-06-15"


class Signer:
    """A session of the customer's role, and what it asks by default: something that it may."""

    def __init__(self, account):
        given = account.assume()["Credentials"]
        self.credentials = Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        self.key = account.key

    def signed(self, to, body=None, headers=None, service=None, region=REGION):
        """Method, URL, headers and body as botocore signs them."""
        if body is None:
            body = json.dumps({"KeyId": self.key}) if to == KMS else f"Action=GetCallerIdentity&Version={VERSION}"
        url = f"https://{to}.{REGION}.amazonaws.com/"
        request = AWSRequest("POST", url, data=body, headers=dict(headers or (JSON if to == KMS else FORM)))
        SigV4Auth(self.credentials, service or to, region).add_auth(request)
        return url, dict(request.headers.items()), body

    def sent(self, to, **fields):
        return send(*self.signed(to, **fields))


def send(url, headers, body):
    """Status, code and message; no code where it was taken."""
    answer = requests.post(url, data=body.encode(), headers=headers, timeout=10)
    assert answer.headers["x-amzn-requestid"]
    if answer.status_code == 200:
        return 200, None, answer.text
    if url.startswith("https://kms"):
        return answer.status_code, answer.json()["__type"], answer.json()["message"]
    found = re.search(r"<Code>(.*)</Code>\s*<Message>(.*)</Message>", answer.text, re.DOTALL)
    return answer.status_code, found[1], found[2]


@pytest.fixture
def signer(account):
    return Signer(account)


def authorization(pattern, by):
    def change(headers):
        before = headers["Authorization"]
        headers["Authorization"] = re.sub(pattern, by, before)
        assert headers["Authorization"] != before, before

    return change


def header(name, value):
    def change(headers):
        if value is None:
            del headers[name]
        else:
            headers[name] = value

    return change


# What each service calls it, with which status.
MISSING = {KMS: (400, "MissingAuthenticationTokenException"), STS: (403, "MissingAuthenticationToken")}
INCOMPLETE = {KMS: (400, "IncompleteSignatureException"), STS: (400, "IncompleteSignature")}
WRONG = {KMS: (400, "InvalidSignatureException"), STS: (403, "SignatureDoesNotMatch")}
UNKNOWN = {KMS: (400, "UnrecognizedClientException"), STS: (403, "InvalidClientTokenId")}

CHANGES = [
    ("no signature", header("Authorization", None), MISSING, "Authentication Token"),
    ("another scheme", header("Authorization", "Bearer abc"), MISSING, "Authentication Token"),
    ("no credential", authorization("Credential=[^,]*, ", ""), INCOMPLETE, "requires 'Credential' parameter"),
    ("no value", authorization(", Signature=.*", ""), INCOMPLETE, "requires 'Signature' parameter"),
    ("no headers", authorization("SignedHeaders=[^,]*, ", ""), INCOMPLETE, "requires 'SignedHeaders' parameter"),
    ("no date", header("X-Amz-Date", None), INCOMPLETE, "either a 'X-Amz-Date' or a 'Date' header"),
    ("another form of date", header("X-Amz-Date", "2026-01-01T00:00:00Z"), INCOMPLETE, "'basic format'"),
    ("another algorithm", authorization("SHA256", "SHA512"), INCOMPLETE, "Unsupported AWS 'algorithm'"),
    ("four elements", authorization("/aws4_request", ""), INCOMPLETE, "exactly 5 slash-delimited elements"),
    ("another terminator", authorization("aws4_request", "aws5_request"), WRONG, "valid terminator: 'aws4_request'"),
    ("another day", authorization("/20[0-9]{6}/", "/20200101/"), WRONG, "Date in Credential scope does not match"),
    ("another region", authorization(REGION, "eu-west-1"), WRONG, "a valid region, not 'eu-west-1'"),
    ("another service", authorization("/(kms|sts)/", "/s3/"), WRONG, "scoped to correct service"),
    ("the host not signed", authorization("host;", ""), WRONG, "'Host' or ':authority' must be a 'SignedHeader'"),
    ("a header not signed", authorization(";x-amz-security-token", ""), WRONG, "'x-amz-security-token' must be"),
    ("a header added", header("X-Amz-Other", "1"), WRONG, "'x-amz-other' must be a 'SignedHeader'"),
    ("in another order", authorization("content-type;host", "host;content-type"), WRONG, "does not match the signature"),
    ("another value", authorization("Signature=.{8}", "Signature=00000000"), WRONG, "does not match the signature"),
    ("cut", authorization("(Signature=.*).$", r"\1"), WRONG, "does not match the signature"),
    ("another token", header("X-Amz-Security-Token", "abc"), WRONG, "does not match the signature"),
    ("another key", authorization("ASIA[A-Z0-9]{8}", "ASIA00000000"), UNKNOWN, "security token"),
]


@pytest.mark.parametrize("to", [KMS, STS])
@pytest.mark.parametrize("what, change, code, said", CHANGES, ids=[change[0] for change in CHANGES])
def test_what_was_not_signed_is_refused(signer, to, what, change, code, said):
    url, headers, body = signer.signed(to)
    assert send(url, headers, body)[0] == 200
    change(headers)
    status, found, message = send(url, headers, body)
    assert (status, found) == code[to], message
    assert said in message


@pytest.mark.parametrize("to, other", [(KMS, STS), (STS, KMS)])
def test_another_body_service_or_region_was_signed(signer, to, other):
    url, headers, body = signer.signed(to)
    more = {KMS: " ", STS: "&Other=1"}
    assert send(url, headers, body + more[to])[:2] == WRONG[to]
    # Signed as it should be, for elsewhere.
    for fields, said in (
        ({"service": other}, f"correct service: '{to}'"),
        ({"region": "us-east-1"}, "a valid region, not 'us-east-1'"),
    ):
        status, code, message = signer.sent(to, **fields)
        assert (status, code) == WRONG[to] and said in message


@pytest.mark.parametrize("body, said", [
    ("Action=GetCallerIdentity&Version=2010-05-08", "operation GetCallerIdentity for version 2010-05-08"),
    ("Action=GetFederationToken2&Version=2011-06-15", "operation GetFederationToken2 for version 2011-06-15"),
    ("Action=getcalleridentity&Version=2011-06-15", "operation getcalleridentity for version 2011-06-15"),
    ("Version=2011-06-15", ""),
])
def test_sts_has_no_other_actions_and_versions(signer, body, said):
    status, code, message = signer.sent(STS, body=body)
    assert (status, code) == (400, "InvalidAction") and said in message


@pytest.mark.parametrize("target", ["TrentService.Nothing", "TrentService.describekey", "Other.DescribeKey", "DescribeKey"])
def test_kms_has_no_other_operations(signer, target):
    found = signer.sent(KMS, headers={**JSON, "X-Amz-Target": target})
    assert found[:2] == (400, "UnknownOperationException")


@pytest.mark.parametrize("operation, body", [
    ("DescribeKey", ""),
    ("DescribeKey", "{"),
    ("DescribeKey", "[]"),
    ("DescribeKey", '{"KeyId": 7}'),
    ("Encrypt", '{"KeyId": "KEY", "Plaintext": "no base64!"}'),
    ("Encrypt", '{"KeyId": "KEY", "Plaintext": "AAAA", "EncryptionContext": ["a"]}'),
    ("Encrypt", '{"KeyId": "KEY", "Plaintext": "AAAA", "EncryptionContext": {"a": 1}}'),
    ("Decrypt", '{"KeyId": "KEY", "CiphertextBlob": {}}'),
])
def test_kms_reads_its_own_form_only(signer, operation, body):
    headers = {**JSON, "X-Amz-Target": f"TrentService.{operation}"}
    found = signer.sent(KMS, headers=headers, body=body.replace("KEY", signer.key))
    assert found[:2] == (400, "SerializationException")
