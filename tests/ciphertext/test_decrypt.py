"""examples/decrypt.py and the operator's own code read each other, and agree on every vector.

The operator's code is a program named by CIPHERTEXT_BIN.
"""

import base64
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples/decrypt.py"
VECTORS = json.loads((ROOT / "docs/ciphertext-vectors.json").read_text())
UID = "00112233445566778899aabbccddeeff"
OTHER_UID = "00112233445566778899aabbccddee00"
KEY_ID = bytes(range(16))
MESSAGES = [
    (b"", b""),
    (b"", b"aad"),
    (b"x", b""),
    (bytes(1024), b"table=users"),
    (os.urandom(512 * 1024), os.urandom(8 * 1024)),
]

spec = importlib.util.spec_from_file_location("decrypt", SCRIPT)
decrypt = importlib.util.module_from_spec(spec)
spec.loader.exec_module(decrypt)


def b64(data):
    return base64.b64encode(data).decode()


class Operator:
    """The operator's own code."""

    def __init__(self, process):
        self.process = process

    def ask(self, **fields):
        self.process.stdin.write(json.dumps(fields) + "\n")
        self.process.stdin.flush()
        data = json.loads(self.process.stdout.readline())["data"]
        return None if data is None else base64.b64decode(data)

    def seal(self, key, uid, key_id, data, aad):
        fields = {"master_key": b64(key), "tenant_uid": uid, "data": b64(data), "aad": b64(aad)}
        return self.ask(do="seal", key_id=key_id.hex(), **fields)

    def open(self, key, uid, data, aad):
        fields = {"master_key": b64(key), "tenant_uid": uid, "data": b64(data), "aad": b64(aad)}
        return self.ask(do="open", **fields)


@pytest.fixture
def operator():
    with subprocess.Popen(
        [os.environ["CIPHERTEXT_BIN"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Operator(process)
        process.stdin.close()
        assert process.wait(timeout=10) == 0


def unhexed(vector):
    plain = {"name", "tenant_uid"}
    return {name: value if name in plain else bytes.fromhex(value) for name, value in vector.items()}


def names(vectors):
    return [vector["name"] for vector in vectors]


@pytest.mark.parametrize("vector", [unhexed(v) for v in VECTORS["opens"]], ids=names(VECTORS["opens"]))
def test_a_vector_is_made_and_opened(vector):
    v = vector
    key, commitment = decrypt.derive(v["master_key"], v["tenant_uid"], v["key_id"], v["salt"])
    assert key == v["cipher_key"]
    assert v["header"] == b"TKM\x01" + v["key_id"] + v["salt"] + commitment
    whose = v["master_key"], v["tenant_uid"]
    made = decrypt.seal(*whose, v["key_id"], v["plaintext"], v["aad"], v["salt"])
    assert made == v["ciphertext"]
    assert decrypt.open_(*whose, v["ciphertext"], v["aad"]) == v["plaintext"]


@pytest.mark.parametrize("vector", [unhexed(v) for v in VECTORS["refused"]], ids=names(VECTORS["refused"]))
def test_a_vector_is_refused(vector):
    v = vector
    with pytest.raises(decrypt.Refused):
        decrypt.open_(v["master_key"], v["tenant_uid"], v["ciphertext"], v["aad"])


@pytest.mark.parametrize("plaintext, aad", MESSAGES, ids=lambda data: str(len(data)))
def test_each_opens_what_the_other_wrote_and_nothing_else(operator, plaintext, aad):
    key = os.urandom(32)
    theirs = operator.seal(key, UID, KEY_ID, plaintext, aad)
    ours = decrypt.seal(key, UID, KEY_ID, plaintext, aad)
    assert len(ours) == len(theirs) == 100 + len(plaintext)
    assert ours[:20] == theirs[:20]
    again = decrypt.seal(key, UID, KEY_ID, plaintext, aad)
    assert len({one[20:52] for one in [ours, theirs, again]}) == 3
    assert decrypt.open_(key, UID, theirs, aad) == plaintext
    assert operator.open(key, UID, ours, aad) == plaintext

    changed = bytearray(ours)
    changed[len(ours) // 2] ^= 1
    for wrong in [
        (key, UID, bytes(changed), aad),
        (key, UID, ours, aad + b"x"),
        (key, OTHER_UID, ours, aad),
        (os.urandom(32), UID, ours, aad),
    ]:
        assert operator.open(*wrong) is None
        with pytest.raises(decrypt.Refused):
            decrypt.open_(*wrong)


def run(tmp_path, what, data, *options, key=bytes(32)):
    file = tmp_path / "key"
    file.write_bytes(key)
    command = [sys.executable, SCRIPT, what, "--tenant-uid", UID, "--master-key-file", file, *options]
    return subprocess.run(command, input=data, capture_output=True, timeout=60)


def test_the_command_line(operator, tmp_path):
    key, aad = os.urandom(32), ["--aad", b64(b"aad")]
    sealed = run(tmp_path, "seal", b"plaintext\n", "--key-id", KEY_ID.hex(), *aad, key=key)
    assert (sealed.returncode, sealed.stderr) == (0, b"")
    assert operator.open(key, UID, base64.b64decode(sealed.stdout), b"aad") == b"plaintext\n"
    opened = run(tmp_path, "open", sealed.stdout, *aad, key=key)
    assert (opened.returncode, opened.stdout) == (0, b"plaintext\n")

    refused = run(tmp_path, "open", sealed.stdout, key=key)
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"does not open" in refused.stderr
    for wrong in [
        run(tmp_path, "open", b"not base64!", key=key),
        run(tmp_path, "open", sealed.stdout, *aad, key=key[1:]),
        run(tmp_path, "seal", b"plaintext", key=key),
    ]:
        assert wrong.returncode == 2 and b"Traceback" not in wrong.stderr
