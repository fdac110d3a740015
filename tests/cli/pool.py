"""A pool that the tests of one file share, and what they ask it at the command line."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.pools import ei, up


class Shell:
    """A user whose pool lies in `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def ok(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """What a command prints that must not fail."""
        done = ei(self.home, *words, env=env)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def document(self, *words: str, env: Mapping[str, str] | None = None) -> Any:
        """What a command prints as JSON."""
        return json.loads(self.ok(*words, "-o", "json", env=env))

    def fails(self, *words: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Exit status and the one line of a command that must fail."""
        done = ei(self.home, *words, env=env)
        assert done.returncode in {1, 2}, (words, done.stdout, done.stderr)
        assert done.stdout == ""
        lines = done.stderr.splitlines()
        # argparse tells the usage too, before its one line.
        if lines[0].startswith("usage: "):
            assert done.returncode == 2
        else:
            assert len(lines) == 1, lines
        return done.returncode, lines[-1]

    def launch(self, *words: str) -> str:
        """The id of a new instance."""
        return self.ok("launch", *words, "-o", "id").strip()


@contextlib.contextmanager
def shared(**env: str) -> Iterator[Shell]:
    """A pool of a home of its own; its instances end with the block."""
    with tempfile.TemporaryDirectory(prefix="ei-", dir="/tmp") as name:
        home = Path(name) / "home"
        with up(home, env=env):
            shell = Shell(home)
            try:
                yield shell
            finally:
                left = shell.document("describe", "instances")["instances"]
                ids = [each["instanceId"] for each in left if each["state"] != "terminated"]
                if ids:
                    shell.ok("terminate", *ids)
