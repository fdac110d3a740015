"""`amazonei_tensorflow_model_server`: TensorFlow Serving's model server on an accelerator."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from elastic_inference._version import __version__
from elastic_inference.errors import (
    ConfigurationError,
    ElasticInferenceError,
    InternalError,
    NotFoundError,
    UnavailableError,
)
from elastic_inference.serving.flags import parse, usage
from elastic_inference.serving.options import Options

if TYPE_CHECKING:
    from elastic_inference.client import Accelerator
    from elastic_inference.serving.server import ModelServer

COMMAND = "amazonei_tensorflow_model_server"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Requests that are there when the server is to end may take so long.
_GRACE = 30.0  # seconds
_log = logging.getLogger(__name__)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status: 0, 2 for bad usage, 1 for a failure."""
    command = Path(sys.argv[0]).name if words is None else COMMAND
    try:
        parsed = parse(sys.argv[1:] if words is None else words)
    except ConfigurationError as error:
        _say(command, error)
        return 2
    if parsed.wants_help:
        sys.stdout.write(usage(command))
        return 0
    if parsed.options.version:
        sys.stdout.write(_versions())
        return 0
    _log_to_stderr()
    for note in parsed.notes:
        _log.warning("%s", note)
    try:
        return _serve(command, parsed.options)
    except ElasticInferenceError as error:
        _say(command, f"Failed to start server. Error: {error}")
        return 1
    except ModuleNotFoundError as error:
        if str(error.name).startswith("elastic_inference"):
            raise
        _say(command, f"{error.name} is not installed. pip install 'elastic-inference[serving]'")
        return 1


def _say(command: str, what: object) -> None:
    sys.stderr.write(f"{command}: {what}\n")


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - rarely used

    try:
        library = version("tensorflow-cpu")
    except PackageNotFoundError:
        library = "not installed"
    return (
        f"TensorFlow ModelServer: elastic-inference {__version__}\nTensorFlow Library: {library}\n"
    )


def _serve(command: str, options: Options) -> int:
    # Loads what `--help` needs not.
    from elastic_inference.serving.server import ModelServer  # noqa: PLC0415

    with _Signals() as signals, _attached(command) as accelerator:
        server = ModelServer(options, accelerator)
        starter = _Starter(server, signals)
        starter.start()
        number = signals.wait()
        if number == 0 and starter.error is None:
            number = signals.wait()
        signals.end_with_the_next()
        if number:
            _log.info("%s: no more requests are taken.", signal.Signals(number).name)
        has_ended = server.stop(_GRACE)
        # It may still be about to say that it started, or that it did not.
        starter.join(_GRACE)
        if starter.error is not None and not number:
            raise starter.error
        if not has_ended:
            _log.error("Not all requests and loads ended within %g seconds.", _GRACE)
            logging.shutdown()
            # A thread that hangs would keep the process for ever.
            os._exit(1)
    return 0


def _attached(command: str) -> Accelerator:
    from elastic_inference.client import connect  # noqa: PLC0415 - not for `--help`

    try:
        return connect()
    except (ConfigurationError, NotFoundError, UnavailableError) as error:
        raise ConfigurationError(
            f"No accelerator is attached to this process: {error.message}",
            next_step=f"Run it under `ei run --accelerator TYPE -- {command} ...`.",
        ) from error


class _Starter(threading.Thread):
    """Starts the server, so that signals are heard meanwhile."""

    def __init__(self, server: ModelServer, signals: _Signals) -> None:
        super().__init__(name="start", daemon=True)
        self.error: ElasticInferenceError | None = None
        self._server = server
        self._signals = signals

    def run(self) -> None:
        try:
            self._server.start()
        except ElasticInferenceError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - told and logged; the process must end
            _log.exception("The start failed")
            self.error = InternalError(f"The start failed: {error!r}.")
        finally:
            self._signals.wake()


class _Signals:
    """Signals, and what else the process waits for, in the order in which they come."""

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._handlers = {each: signal.signal(each, lambda *_: None) for each in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before)
        os.close(self._read)
        os.close(self._write)

    def wait(self) -> int:
        """The number of the next signal, or 0 for a wake-up."""
        while True:
            (number,) = os.read(self._read, 1)
            if number == 0 or number in _SIGNALS:
                return number

    def wake(self) -> None:
        os.write(self._write, b"\0")

    def end_with_the_next(self) -> None:
        """From now on a signal ends the process at once."""
        for each in _SIGNALS:
            signal.signal(each, _leave)


def _leave(number: int, _frame: Any) -> None:
    os._exit(128 + number)


class _Format(logging.Formatter):
    """Lines as TensorFlow Serving's."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone()
        text = f"{time:%Y-%m-%d %H:%M:%S.%f}: {record.levelname[0]} {record.module}] "
        text += record.getMessage()
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        return text


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Format())
    logger = logging.getLogger("elastic_inference")
    logger.addHandler(handler)
    logging.getLogger("elastic_inference.serving").setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
