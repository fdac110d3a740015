"""Key pairs: made here or imported; an instance finds the public one in its metadata."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
    load_ssh_public_key,
)

from elastic_inference.aws import ec2_quotas, tags
from elastic_inference.aws.call import Call, Document, Operations, operation
from elastic_inference.aws.errors import AwsError, unsupported
from elastic_inference.aws.filters import Reader, select
from elastic_inference.control import names
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.records import KeyPair

_RSA_BITS = 2048
_RSA_SIZES = (1024, 2048, 4096)
_MAX_NAME = 255
_MAX_MATERIAL = 16384
_KIND = "key-pair"
Private = RSAPrivateKey | Ed25519PrivateKey
Public = RSAPublicKey | Ed25519PublicKey


class KeyPairs:
    """Makes, imports, describes and deletes key pairs."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        tagged = "TagSpecifications.ResourceType TagSpecifications.Tags"
        self.operations: Operations = {
            "CreateKeyPair": operation(
                self._create, f"KeyName KeyType KeyFormat {tagged}", resources=self._arns
            ),
            "ImportKeyPair": operation(
                self._import, f"KeyName PublicKeyMaterial {tagged}", resources=self._arns
            ),
            "DescribeKeyPairs": operation(
                self._describe, "KeyNames KeyPairIds Filters IncludePublicKey"
            ),
            "DeleteKeyPair": operation(self._delete, "KeyName KeyPairId", resources=self._arns),
        }

    def _create(self, call: Call) -> Document:
        if call.input.get("KeyFormat", "pem") != "pem":
            raise unsupported("Keys are made in the format pem; puttygen makes a ppk of it.")
        ed25519 = call.input.get("KeyType", "rsa") == "ed25519"
        private = Ed25519PrivateKey.generate() if ed25519 else generate_rsa(65537, _RSA_BITS)
        pair = self._add(call, private.public_key(), _fingerprint_of_own(private))
        return _summary(pair) | {"KeyMaterial": _pem(private)}

    def _import(self, call: Call) -> Document:
        public = _read(call.input["PublicKeyMaterial"])
        return _summary(self._add(call, public, _fingerprint(public)))

    def _add(self, call: Call, public: Public, fingerprint: str) -> KeyPair:
        name = call.input["KeyName"]
        if not (1 <= len(name) <= _MAX_NAME and name.isascii() and name.isprintable()):
            raise AwsError(
                "InvalidParameterValue",
                f"A key pair's name has 1 to {_MAX_NAME} printable ASCII characters.",
            )
        pair = KeyPair(
            id=names.new_id("key"),
            account=call.account,
            name=name,
            type="rsa" if isinstance(public, RSAPublicKey) else "ed25519",
            fingerprint=fingerprint,
            public_key=public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
            tags=tags.given(call, _KIND),
            created_at=self._plane.clock.time(),
        )
        with self._plane.store.transaction():
            if self._named(call.account, name) is not None:
                raise AwsError("InvalidKeyPair.Duplicate", f"The keypair '{name}' already exists.")
            ec2_quotas.check(self._plane.store.key_pairs, call.account, ec2_quotas.KEY_PAIRS)
            self._plane.store.key_pairs.add(pair)
        return pair

    def _describe(self, call: Call) -> Document:
        columns = self._plane.store.key_pairs.columns
        found = self._plane.store.key_pairs.where(
            columns.account == call.account, order=(columns.name,)
        )
        for parameter, field, code in (
            ("KeyNames", "name", "InvalidKeyPair.NotFound"),
            ("KeyPairIds", "id", "InvalidKeyPair.NotFound"),
        ):
            wanted = call.input.get(parameter)
            if not wanted:
                continue
            there = {getattr(each, field) for each in found}
            for each in wanted:
                if each not in there:
                    raise AwsError(code, f"The key pair '{each[:_MAX_NAME]}' does not exist")
            found = [each for each in found if getattr(each, field) in wanted]
        found = select(found, call, _FILTERS, lambda each: each.tags)
        shown = bool(call.input.get("IncludePublicKey"))
        return {"KeyPairs": [_describe_one(each, public=shown) for each in found]}

    def _delete(self, call: Call) -> Document:
        name, key_id = call.input.get("KeyName"), call.input.get("KeyPairId")
        if name is None and key_id is None:
            raise AwsError(
                "MissingParameter", "The request must contain the parameter KeyName or KeyPairId"
            )
        columns = self._plane.store.key_pairs.columns
        conditions = [columns.account == call.account]
        conditions += [columns.name == name] if name is not None else []
        conditions += [columns.id == key_id] if key_id is not None else []
        with self._plane.store.transaction():
            found = self._plane.store.key_pairs.first(*conditions)
            self._plane.store.key_pairs.remove(*conditions)
        # Deleting what is not there is no error on AWS either.
        return {"Return": True, "KeyPairId": found.id if found else None}

    def _named(self, account: str, name: str) -> KeyPair | None:
        columns = self._plane.store.key_pairs.columns
        return self._plane.store.key_pairs.first(columns.account == account, columns.name == name)

    def _arns(self, call: Call) -> Sequence[str]:
        name = call.input.get("KeyName")
        if name is None and (key_id := call.input.get("KeyPairId")):
            columns = self._plane.store.key_pairs.columns
            found = self._plane.store.key_pairs.first(
                columns.account == call.account, columns.id == key_id
            )
            name = found and found.name
        region = self._plane.settings.region
        return [names.ec2_arn(region, call.account, _KIND, name or "*")]


