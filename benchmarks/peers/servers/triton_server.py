"""Writes Triton's model repository and becomes `tritonserver` with its Python backend.

The binary, the backend and its stubs are those that the nvidia-pytriton wheel carries.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytriton
from engine import Models, begin

_CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: 0
input [{{ name: "x" data_type: {datatype} dims: {given} }}]
output [{{ name: "y" data_type: TYPE_FP32 dims: {made} }}]
instance_group [{{ kind: KIND_CPU count: {instances} }}]
"""


def write_repository(directory: Path) -> Path:
    """A model repository with one Python model for each ONNX model."""
    repository = directory / "repository"
    models = Models()
    for name in models:
        shape, dtype, made = models.describe(name)
        version = repository / name / "1"
        version.mkdir(parents=True)
        # The backend finds no module but those beside the model and in site-packages.
        shutil.copy(Path(__file__).with_name("engine.py"), version)
        shutil.copy(Path(__file__).with_name("triton_model.py"), version / "model.py")
        text = _CONFIG.format(
            name=name,
            datatype={"float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}[dtype.__name__],
            given=shape,
            made=made,
            instances=os.environ["EI_PEERS_INSTANCES"],
        )
        (repository / name / "config.pbtxt").write_text(text, encoding="utf-8")
    return repository


def write_backends(directory: Path, server: Path) -> Path:
    """The backends' folder with the stub of this interpreter's version in its place."""
    backends = directory / "backends"
    shutil.copytree(server / "backends", backends)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, backends / "python")
    (backends / "python" / "triton_python_backend_stub").chmod(0o755)
    return backends


def main() -> None:
    """Start it on 127.0.0.1."""
    here = Path.cwd()
    server = Path(pytriton.__file__).parent / "tritonserver"
    libraries = [
        sysconfig.get_config_var("LIBDIR"),
        str(server.parent.parent / "nvidia_pytriton.libs"),
    ]
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(libraries),
        # The stub embeds the interpreter whose `python3` it finds, with its site-packages.
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ.get('PATH', os.defpath)}",
    }
    http, grpc = begin()
    program = server / "bin" / "tritonserver"
    program.chmod(0o755)
    arguments = [
        str(program),
        f"--model-repository={write_repository(here)}",
        f"--backend-directory={write_backends(here, server)}",
        *("--http-address=127.0.0.1", f"--http-port={http}"),
        *("--grpc-address=127.0.0.1", f"--grpc-port={grpc}"),
        *("--allow-metrics=false", "--log-info=false", "--exit-timeout-secs=5"),
        f"--backend-config=python,shm-region-prefix-name=ei_peers_{os.getpid()}_",
    ]
    os.execve(program, arguments, environment)  # noqa: S606 - it takes this process's place


if __name__ == "__main__":
    main()
