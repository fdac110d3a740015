"""How commands are declared: `add` makes a command, `group` one that has commands below it.

Nothing that a command needs to do its work is loaded where it is declared. It is done by
`main(options)` in the module of its name.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # What add_subparsers gives has no public name.
    _SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001


class Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of descriptions, and has room for the longest names."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)
        # What argparse takes commands of commands for is two columns too narrow.
        self._action_max_length = 14


class Commands:
    """Where commands are added: those of `ei` itself, or of one of its commands.

    Args:
        path: the words before a command, as in `ei access user`.
        parser: of the command that they are below.

    Attributes:
        parser: the same.
    """

    def __init__(self, made: _SubParsers, parser: argparse.ArgumentParser, path: str = "") -> None:
        self._made = made
        self._path = path
        self.parser = parser

    def add(
        self, name: str, help_: str, description: str = "", examples: str = "", module: str = ""
    ) -> argparse.ArgumentParser:
        """A new command; `options.parser` is its parser, `options.path` its words.

        Args:
            help_: what it does, in some words.
            description: the same in whole sentences; `help_` if empty.
            examples: what follows the list of options.
            module: of `elastic_inference.cli`, which does it; the first word of its path if empty.
        """
        path = f"{self._path} {name}".strip()
        made = self._made.add_parser(
            name,
            prog=f"ei {path}",
            help=help_,
            description=description or f"{help_[0].upper()}{help_[1:]}.",
            epilog=examples,
            formatter_class=Help,
        )
        module = module or path.partition(" ")[0]
        made.set_defaults(parser=made, path=path, module=module.replace("-", "_"))
        return made

    def group(
        self, name: str, help_: str, description: str = "", examples: str = "", *, need: bool = True
    ) -> Commands:
        """A command that has commands below it.

        Args:
            need: one of them must be given.
        """
        parser = self.add(name, help_, description, examples)
        level = len(self._path.split())
        below = parser.add_subparsers(
            dest=f"action{level or ''}", metavar="COMMAND" if need else "[COMMAND]", required=need
        )
        return Commands(below, parser, f"{self._path} {name}".strip())


def add_output(parser: argparse.ArgumentParser, *more: str) -> None:
    """The option by which a command's output is chosen: table, json or `more`."""
    parser.add_argument(
        "-o", "--output", choices=["table", "json", *more], default="table", help="(default: table)"
    )


def add_watch(parser: argparse.ArgumentParser) -> None:
    """The options by which a command shows what changes."""
    parser.add_argument(
        "--watch", action="store_true", help="show it again and again, until Ctrl-C"
    )
    parser.add_argument(
        "--interval", metavar="TIME", default="1s", help="time between two looks (default: 1s)"
    )


def add_tags(parser: argparse.ArgumentParser) -> None:
    """The option for tags of what is made."""
    parser.add_argument(
        "--tag", action="append", default=[], metavar="KEY=VALUE", help="a tag, may be repeated"
    )
