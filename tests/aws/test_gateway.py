"""Requests of AWS's tools on the pool's one port."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.aws.conftest import Aws


def test_who_somebody_is(aws: Aws) -> None:
    assert aws.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{aws.account}:root"


def test_an_operation_that_is_not_there_is_named(aws: Aws) -> None:
    with pytest.raises(ClientError) as failed:
        aws.client("sts").get_access_key_info(AccessKeyId="A" * 20)
    assert failed.value.response["Error"]["Code"] == "InvalidAction"
    assert "GetAccessKeyInfo" in failed.value.response["Error"]["Message"]


def test_who_may_not_is_told_so(aws: Aws) -> None:
    nobody = aws.user("nobody")
    with pytest.raises(ClientError) as failed:
        aws.client("iam", nobody).list_roles()
    assert failed.value.response["Error"]["Code"] == "AccessDenied"
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
