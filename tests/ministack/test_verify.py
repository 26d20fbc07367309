"""`tenant-kms verify -f` against ministack: IAM, STS and KMS by people who know nothing of this repository, reached
under AWS's own host names through a proxy with a CA of its own. What they do otherwise than AWS is not asked here."""

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time

import botocore.session
import pytest
import requests
from botocore.config import Config

from relay import Authority, Relay, metadata

ACCOUNT, REGION = "000000000000", "eu-central-1"
OPERATOR = f"arn:aws:iam::{ACCOUNT}:role/operator"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/acme-kms"
EXTERNAL_ID = "tkms-0123456789abcdef0123456789abcdef"
USE = ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"]


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]})


def trusts(principal, condition=None):
    statement = {"Action": "sts:AssumeRole", "Principal": {"AWS": principal}}
    return policy({**statement, "Condition": condition} if condition else statement)


ONLY_OURS = {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}}


@pytest.fixture(scope="session")
def ministack(tmp_path_factory):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    root = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20)}
    settings = {"AUTH": "true", "BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0", "GATEWAY_PORT": str(port)}
    folder = tmp_path_factory.mktemp("ministack")
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env={**os.environ, **root, **settings}, cwd=folder, stdout=log, stderr=log
        )
    try:
        direct, limit = requests.Session(), time.monotonic() + 60
        direct.trust_env = False
        while True:
            assert process.poll() is None and time.monotonic() < limit, (folder / "log").read_text()
            try:
                direct.get(f"http://127.0.0.1:{port}/_ministack/health", timeout=5).raise_for_status()
                break
            except requests.RequestException:
                time.sleep(0.1)
        yield port, root
    finally:
        process.terminate()
        process.wait(timeout=30)


class World:
    """An account with a key, a role that may use it, and the operator's role, whose session a node's metadata tells."""

    def __init__(self, folder, port, root):
        self.folder, self.port = folder, port
        self.iam, self.kms = (self.client(service, root) for service in ("iam", "kms"))
        for name, trust in (("operator", trusts(f"arn:aws:iam::{ACCOUNT}:root")), ("acme-kms", trusts(OPERATOR, ONLY_OURS))):
            self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        may = policy({"Action": "sts:AssumeRole", "Resource": ROLE})
        self.iam.put_role_policy(RoleName="operator", PolicyName="assume", PolicyDocument=may)
        self.key = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.may_use()
        session = self.client("sts", root).assume_role(RoleArn=OPERATOR, RoleSessionName="node")["Credentials"]
        credential = {
            "AccessKeyId": session["AccessKeyId"],
            "SecretAccessKey": session["SecretAccessKey"],
            "Token": session["SessionToken"],
        }
        self.secrets = [credential["SecretAccessKey"], credential["Token"]]
        authority = Authority(folder)
        self.relay, self.imds = Relay(authority, port), metadata(json.dumps({"Code": "Success", **credential}))
        for server in (self.relay, self.imds):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.env = {
            "PATH": os.environ["PATH"],
            "HTTPS_PROXY": "http://127.0.0.1:%d" % self.relay.server_address[1],
            "SSL_CERT_FILE": str(authority.file),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:%d" % self.imds.server_address[1],
        }

    def client(self, service, root):
        session = botocore.session.Session()
        session.set_credentials(root["AWS_ACCESS_KEY_ID"], root["AWS_SECRET_ACCESS_KEY"])
        once = Config(retries={"total_max_attempts": 1}, proxies={})
        return session.create_client(service, region_name=REGION, endpoint_url=f"http://127.0.0.1:{self.port}", config=once)

    def trust(self, document):
        self.iam.update_assume_role_policy(RoleName="acme-kms", PolicyDocument=document)

    def may_use(self, resource=None):
        document = policy({"Action": USE, "Resource": resource or self.key})
        self.iam.put_role_policy(RoleName="acme-kms", PolicyName="use", PolicyDocument=document)

    def verify(self, key=None, external_id=EXTERNAL_ID):
        key = key or self.key
        grant = {"tenants": ["tenants/acme"], "keys": [key]}
        config = {"kind": "OperatorConfig", "operatorIdentity": {"allow": [grant]}}
        spec = {"provider": "aws", "kmsKeyRef": key, "aws": {"roleArn": ROLE, "externalId": external_id}}
        tenant = {"kind": "TenantKms", "metadata": {"name": "acme", "namespace": "tenants"}, "spec": spec}
        for name, version, body in (
            ("config", "config.tenantkms.dev/v1alpha1", config),
            ("tenant", "tenantkms.dev/v1alpha1", tenant),
        ):
            (self.folder / f"{name}.yaml").write_text(json.dumps({"apiVersion": version, **body}))
        command = [os.environ["TENANT_KMS_BIN"], "verify", "--output", "json"]
        command += ["--file", self.folder / "tenant.yaml", "--config", self.folder / "config.yaml"]
        ran = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)
        for secret in self.secrets:
            assert secret not in ran.stdout + ran.stderr
        report = json.loads(ran.stdout)
        assert ran.returncode == (0 if report["ok"] else 1), ran
        return report

    def refused(self, reason, hint, **fields):
        report = self.verify(**fields)
        assert (report["reason"], report["kind"]) == (reason, "Misconfigured" if reason == "NotAllowed" else "Denial"), json.dumps(report)
        assert hint in report["message"], report


