"""boto3 against the fake KMS: what a key does in which state, for whom, and each refusal as the client reports it."""

import pytest
from botocore.exceptions import ReadTimeoutError

from aws import CONTEXT, CUSTOMER, OPERATOR, REGION, ROLE, client, of_session, refused

KMS = f"kms.{REGION}.amazonaws.com"
PLAIN = b"32 bytes of a tenants master key"


def wrap(kms, account, context=CONTEXT, key=None):
    return kms.encrypt(KeyId=key or account.key, Plaintext=PLAIN, EncryptionContext=context)


def test_what_is_wrapped_opens_in_its_context_only(cloud, account):
    kms = account.kms()
    wrapped = wrap(kms, account)
    assert (wrapped["KeyId"], wrapped["EncryptionAlgorithm"]) == (account.key, "SYMMETRIC_DEFAULT")
    blob = wrapped["CiphertextBlob"]
    opened = kms.decrypt(KeyId=account.key, CiphertextBlob=blob, EncryptionContext=CONTEXT)
    assert (opened["Plaintext"], opened["KeyId"]) == (PLAIN, account.key)
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["KeyId"] == account.key
    for context in ({}, {"tenantkms.dev/tenant": "two"}, {**CONTEXT, "more": "1"}):
        refused("InvalidCiphertextException", 400, kms.decrypt, CiphertextBlob=blob, EncryptionContext=context)
    for changed in (blob[:-1], blob[:-1] + bytes([blob[-1] ^ 1]), b"rubbish"):
        refused("InvalidCiphertextException", 400, kms.decrypt, KeyId=account.key, CiphertextBlob=changed, EncryptionContext=CONTEXT)
    account.on_key("rotate")
    assert wrap(kms, account)["CiphertextBlob"][:20] != blob[:20]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == PLAIN
    principals = {call["principal"] for call in cloud.calls() if call["operation"] in ("encrypt", "decrypt")}
    assert principals == {ROLE}


def test_the_key_that_is_named_must_be_the_one_that_wrapped(cloud, account):
    other = cloud.do("aws-key", "create", account=CUSTOMER, region=REGION)["arn"]
    account.role("allow", actions=["kms:Decrypt"], resource=other)
    kms = account.kms()
    blob = wrap(kms, account)["CiphertextBlob"]
    refused("IncorrectKeyException", 400, kms.decrypt, KeyId=other, CiphertextBlob=blob, EncryptionContext=CONTEXT)


@pytest.mark.parametrize(
    "verb, code, end",
    [
        ("disable", "DisabledException", "is disabled."),
        ("schedule-deletion", "KMSInvalidStateException", "is pending deletion."),
        ("delete-material", "KMSInvalidStateException", "is pending import."),
        ("disconnect-store", "KMSInvalidStateException", "is unavailable."),
    ],
)
def test_a_key_in_another_state_does_nothing(account, verb, code, end):
    kms = account.kms()
    blob = wrap(kms, account)["CiphertextBlob"]
    account.on_key(verb)
    said = {"disable": "Disabled", "schedule-deletion": "PendingDeletion", "delete-material": "PendingImport", "disconnect-store": "Unavailable"}
    assert kms.describe_key(KeyId=account.key)["KeyMetadata"]["KeyState"] == said[verb]
    for call in (lambda: wrap(kms, account), lambda: kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)):
        assert refused(code, 400, call) == f"{account.key} {end}"
    account.on_key("enable")
    assert wrap(kms, account)


def test_who_may_use_it(cloud, account):
    kms = account.kms()
    account.role("allow-nothing")
    message = refused("AccessDeniedException", 400, wrap, kms=kms, account=account)
    assert "because no identity-based policy allows the kms:Encrypt action" in message
    account.on_key("grant", principal=ROLE, actions=["kms:Encrypt"])
    blob = wrap(kms, account)["CiphertextBlob"]
    refused("AccessDeniedException", 400, kms.decrypt, CiphertextBlob=blob, EncryptionContext=CONTEXT)
    account.on_key("revoke", principal=ROLE)
    account.on_key("revoke-account")
    account.role("allow", actions=["*"], resource="*")
    message = refused("AccessDeniedException", 400, wrap, kms=kms, account=account)
    assert "because no resource-based policy allows the kms:Encrypt action" in message


def test_a_grant_may_ask_for_a_context(account):
    account.role("allow-nothing")
    account.on_key("grant", principal=ROLE, context=["tenantkms.dev/tenant", "one"])
    kms = account.kms()
    assert wrap(kms, account)
    refused("AccessDeniedException", 400, wrap, kms=kms, account=account, context={"tenantkms.dev/tenant": "two"})


def test_from_another_account(cloud, account):
    kms = client("kms", account.user)
    nothing = "on this resource because the resource does not exist in this Region"
    assert nothing in refused("AccessDeniedException", 400, wrap, kms=kms, account=account)
    absent = account.key[:-12] + "0" * 12
    assert nothing in refused("AccessDeniedException", 400, wrap, kms=kms, account=account, key=absent)
    account.on_key("grant", principal=OPERATOR)
    assert "no identity-based policy" in refused("AccessDeniedException", 400, wrap, kms=kms, account=account)
    cloud.do("aws-role", "allow", arn=OPERATOR, actions=["kms:Encrypt"], resource=account.key)
    assert wrap(kms, account)


