"""Plans of models: from the cache, or made by a process of its own.

TensorFlow is not loaded here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from elastic_inference.errors import (
    ConfigurationError,
    InternalError,
    NotFoundError,
    from_dict,
)
from elastic_inference.frameworks.tensorflow.cache import (
    Cache,
    default_folder,
    key_of,
    versions,
)
from elastic_inference.frameworks.tensorflow.plan import Plan
from elastic_inference.frameworks.tensorflow.progress import Steps
from elastic_inference.frameworks.tensorflow.request import document_of
from elastic_inference.frameworks.tensorflow.signatures import (
    INIT_OP,
    SAVED_MODEL,
    read_signatures,
)
from elastic_inference.frameworks.tensorflow.source import Source
from elastic_inference.settings import ClientSettings, from_environment

_WORKER = "elastic_inference.frameworks.tensorflow.worker"
_NEEDED = ("tensorflow", "tf2onnx", "onnxruntime", "onnx")
_MOST_SAID = 2000


def prepare(sources: Sequence[Source], *, refresh: bool = False) -> list[Plan]:
    """A plan for each source, in the same order. What no cache has is made now.

    Args:
        refresh: make all of them anew.

    Raises:
        NotFoundError: there is no such model, signature, meta graph or tensor.
        ModelFormatError: TensorFlow cannot load a model; the message has its reason.
        ConfigurationError: a plan must be made, and TensorFlow or tf2onnx is not installed.
        InternalError: the process that makes plans failed.
    """
    cache = Cache(default_folder(), from_environment(ClientSettings).plan_cache)
    made_with = versions()
    keys = [key_of(source, made_with) for source in sources]
    plans = {} if refresh else _found(cache, keys)
    missing = {key: s for key, s in zip(keys, sources, strict=True) if key not in plans}
    if missing:
        _check(missing.values())
        with ExitStack() as stack:
            # In one order everywhere, so that no two processes wait for each other.
            for key in sorted(missing):
                stack.enter_context(cache.lock(key))
            if not refresh:
                plans.update(_found(cache, missing))
            left = {key: each for key, each in missing.items() if key not in plans}
            plans.update(_make(cache, left, made_with))
    return [plans[key] for key in keys]


def _found(cache: Cache, keys: Iterable[str]) -> dict[str, Plan]:
    return {key: plan for key in keys if (plan := cache.find(key)) is not None}


def _check(sources: Iterable[Source]) -> None:
    """Refuse early what needs no TensorFlow to be refused."""
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    if lacking:
        raise ConfigurationError(
            f"A TensorFlow model is converted when it is first used, and {', '.join(lacking)} "
            "is not installed here.",
            next_step="pip install 'elastic-inference[tensorflow]'",
        )
    for source in sources:
        named = not source.signature or (source.inputs and source.outputs)
        if named or not (source.path / SAVED_MODEL).is_file():
            continue
        known = read_signatures(source.path, source.tags)
        known.pop(INIT_OP, None)
        if source.signature not in known:
            raise NotFoundError(
                f"The model in {source.path} has no signature {source.signature!r}.",
                next_step=f"It has: {', '.join(sorted(known)) or 'none'}.",
            )


def _make(
    cache: Cache, missing: Mapping[str, Source], made_with: Mapping[str, str]
) -> dict[str, Plan]:
    if not missing:
        return {}
    keys = list(missing)
    with _folders(cache, len(keys)) as folders:
        request = {
            "made_with": dict(made_with),
            "sources": [
                {
                    "source": document_of(missing[key]),
                    "folder": str(f),
                    "final": str(cache.path(key)),
                }
                for key, f in zip(keys, folders, strict=True)
            ],
        }
        _work(request, list(missing.values()))
        return {key: cache.keep(each, key) for key, each in zip(keys, folders, strict=True)}


@contextlib.contextmanager
def _folders(cache: Cache, count: int) -> Iterator[list[Path]]:
    folders = [cache.new_folder() for _ in range(count)]
    try:
        yield folders
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _work(request: Mapping[str, Any], sources: Sequence[Source]) -> None:
    """Have the worker make what `request` says."""
    environment = {key: value for key, value in os.environ.items() if key != "EI_RUN"}
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # The worker proves on this machine's processors, and leaves its accelerators alone.
    environment["CUDA_VISIBLE_DEVICES"] = "-1"
    with tempfile.TemporaryFile() as said:
        command = [sys.executable, "-m", _WORKER]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env=environment
        ) as worker:
            try:
                with contextlib.suppress(BrokenPipeError), _opened(worker.stdin) as stdin:
                    stdin.write(json.dumps(request).encode())
                done = _follow(_opened(worker.stdout), sources)
            except BaseException:
                worker.kill()
                raise
        if done < len(sources):
            raise InternalError(
                f"The process that converts {sources[done].path} ended too early, "
                f"with status {worker.returncode}{_last_words(said)}.",
                next_step="A status of -9 is most often a lack of memory.",
            )


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101 - a pipe was asked for
    return stream


def _follow(answers: IO[bytes], sources: Sequence[Source]) -> int:
    """How many sources were done; shows how far it is."""
    done = 0
    with Steps(sources) as steps:
        for line in answers:
            answer = json.loads(line)
            if "error" in answer:
                raise from_dict(answer["error"])
            if "done" in answer:
                done += 1
            steps.show(answer["source"], answer.get("step", "done"))
    return done


def _last_words(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read()[-_MOST_SAID:].decode(errors="replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""
