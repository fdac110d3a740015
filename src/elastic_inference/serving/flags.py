"""Reads the model server's command line, as TensorFlow Serving's flags are read."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields
from typing import Any

from elastic_inference.errors import ConfigurationError
from elastic_inference.serving.options import HELP, IGNORED, REFUSED, Options

_TRUE = frozenset({"true", "t", "1", "yes"})
_FALSE = frozenset({"false", "f", "0", "no"})
# Flags that are not kept: they say what to print.
_HELPS = frozenset({"help", "h"})
_MORE = "See --help."

_FLAGS: Mapping[str, Field[Any]] = {each.name: each for each in fields(Options)}


@dataclass(frozen=True, slots=True)
class Parsed:
    """A command line.

    Attributes:
        wants_help: whether it asks what there is; then nothing was checked.
        notes: what is ignored, and why.
    """

    options: Options
    wants_help: bool = False
    notes: tuple[str, ...] = ()


def parse(words: Sequence[str]) -> Parsed:
    """The options in the words behind the command.

    Raises:
        ConfigurationError: a flag is unknown, has no such value or cannot be honoured.
    """
    values: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, text = word.lstrip("-").partition("=")
        if not word.startswith("-") or word.startswith("---"):
            raise _unknown(word)
        if name in _HELPS:
            return Parsed(Options(), wants_help=True)
        if name not in _FLAGS:
            raise _unknown(word)
        is_boolean = isinstance(_default(name), bool)
        if equals:
            values[name] = _value(name, text)
        elif is_boolean:
            has_value = bool(rest) and rest[0].lower() in {"true", "false"}
            values[name] = _value(name, rest.pop(0)) if has_value else True
        elif rest:
            values[name] = _value(name, rest.pop(0))
        else:
            raise ConfigurationError(f"--{name} needs a value.", next_step=_MORE)
    options = Options(**values)
    if options.version:
        return Parsed(options)
    notes = _judge(values)
    _check(options)
    return Parsed(options, notes=notes)


def _unknown(word: str) -> ConfigurationError:
    return ConfigurationError(f"unknown argument: {word}.", next_step=_MORE)


def _default(name: str) -> Any:
    return getattr(Options(), name)


def _value(name: str, text: str) -> Any:
    default = _default(name)
    if isinstance(default, bool):
        if text.lower() not in _TRUE | _FALSE:
            raise ConfigurationError(f"--{name} is true or false; was {text!r}.")
        return text.lower() in _TRUE
    if isinstance(default, str):
        return text
    kind = int if isinstance(default, int) else float
    try:
        value = kind(text)
    except ValueError:
        what = "an integer" if kind is int else "a number"
        raise ConfigurationError(f"--{name} needs {what}; was {text!r}.") from None
    if kind is int and not -(2**63) <= value < 2**63:
        raise ConfigurationError(f"--{name} is out of range: {text}.")
    return value


def _judge(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Refuse what cannot be honoured; what is ignored, in words."""
    notes = []
    for name, value in values.items():
        flag = _FLAGS[name]
        if value == _default(name):
            continue
        if why := flag.metadata[REFUSED]:
            raise ConfigurationError(f"--{name} cannot be honoured: {why}.")
        if why := flag.metadata[IGNORED]:
            notes.append(f"--{name} is ignored: {why}.")
    return tuple(notes)


def _check(options: Options) -> None:
    """As the original checks them, in its words."""
    for name in ("port", "rest_api_port"):
        if not 0 <= getattr(options, name) < 65536:
            raise ConfigurationError(f"--{name} is no port: {getattr(options, name)}.")
    if options.port and options.port == options.rest_api_port:
        raise ConfigurationError(
            "server_options.http_port cannot be same as grpc_port. "
            "Please use a different port for HTTP/REST API."
        )
    if not options.model_base_path and not options.model_config_file:
        raise ConfigurationError(
            "Both server_options.model_base_path and server_options.model_config_file are empty!",
            next_step="Give --model_name and --model_base_path, or --model_config_file.",
        )
    if options.batching_parameters_file and not options.enable_batching:
        raise ConfigurationError(
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true."
        )
    _check_parallelism(options)
    for name in ("rest_api_num_threads", "rest_api_timeout_in_ms", "grpc_max_threads"):
        if getattr(options, name) < 1:
            raise ConfigurationError(f"--{name} must be at least 1.")
    for entry in filter(None, options.grpc_channel_arguments.split(",")):
        if "=" not in entry:
            raise ConfigurationError(
                f"--grpc_channel_arguments has {entry!r}, which is not KEY=VALUE."
            )


def _check_parallelism(options: Options) -> None:
    within = options.tensorflow_intra_op_parallelism
    across = options.tensorflow_inter_op_parallelism
    if within > 0 and across > 0 and options.tensorflow_session_parallelism > 0:
        raise ConfigurationError(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, "
            "server_options.tensorflow_inter_op_parallelism) separately. "
            "You cannot configure all."
        )


def usage(command: str) -> str:
    """What `--help` prints."""
    lines = [
        f"usage: {command} --model_name=NAME --model_base_path=/PATH [--FLAG=VALUE ...]",
        "",
        "TensorFlow Serving's model server on an accelerator. Run it under",
        f"`ei run --accelerator TYPE -- {command} ...`.",
        "",
        "Flags:",
    ]
    for flag in _FLAGS.values():
        default = _default(flag.name)
        shown = str(default).lower() if isinstance(default, bool) else repr(default)
        text = flag.metadata[HELP]
        if why := flag.metadata[IGNORED]:
            text = f"{text} Ignored: {why}."
        if why := flag.metadata[REFUSED]:
            text = f"{text} Refused: {why}."
        lines.append(f"  --{flag.name}={shown}")
        lines.extend(textwrap.wrap(text, 88, initial_indent=" " * 8, subsequent_indent=" " * 8))
    return "\n".join(lines) + "\n"