def _summary(pair: KeyPair) -> dict[str, object]:
    return {
        "KeyFingerprint": pair.fingerprint,
        "KeyName": pair.name,
        "KeyPairId": pair.id,
        "Tags": tags.shown(pair.tags),
    }


def _describe_one(pair: KeyPair, *, public: bool) -> Document:
    return _summary(pair) | {
        "KeyType": pair.type,
        "CreateTime": pair.created_at,
        "PublicKey": f"{pair.public_key} {pair.name}" if public else None,
    }


def _pem(private: Private) -> str:
    rsa = isinstance(private, RSAPrivateKey)
    form = PrivateFormat.TraditionalOpenSSL if rsa else PrivateFormat.OpenSSH
    return private.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def _read(material: bytes) -> Public:
    """A public key in OpenSSH's form, in PEM, or in DER, with or without Base64 around it."""
    if len(material) > _MAX_MATERIAL:
        raise _bad_material()
    readers = (load_ssh_public_key, load_pem_public_key, load_der_public_key)
    for text in _forms(material):
        for reader in readers:
            try:
                key = reader(text)
            except (ValueError, UnsupportedAlgorithm):
                continue
            if isinstance(key, Ed25519PublicKey) or (
                isinstance(key, RSAPublicKey) and key.key_size in _RSA_SIZES
            ):
                return key
    raise _bad_material()


def _forms(material: bytes) -> list[bytes]:
    text = material.strip()
    try:
        return [text, base64.b64decode(text, validate=True)]
    except binascii.Error:
        return [text]


def _bad_material() -> AwsError:
    return AwsError(
        "InvalidKey.Format",
        "Key is not in valid OpenSSH public key format. It must be an RSA key of 1024, 2048 or 4096"
        " bits, or an ED25519 key.",
    )


def _fingerprint_of_own(private: Private) -> str:
    """Of a key that was made here: of the private one, if it is of RSA."""
    if isinstance(private, Ed25519PrivateKey):
        return _fingerprint(private.public_key())
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return _colons(hashlib.sha1(der, usedforsecurity=False).hexdigest())


def _fingerprint(public: Public) -> str:
    if isinstance(public, Ed25519PublicKey):
        blob = base64.b64decode(
            public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
        )
        return base64.b64encode(hashlib.sha256(blob).digest()).decode()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return _colons(hashlib.md5(der, usedforsecurity=False).hexdigest())


def _colons(digest: str) -> str:
    return ":".join(digest[index : index + 2] for index in range(0, len(digest), 2))


_FILTERS: Mapping[str, Reader[KeyPair]] = {
    "key-pair-id": lambda each: each.id,
    "key-name": lambda each: each.name,
    "fingerprint": lambda each: each.fingerprint,
}
