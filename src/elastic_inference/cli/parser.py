"""The parser of the whole command line: what `ei` understands."""

from __future__ import annotations

import argparse

from elastic_inference._version import __version__
from elastic_inference.cli import (
    commands_access,
    commands_bill,
    commands_explain,
    commands_hosts,
    commands_instances,
    commands_network,
    commands_run,
    commands_shell,
)
from elastic_inference.cli.commands import Commands, Help

_DESCRIPTION = "Attach a right-sized slice of an accelerator; inference runs there."
_EXAMPLES = """\
examples:
  ei run --accelerator eia1.medium -- python app.py
                                     run an unmodified application on an accelerator
  ei up                              start a pool that many commands share
  ei describe accelerators           see what runs
  ei describe types                  see the sizes and their prices

Where no pool runs, ei run brings its own and takes it away again.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="ei",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    parser.add_argument("--version", action="version", version=f"ei {__version__}")
    made = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands = Commands(made, parser)
    for group in (
        commands_run,
        commands_instances,
        commands_hosts,
        commands_bill,
        commands_access,
        commands_network,
        commands_explain,
        commands_shell,
    ):
        group.add_to(commands)
    return parser
