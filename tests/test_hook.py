"""The `.pth` and its hook: nothing without `ei run`, and ONNX Runtime as it is with it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PTH = "elastic_inference_run.pth"
FINDER = "any(getattr(each, 'framework', '') == 'onnxruntime' for each in sys.meta_path)"


def python(script: str, **env: str) -> list[str]:
    """The lines that a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + script],
        env=dict(os.environ) | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines() + done.stderr.splitlines()


def test_it_is_installed_where_the_package_is() -> None:
    assert (Path(sysconfig.get_path("purelib")) / PTH).read_text() == (
        ROOT / "src" / PTH
    ).read_text()


def test_without_ei_run_nothing_is_loaded() -> None:
    script = f"print('elastic_inference' in sys.modules, {FINDER})"
    assert python(script) == ["False False"]
    assert python(script, EI_RUN="0") == ["False False"]


def test_hidden_accelerators_leave_the_import_alone() -> None:
    assert python(f"print({FINDER})", EI_RUN="1", EI_VISIBLE_DEVICES="") == ["False"]


def test_the_hook_itself_is_light() -> None:
    script = (
        f"print({FINDER})\n"
        "heavy = {'numpy', 'ssl', 'onnxruntime', 'cryptography', 'sqlite3', 'subprocess'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert python(script, EI_RUN="1") == ["True", "[]"]


def test_onnxruntime_is_the_real_module_with_our_session() -> None:
    script = (
        "import importlib.resources, onnxruntime\n"
        "print(onnxruntime.InferenceSession.__module__.startswith('elastic_inference'))\n"
        "print(type(onnxruntime.__spec__.loader).__name__, vars(onnxruntime.__loader__).keys()"
        " == {'name', 'path'})\n"
        "print(importlib.resources.files(onnxruntime).joinpath('__init__.py').is_file())\n"
        f"print({FINDER})"
    )
    assert python(script, EI_RUN="1") == ["True", "SourceFileLoader True", "True", "False"]


def test_our_own_module_may_be_the_first_to_import_it() -> None:
    script = (
        "from elastic_inference.frameworks.onnxruntime import InferenceSession\n"
        "import onnxruntime\n"
        "print(onnxruntime.InferenceSession is InferenceSession)"
    )
    assert python(script, EI_RUN="1") == ["True"]


def test_looking_for_the_module_does_not_load_it() -> None:
    script = (
        "import importlib.util\n"
        "print(importlib.util.find_spec('onnxruntime').name, 'onnxruntime' in sys.modules)\n"
        "import onnxruntime\n"
        "print(onnxruntime.InferenceSession.__module__.startswith('elastic_inference'))"
    )
    assert python(script, EI_RUN="1") == ["onnxruntime False", "True"]


def test_a_module_that_fails_fails_as_it_would(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('broken by itself')")
    script = (
        "for _ in range(2):\n"
        "    try:\n"
        "        import onnxruntime\n"
        "    except ImportError as error:\n"
        "        print(error, 'onnxruntime' in sys.modules)"
    )
    assert python(script, EI_RUN="1", PYTHONPATH=str(tmp_path)) == ["broken by itself False"] * 2


def test_a_module_that_is_not_there_is_not_there(tmp_path: Path) -> None:
    script = (
        "sys.path[:] = [each for each in sys.path if 'site-packages' not in each]\n"
        "try:\n"
        "    import onnxruntime\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error.name)"
    )
    assert python(script, EI_RUN="1", HOME=str(tmp_path)) == ["onnxruntime"]


def test_a_module_that_cannot_be_adapted_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("value = 7")
    lines = python("import onnxruntime\nprint(onnxruntime.value)", EI_RUN="1",
                   PYTHONPATH=str(tmp_path))  # fmt: skip
    assert lines[0] == "7"
    assert lines[1].startswith("elastic-inference: onnxruntime runs without an accelerator: ")
    assert len(lines) == 2


def test_an_environment_whose_package_is_broken_starts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "elastic_inference").mkdir()
    (tmp_path / "elastic_inference" / "__init__.py").write_text("raise RuntimeError")
    assert python("print('fine')", EI_RUN="1", PYTHONPATH=str(tmp_path)) == ["fine"]


def test_the_wheel_has_the_pth(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="building a wheel needs hatchling in this environment")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert PTH in names
    assert "elastic_inference/_hook.py" in names
