"""The `ei` command: what it understands. What it does loads only when it is done."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from elastic_inference.cli.output import give_up
from elastic_inference.cli.parser import build_parser
from elastic_inference.errors import ElasticInferenceError

# As a shell tells that SIGPIPE ended a command.
_PIPE_CLOSED = 141
# Commands that run another one, which follows `--`, and how they are used.
_RUNNERS = {
    "run": "ei run --accelerator TYPE -- COMMAND...",
    "exec": "ei exec INSTANCE -- COMMAND...",
}
# What the scripts of `ei completion` ask.
_COMPLETE = "__complete"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status: 0, 2 for bad usage, 1 for a failure."""
    try:
        options = parse(list(sys.argv[1:] if argv is None else argv))
        status: int = import_module(f"elastic_inference.cli.{options.module}").main(options)
        sys.stdout.flush()
    except ElasticInferenceError as error:
        print(f"ei: {error}", file=sys.stderr)
        return 2 if error.kind == "invalid-request" else 1
    except ModuleNotFoundError as error:
        if str(error.name).startswith("elastic_inference"):
            raise
        print(
            f"ei: a pool on this machine needs {error.name}, which is not installed."
            " Install elastic-inference[node].",
            file=sys.stderr,
        )
        return 1
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        give_up(sys.stdout)
        return _PIPE_CLOSED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        why = error.strerror or error
        print(f"ei: {where}{why}. Check EI_HOME, --state and the disk.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def parse(words: list[str]) -> argparse.Namespace:
    """The command that the words behind `ei` mean; ends the process where they mean none."""
    if words[:1] == [_COMPLETE]:
        return argparse.Namespace(module="complete", words=words[1:])
    own, marker, rest = _split(words)
    parser = build_parser()
    runner = own[0] if own[:1] and own[0] in _RUNNERS else None
    if runner and not rest and not {"-h", "--help"} & set(own):
        parser.error(f"ei {runner} needs -- and a command: {_RUNNERS[runner]}")
    options, unknown = parser.parse_known_args(own)
    if unknown:
        # With the usage of the command that was meant, not of `ei`.
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if runner:
        options.run = rest
    elif marker:
        parser.error(f"ei {options.path} takes no command after --")
    return options


def _split(words: list[str]) -> tuple[list[str], bool, list[str]]:
    if "--" not in words:
        return words, False, []
    at = words.index("--")
    return words[:at], True, words[at + 1 :]