def test_what_is_not_there(account):
    kms = account.kms()
    absent = account.key[:-12] + "0" * 12
    assert "does not exist" in refused("NotFoundException", 400, wrap, kms=kms, account=account, key=absent)
    alias = account.key.split("key/")[0] + "alias/none"
    assert "is not found" in refused("NotFoundException", 400, wrap, kms=kms, account=account, key=alias)
    elsewhere = account.key.replace(REGION, "us-west-2")
    assert refused("NotFoundException", 400, wrap, kms=kms, account=account, key=elsewhere) == "Invalid arn us-west-2"
    account.on_key("delete")
    refused("NotFoundException", 400, wrap, kms=kms, account=account)


def test_an_alias_is_followed_to_its_key(cloud, account):
    other = cloud.do("aws-key", "create", account=CUSTOMER, region=REGION)["arn"]
    account.role("allow", actions=["kms:Encrypt", "kms:DescribeKey"], resource=other)
    alias = account.key.split("key/")[0] + "alias/acme"
    cloud.do("aws", "point-alias", alias=alias, key=account.key)
    kms = account.kms()
    assert wrap(kms, account, key=alias)["KeyId"] == account.key
    assert kms.describe_key(KeyId=alias)["KeyMetadata"]["Arn"] == account.key
    cloud.do("aws", "point-alias", alias=alias, key=other)
    assert wrap(kms, account, key=alias)["KeyId"] == other
    cloud.do("aws", "delete-alias", alias=alias)
    refused("NotFoundException", 400, wrap, kms=kms, account=account, key=alias)


def test_an_asymmetric_key(cloud, account):
    rsa = cloud.do("aws-key", "create", account=CUSTOMER, region=REGION, asymmetric=True)["arn"]
    account.role("allow", actions=["kms:Encrypt"], resource=rsa)
    refused("InvalidKeyUsageException", 400, wrap, kms=account.kms(), account=account, key=rsa)


def test_a_multi_region_key_has_its_own_id(cloud, account):
    key = cloud.do("aws-key", "create", account=CUSTOMER, region=REGION, multi_region=True)["arn"]
    assert ":key/mrk-" in key
    account.role("allow", actions=["kms:Encrypt"], resource=key)
    assert wrap(account.kms(), account, key=key)["KeyId"] == key


def test_the_request_is_checked(account):
    kms = account.kms()
    refused("ValidationException", 400, kms.encrypt, KeyId=account.key, Plaintext=b"x" * 4097)
    refused("UnknownOperationException", 400, kms.list_keys)
    refused("AccessDeniedException", 400, client("kms", account.user).describe_key, KeyId=account.key)


def test_the_signature_is_verified(cloud, account):
    given = account.assume()["Credentials"]
    wrong = of_session({**given, "SecretAccessKey": "x" * 40})
    refused("InvalidSignatureException", 400, wrap, kms=wrong, account=account)
    unknown = of_session({**given, "AccessKeyId": "ASIAIOSFODNN7EXAMPLE"})
    refused("UnrecognizedClientException", 400, wrap, kms=unknown, account=account)
    forged = of_session({**given, "SessionToken": "x"})
    refused("UnrecognizedClientException", 400, wrap, kms=forged, account=account)
    cloud.do("aws", "clock-ahead", seconds=6 * 60)
    assert "Signature expired" in refused("InvalidSignatureException", 400, wrap, kms=of_session(given), account=account)
    cloud.do("aws", "clock-ahead", seconds=0)
    cloud.do("aws", "expire-sessions")
    refused("ExpiredTokenException", 400, wrap, kms=of_session(given), account=account)


@pytest.mark.parametrize("status, kind", [(400, "ThrottlingException"), (500, "KeyUnavailableException"), (500, "KMSInternalException")])
def test_faults_in_the_service_s_own_words(cloud, account, status, kind):
    kms = account.kms()
    body = '{"__type":"%s","message":"m"}' % kind
    fault = cloud.fault("encrypt", {"kind": "status", "status": status, "body": body, "headers": [["x-amzn-requestid", "r-1"]]}, host=KMS)
    refused(kind, status, wrap, kms=kms, account=account)
    cloud.do("cloud", "clear-fault", id=fault)
    assert wrap(kms, account)


def test_a_hang(cloud, account):
    kms = account.kms()
    cloud.fault("encrypt", {"kind": "hang"}, host=KMS)
    with pytest.raises(ReadTimeoutError):
        wrap(kms, account)


def test_each_partition_has_its_own_hosts(cloud):
    for partition, region, host in (
        ("aws-cn", "cn-north-1", "kms.cn-north-1.amazonaws.com.cn"),
        ("aws-us-gov", "us-gov-west-1", "kms.us-gov-west-1.amazonaws.com"),
    ):
        user = cloud.do("aws", "user", arn=f"arn:{partition}:iam::{CUSTOMER}:user/own")
        key = cloud.do("aws-key", "create", account=CUSTOMER, region=region)["arn"]
        assert key.startswith(f"arn:{partition}:kms:{region}:")
        cloud.do("aws-key", "grant", arn=key, principal=f"arn:{partition}:iam::{CUSTOMER}:user/own")
        assert client("kms", user, region=region).encrypt(KeyId=key, Plaintext=PLAIN)["KeyId"] == key
        assert cloud.count(host, "encrypt") == 1
