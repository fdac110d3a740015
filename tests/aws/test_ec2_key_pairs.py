"""Key pairs by boto3."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
    load_ssh_public_key,
)

from tests.aws.conftest import Aws
from tests.aws.refusals import refused
from tests.aws.shapes import assert_shape_like_moto


def colons(digest: str) -> str:
    return ":".join(digest[index : index + 2] for index in range(0, len(digest), 2))


def public(aws: Aws, name: str) -> str:
    (found,) = aws.client("ec2").describe_key_pairs(KeyNames=[name], IncludePublicKey=True)[
        "KeyPairs"
    ]
    return str(found["PublicKey"])


def test_an_rsa_key_is_made(aws: Aws) -> None:
    made = aws.client("ec2").create_key_pair(KeyName="my key")
    key = load_pem_private_key(made["KeyMaterial"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert made["KeyFingerprint"] == colons(hashlib.sha1(der).hexdigest())  # noqa: S324 - AWS's own
    kept = public(aws, "my key")
    assert kept.endswith(" my key")
    assert load_ssh_public_key(kept.encode()) == key.public_key()
    assert made["KeyMaterial"] not in repr(aws.plane.store.key_pairs.where())


def test_an_ed25519_key_is_made(aws: Aws) -> None:
    made = aws.client("ec2").create_key_pair(KeyName="k", KeyType="ed25519")
    key = load_ssh_private_key(made["KeyMaterial"].encode(), None)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    blob = base64.b64decode(public(aws, "k").split()[1])
    assert base64.b64decode(made["KeyFingerprint"]) == hashlib.sha256(blob).digest()
    (found,) = aws.client("ec2").describe_key_pairs()["KeyPairs"]
    assert (found["KeyType"], "PublicKey" in found) == ("ed25519", False)


@pytest.mark.parametrize("kind", ["openssh", "pem", "der", "base64"])
def test_keys_are_imported_in_several_forms(aws: Aws, kind: str) -> None:
    key = rsa.generate_private_key(65537, 2048).public_key()
    forms = {
        "openssh": key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" ann@host\n",
        "pem": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    }
    forms["base64"] = base64.b64encode(forms["der"])
    made = aws.client("ec2").import_key_pair(KeyName="k", PublicKeyMaterial=forms[kind])
    assert made["KeyFingerprint"] == colons(hashlib.md5(forms["der"]).hexdigest())  # noqa: S324 - AWS's own
    assert load_ssh_public_key(public(aws, "k").encode()) == key


def test_what_is_no_key_is_not_imported(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    odd = dsa.generate_private_key(2048).public_key()
    large = rsa.generate_private_key(65537, 3072).public_key()
    form = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    materials = (b"x", b"ssh-rsa AAAA", b"\xff" * 99, b"a" * 20000,
                 odd.public_bytes(*form), large.public_bytes(*form))  # fmt: skip
    for material in materials:
        with refused("InvalidKey.Format"):
            ec2.import_key_pair(KeyName="k", PublicKeyMaterial=material)
    assert ec2.describe_key_pairs()["KeyPairs"] == []


def test_names_are_each_of_one_key(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    made = ec2.create_key_pair(KeyName="k")
    with refused("InvalidKeyPair.Duplicate"):
        ec2.create_key_pair(KeyName="k")
    for name in ("", "é", "n" * 256, "a\nb"):
        with refused("InvalidParameterValue"):
            ec2.create_key_pair(KeyName=name)
    assert ec2.delete_key_pair(KeyName="k")["KeyPairId"] == made["KeyPairId"]
    assert "KeyPairId" not in ec2.delete_key_pair(KeyName="k")
    again = ec2.create_key_pair(KeyName="k")
    ec2.delete_key_pair(KeyPairId=again["KeyPairId"])
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    with refused("MissingParameter"):
        ec2.delete_key_pair()
    with refused("UnsupportedOperation"):
        ec2.create_key_pair(KeyName="k", KeyFormat="ppk")


def test_keys_are_found_by_name_id_filter_and_tag(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    tags = [{"ResourceType": "key-pair", "Tags": [{"Key": "team", "Value": "vision"}]}]
    first = ec2.create_key_pair(KeyName="one", KeyType="ed25519", TagSpecifications=tags)
    second = ec2.create_key_pair(KeyName="two", KeyType="ed25519")

    def names(**wanted: Any) -> list[str]:
        return [each["KeyName"] for each in ec2.describe_key_pairs(**wanted)["KeyPairs"]]

    assert first["Tags"] == [{"Key": "team", "Value": "vision"}]
    assert names() == ["one", "two"]
    assert names(KeyPairIds=[second["KeyPairId"]]) == ["two"]
    assert names(Filters=[{"Name": "key-name", "Values": ["t*"]}]) == ["two"]
    assert names(Filters=[{"Name": "tag:team", "Values": ["vision"]}]) == ["one"]
    assert names(Filters=[{"Name": "fingerprint", "Values": [first["KeyFingerprint"]]}]) == ["one"]
    for wanted in ({"KeyNames": ["one", "none"]}, {"KeyPairIds": ["key-0123456789abcdef0"]}):
        with refused("InvalidKeyPair.NotFound"):
            names(**wanted)
    with refused("InvalidParameterValue"):
        ec2.create_key_pair(
            KeyName="x", TagSpecifications=[{"ResourceType": "instance", "Tags": []}]
        )


def test_the_answers_are_where_moto_has_them(aws: Aws) -> None:
    material = ed25519.Ed25519PrivateKey.generate().public_key()
    text = material.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)

    def steps(clients: Any) -> Any:
        ec2 = clients("ec2")
        tags = [{"ResourceType": "key-pair", "Tags": [{"Key": "a", "Value": "b"}]}]
        return {
            "Made": ec2.create_key_pair(KeyName="one", TagSpecifications=tags),
            "Read": ec2.import_key_pair(KeyName="two", PublicKeyMaterial=text),
            "Found": ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"],
            "Gone": ec2.delete_key_pair(KeyName="one"),
        }

    assert_shape_like_moto(aws.client, steps, {
        "Made.ResponseMetadata": "it is each call's own",
        "Read.ResponseMetadata": "the same",
        "Gone.ResponseMetadata": "the same",
    })  # fmt: skip
