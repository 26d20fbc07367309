#!/usr/bin/env python3
"""Opens and makes ciphertexts without the operator; docs/ciphertext-format.md describes them.

    pip install cryptography
    decrypt.py open --tenant-uid UID --master-key-file FILE [--aad BASE64] < ciphertext > plaintext
    decrypt.py seal --tenant-uid UID --master-key-file FILE --key-id ID [--aad BASE64] < plaintext

A ciphertext and an aad are in base64, as in the agent API; the key file has the 32 bytes as they are.
"""

import argparse
import base64
import binascii
import hmac
import os
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"TKM\x01"
HEADER, TAG = 84, 16
NONCE = bytes(12)  # each key is used once


class Refused(Exception):
    """Not ours, damaged, another tenant's, another key's or with another aad."""


def lengthened(*parts):
    """Every part after its length, so that no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def derive(master_key, tenant_uid, key_id, salt):
    """The key of one message, and the commitment to it."""
    info = lengthened(b"message", tenant_uid.encode(), key_id.hex().encode())
    derived = HKDF(SHA256(), 64, salt, info).derive(master_key)
    return derived[:32], derived[32:]


def seal(master_key, tenant_uid, key_id, plaintext, aad=b"", salt=None):
    """A salt is given by tests alone: one that comes twice betrays both messages."""
    salt = salt or os.urandom(32)
    key, commitment = derive(master_key, tenant_uid, key_id, salt)
    header = MAGIC + key_id + salt + commitment
    bound = header + lengthened(tenant_uid.encode(), aad)
    return header + AESGCM(key).encrypt(NONCE, plaintext, bound)


def open_(master_key, tenant_uid, blob, aad=b""):
    header, body = blob[:HEADER], blob[HEADER:]
    if not header.startswith(MAGIC) or len(body) < TAG:
        raise Refused
    key_id, salt, commitment = header[4:20], header[20:52], header[52:]
    key, own = derive(master_key, tenant_uid, key_id, salt)
    if not hmac.compare_digest(own, commitment):
        raise Refused
    try:
        return AESGCM(key).decrypt(NONCE, body, header + lengthened(tenant_uid.encode(), aad))
    except InvalidTag:
        raise Refused from None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["open", "seal"])
    parser.add_argument("--tenant-uid", required=True, help="tenantUid of the tenant's record")
    parser.add_argument("--master-key-file", required=True, help="32 bytes")
    parser.add_argument("--key-id", help="id of that master key, for seal")
    parser.add_argument("--aad", default="", help="base64")
    given = parser.parse_args()
    with open(given.master_key_file, "rb") as file:
        master_key = file.read()
    if len(master_key) != 32:
        parser.error("the master key file must have exactly 32 bytes")
    try:
        aad = base64.b64decode(given.aad, validate=True)
        key_id = bytes.fromhex(given.key_id or "")
        data = sys.stdin.buffer.read()
        if given.what == "open":
            data = base64.b64decode(data.strip(), validate=True)
    except (binascii.Error, ValueError):
        parser.error("not in base64 (ciphertext, --aad) or hex (--key-id)")
    if given.what == "seal":
        if len(key_id) != 16:
            parser.error("seal needs --key-id with 32 hex digits")
        print(base64.b64encode(seal(master_key, given.tenant_uid, key_id, data, aad)).decode())
        return
    try:
        sys.stdout.buffer.write(open_(master_key, given.tenant_uid, data, aad))
    except Refused:
        sys.exit("it does not open with this master key for this tenant uid and this aad")


if __name__ == "__main__":
    main()
