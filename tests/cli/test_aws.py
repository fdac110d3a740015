"""`ei env` and `ei aws-model`: AWS's own tools on the pool."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.pools import PATIENCE, ei, environment, up

AWS = str(Path(sys.executable).with_name("aws"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("aws")
    with up(directory, "--listen", "127.0.0.1:0"):
        yield directory


def _in_shell(home: Path, command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell that evaluated what `ei env` prints."""
    lines = ei(home, "env", env=more)
    assert lines.returncode == 0, lines.stderr
    return subprocess.run(
        ["sh", "-c", f"{lines.stdout}\n{command}"],
        env=_clean(environment(home, HOME=str(home), **more)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def _clean(variables: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in variables.items() if not key.startswith("AWS_")}


def test_the_aws_cli_speaks_to_the_pool(home: Path) -> None:
    done = _in_shell(home, f"{shlex.quote(AWS)} sts get-caller-identity")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Account"] == "000000000000"
    done = _in_shell(home, f"{shlex.quote(AWS)} elastic-inference describe-accelerator-types")
    assert done.returncode == 0, done.stderr
    names = [each["acceleratorTypeName"] for each in json.loads(done.stdout)["acceleratorTypes"]]
    assert names[:3] == ["eia1.medium", "eia1.large", "eia1.xlarge"]


def test_what_is_not_there_is_said_by_the_pool(home: Path) -> None:
    for words in ("sns list-topics", "cloudwatch describe-alarms", "ec2 describe-volumes"):
        done = _in_shell(home, f"{shlex.quote(AWS)} {words}")
        assert done.returncode != 0
        assert "(UnsupportedOperation)" in done.stderr or "(InvalidAction)" in done.stderr, words


def test_the_page_s_program_works(home: Path) -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "howto" / "aws-tools.md"
    block = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
    (program,) = block.findall(page.read_text(encoding="utf-8"))
    launched = ei(home, "launch", "-o", "id").stdout.strip()
    done = _in_shell(home, f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [launched, "running"]
    ei(home, "terminate", launched)


def test_every_service_of_the_pool_is_pointed_at_it_and_models_of_others_stay(home: Path) -> None:
    found = json.loads(ei(home, "env", "-o", "json", env={"AWS_DATA_PATH": "/mine"}).stdout)
    services = ("EC2", "IAM", "STS", "AUTO_SCALING", "CLOUDWATCH", "SNS", "ELASTIC_INFERENCE")
    endpoint = found["AWS_ENDPOINT_URL_ELASTIC_INFERENCE_RUNTIME"]
    assert {found[f"AWS_ENDPOINT_URL_{each}"] for each in services} == {endpoint}
    mine, own = found["AWS_DATA_PATH"].split(os.pathsep)
    assert mine == "/mine"
    again = {"AWS_DATA_PATH": found["AWS_DATA_PATH"]}
    assert json.loads(ei(home, "env", "-o", "json", env=again).stdout)["AWS_DATA_PATH"] == (
        f"/mine{os.pathsep}{own}"
    )


def test_the_model_is_installed_for_every_shell_and_removed_again(home: Path) -> None:
    user = home / "user"
    theirs = user / ".aws" / "models" / "other" / "file"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    env = {"HOME": str(user), "AWS_REGION": "us-east-1"}
    help_of = [AWS, "elastic-inference", "describe-accelerators", "--generate-cli-skeleton"]

    def known() -> bool:
        done = subprocess.run(
            help_of, env=_clean(os.environ) | env, capture_output=True, timeout=PATIENCE,
            check=False,
        )  # fmt: skip
        return done.returncode == 0

    assert not known()
    assert ei(home, "aws-model", env=env).returncode == 0
    assert known()
    assert "Removed" in ei(home, "aws-model", "--remove", env=env).stdout
    assert not known()
    assert "There is none" in ei(home, "aws-model", "--remove", env=env).stdout
    assert [each.name for each in (user / ".aws" / "models").iterdir()] == ["other"]
    elsewhere = ei(home, "aws-model", "--folder", str(user / "models"), env=env)
    assert "AWS_DATA_PATH" in elsewhere.stdout
    assert list((user / "models").rglob("service-2.json"))


def test_without_an_address_no_request_goes_to_aws(home: Path) -> None:
    assert ei(home, "aws-model", env={"HOME": str(home)}).returncode == 0
    done = subprocess.run(
        [AWS, "elastic-inference", "describe-accelerator-types"],
        env=_clean(os.environ) | {
            "HOME": str(home), "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret",
        },
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "ei env" in done.stderr
