"""An instance's directory: its home, its log, and what it was told at first."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elastic_inference.compute import trust


class Home:
    """The files of one instance.

    The pool's user owns all but the home itself, so that no link of an instance can lead the
    pool anywhere.

    Args:
        uid: of the instance; None: the pool's.

    Attributes:
        root: the whole of it.
        directory: the home.
        bundle: the certificate authorities that it trusts.
        user_data_log: what its user data said.
    """

    def __init__(self, root: Path, uid: int | None) -> None:
        self._uid = uid
        self.root = root
        self.directory = root / "home"
        self.bundle = root / "ca-bundle.pem"
        self.user_data_log = root / "log" / "user-data.log"
        self._place = root / "place.json"
        self._script = root / "boot" / "user-data"

    def make(self, place: Mapping[str, Any], authority: Path) -> None:
        """Make what is missing; the place first, by which the rest is found again."""
        self.root.mkdir(mode=0o700, exist_ok=True)
        self.keep(place)
        for path in (self._script.parent, self.user_data_log.parent, self.directory):
            path.mkdir(mode=0o755, exist_ok=True)
        self._write(self.bundle, trust.bundle(authority), 0o644)
        self.directory.chmod(0o700)
        if self._uid is not None:
            os.chown(self.directory, self._uid, self._uid)
            os.chown(self.root, -1, self._uid)
            self.root.chmod(0o750)

    def keep(self, place: Mapping[str, Any]) -> None:
        """Note the instance's place."""
        self._write(self._place, json.dumps(dict(place)), 0o600)

    def kept(self) -> dict[str, Any] | None:
        """The place noted last; None if there is none that can be read."""
        try:
            document = json.loads(self._place.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return document if isinstance(document, dict) and "secret" in document else None

    def keep_user_data(self, text: str) -> Path | None:
        """The script that it now is; None where there is one already."""
        try:
            descriptor = os.open(self._script, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755)
        except FileExistsError:
            return None
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
        self._script.chmod(0o755)
        return self._script

    def remove(self) -> None:
        """Remove it all."""
        shutil.rmtree(self.root)

    def _write(self, path: Path, text: str, mode: int) -> None:
        draft = path.with_name(path.name + ".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.chmod(mode)
        draft.replace(path)
