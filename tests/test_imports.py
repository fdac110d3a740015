"""Imports point one way, and starting costs nothing that is not used."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "elastic_inference"

_BASE = {"_version", "errors", "instance_types", "catalog", "settings"}
_ALLOWED = {
    "_version": set[str](),
    "errors": {"_version"},
    "instance_types": {"errors"},
    "catalog": {"errors", "instance_types"},
    "settings": {"errors", "catalog"},
    "protocol": _BASE,
    "accelerator": _BASE | {"protocol"},
    "client": _BASE | {"protocol"},
    "isolation": _BASE | {"protocol"},
    "fleet": _BASE | {"protocol", "accelerator", "isolation"},
    "frameworks": _BASE | {"protocol", "client"},
    "serving": _BASE | {"protocol", "client", "frameworks"},
    "compute": _BASE | {"protocol", "isolation"},
    "control": _BASE
    | {"protocol", "accelerator", "client", "fleet", "compute", "isolation", "migrations"},
    "aws": _BASE | {"protocol", "control", "compute", "fleet"},
    "setup": _BASE | {"control", "compute"},
    # Alembic loads these; they describe the control plane's tables.
    "migrations": _BASE | {"control"},
    "agent": _BASE | {"protocol", "compute", "control"},
    "cli": _BASE
    | {"protocol", "accelerator", "client", "fleet", "frameworks", "control", "compute", "agent"}
    | {"isolation", "aws"},
}
_HEAVY = {
    "numpy",
    "sqlalchemy",
    "alembic",
    "botocore",
    "ssl",
    "_ssl",
    "onnx",
    "onnxruntime",
    "cryptography",
    "grpc",
    "tensorflow",
    "sqlite3",
    "_sqlite3",
}


def _part(module: str) -> str | None:
    """The part of the package that a dotted name lies in, or None where it lies outside."""
    names = module.split(".")
    return names[1] if names[0] == "elastic_inference" and len(names) > 1 else None


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            module = node.module or ""
            if module == "elastic_inference":
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part in _ALLOWED:
            yield part, path


def test_every_part_is_covered() -> None:
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py"}
    parts |= {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    # These only forward to a part when they are used.
    forwarding = {"__init__", "__main__", "_hook", "mxnet", "onnxruntime", "tensorflow"}
    assert parts - set(_ALLOWED) <= forwarding


def test_imports_point_one_way() -> None:
    wrong = []
    for part, path in _modules():
        for name in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            target = _part(name)
            known = target in _ALLOWED and target != part
            if known and target not in _ALLOWED[part]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def _modules_after(code: str) -> set[str]:
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    environ = {key: value for key, value in os.environ.items() if not key.startswith("EI_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environ,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import elastic_inference",
        (
            "import contextlib\n"
            "from elastic_inference.cli.main import main\n"
            "sys.argv = ['ei', '--help']\n"
            "with contextlib.suppress(SystemExit):\n"
            "    main()"
        ),
    ],
    ids=["import", "ei --help"],
)
def test_starting_loads_nothing_heavy(code: str) -> None:
    loaded = _modules_after(code)
    assert "elastic_inference" in loaded
    assert loaded & _HEAVY == set()


def test_heavy_modules_would_be_noticed() -> None:
    assert _modules_after("import numpy, ssl") >= {"numpy", "ssl"}
