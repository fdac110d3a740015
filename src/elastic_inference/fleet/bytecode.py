"""Python's compiled form of what accelerators run.

An accelerator with a user of its own cannot write beside Python's sources. Where the compiled form
is missing or old, each start would compile all anew.
"""

from __future__ import annotations

import compileall
import contextlib
import importlib.util
import os
import stat
import subprocess
import sys
from pathlib import Path

import elastic_inference

_FOLDERS = ("", "protocol", "accelerator", "accelerator/engines")
_LIBRARIES = ("numpy", "onnxruntime")
_TIMEOUT = 120.0


def prepare_bytecode() -> None:
    """Have it lie beside the sources, as far as this user can write there.

    Accelerators of this user write it there by themselves, whatever this process was told.
    """
    package = Path(elastic_inference.__file__).parent
    for folder in _FOLDERS:
        compileall.compile_dir(package / folder, maxlevels=0, quiet=2)
        _open_to_all(package / folder / "__pycache__")
    for name in _LIBRARIES:
        if _is_missing(name):
            _import_elsewhere(name)


def _import_elsewhere(name: str) -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            [sys.executable, "-P", "-c", f"import {name}"],
            check=False,
            capture_output=True,
            timeout=_TIMEOUT,
            env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
        )


def _open_to_all(folder: Path) -> None:
    """Python gives what it compiles the mode that the umask of that moment allows."""
    with contextlib.suppress(OSError):
        for path in (folder, *folder.iterdir()):
            mode = path.stat().st_mode
            wanted = mode | stat.S_IROTH | (stat.S_IXOTH if path == folder else 0)
            if mode != wanted:
                path.chmod(stat.S_IMODE(wanted))


def _is_missing(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return False
    return not Path(importlib.util.cache_from_source(spec.origin)).exists()
