"""`ei aws-model`: elastic-inference for the AWS CLI and boto3 of this user."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from elastic_inference.compute.tools import MODELS

_SERVICE = "elastic-inference"
# Where AWS's tools look for models without being told.
_DEFAULT = "~/.aws/models"


def main(options: argparse.Namespace) -> int:
    folder = Path(options.folder or _DEFAULT).expanduser().absolute()
    if options.remove:
        removed = _remove(folder / _SERVICE)
        print(f"Removed from {folder}." if removed else f"There is none in {folder}.")
        return 0
    shutil.copytree(MODELS / _SERVICE, folder / _SERVICE, dirs_exist_ok=True)
    print(f"Put into {folder / _SERVICE}.")
    if options.folder:
        print(f"AWS's tools find it where AWS_DATA_PATH names {folder}.")
    else:
        print("The AWS CLI and boto3 know elastic-inference now.")
    return 0


def _remove(there: Path) -> bool:
    """Take away what was put there, and nothing else; whether there was anything."""
    own = [each.relative_to(MODELS / _SERVICE) for each in (MODELS / _SERVICE).rglob("*")]
    files = [there / each for each in own if (there / each).is_file()]
    for each in files:
        each.unlink()
    for each in [*(there / each for each in reversed(own)), there]:
        if each.is_dir() and not any(each.iterdir()):
            each.rmdir()
    return bool(files)