@pytest.fixture
def world(ministack, tmp_path):
    port, root = ministack
    requests.post(f"http://127.0.0.1:{port}/_ministack/reset", timeout=30, proxies={"http": ""}).raise_for_status()
    world = World(tmp_path, port, root)
    yield world
    for server in (world.relay, world.imds):
        server.shutdown()
        server.server_close()


def test_a_key_wraps_and_unwraps(world):
    report = world.verify()
    assert report["reason"] == "Verified", report
    assert (report["keyId"], report["identity"]) == (world.key, f"role {ROLE}")
    assert set(world.relay.hosts) == {f"sts.{REGION}.amazonaws.com", f"kms.{REGION}.amazonaws.com"}


def test_an_alias_is_its_key(world):
    world.kms.create_alias(AliasName="alias/acme", TargetKeyId=world.key)
    # The policy's resource is compared with the alias here, and with its key at AWS.
    world.may_use("*")
    report = world.verify(key=f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/acme")
    assert report["reason"] == "Verified" and report["keyId"] == world.key, json.dumps(report)


def test_a_no_of_the_role(world):
    world.refused("AccessDenied", "STS refuses role", external_id="tkms-of-another")
    world.trust(trusts(f"arn:aws:iam::{ACCOUNT}:role/another", ONLY_OURS))
    world.refused("AccessDenied", "aws iam update-assume-role-policy")


@pytest.mark.parametrize("condition", [None, {"StringLike": {"sts:ExternalId": "tkms-*"}}])
def test_a_role_that_opens_to_others_is_not_used(world, condition):
    world.trust(trusts(OPERATOR, condition))
    world.refused("NotAllowed", "confused deputy")
    assert f"kms.{REGION}.amazonaws.com" not in world.relay.hosts


def test_a_no_without_aws_s_request_id_is_nobody_s(world):
    """ministack answers a KMS denial without the id that every answer of AWS has."""
    world.iam.delete_role_policy(RoleName="acme-kms", PolicyName="use")
    report = world.verify()
    assert (report["reason"], report["kind"]) == ("ProviderError", "Transient"), json.dumps(report)
    world.may_use()
    assert world.verify()["ok"]


def test_a_no_at_the_key(world):
    world.kms.disable_key(KeyId=world.key)
    world.refused("KeyDisabled", "aws kms enable-key")
    world.kms.enable_key(KeyId=world.key)
    assert world.verify()["ok"]
    world.kms.schedule_key_deletion(KeyId=world.key, PendingWindowInDays=7)
    world.refused("KeyUnusable", "aws kms cancel-key-deletion")


def test_no_such_key(world):
    absent = world.key[:-12] + "0" * 12
    world.may_use("*")
    world.refused("KeyNotFound", "aws kms list-aliases", key=absent)
