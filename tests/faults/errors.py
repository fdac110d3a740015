"""How a request may fail where no error of the tree can tell it."""

from __future__ import annotations


class ClearError(Exception):
    """A failure that says what happened: a cut connection, or a refusal over the wire."""
