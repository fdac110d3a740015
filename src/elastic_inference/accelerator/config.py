"""What an accelerator process is told at its start."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elastic_inference.errors import ConfigurationError
from elastic_inference.protocol.tokens import KEY_BYTES
from elastic_inference.settings import Limits

_LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceleratorConfig:
    """One accelerator: who it is, what it may use, where it lives.

    Attributes:
        accelerator_id: `eia-<32 hex>`.
        accelerator_type: a name of the catalogue.
        account: whose uploads and caches it reaches.
        memory_bytes: the slice's memory.
        threads: the slice's share of the CPU, for the engine.
        device: `cpu` or `cuda:<ordinal>`.
        directory: private to the process; its sockets and journal lie here.
        store_directory: the account's uploads and prepared models.
        token_key: 32 bytes as hex; see `protocol.tokens`.
        server_name: the TLS server name by which it is reached.
        certificate, private_key: PEM files for that name.
        lifeline_fd: the process ends when this file descriptor reaches its end.
        control_grace: seconds to run on without a control connection; None for ever.
        listen: `127.0.0.1:PORT` for plain TCP, for benchmarks only.
        revoked: ids of rights to connect whose tokens are refused.
        clients: uids, besides root's and this process's, that may use its data socket.
        limits: see settings.
    """

    accelerator_id: str
    accelerator_type: str
    account: str
    memory_bytes: int
    threads: int = 1
    device: str = "cpu"
    directory: Path
    store_directory: Path
    token_key: str
    server_name: str = ""
    certificate: Path | None = None
    private_key: Path | None = None
    lifeline_fd: int | None = None
    control_grace: float | None = None
    listen: str | None = None
    revoked: tuple[str, ...] = ()
    clients: tuple[int, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        try:
            key = bytes.fromhex(self.token_key)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise ConfigurationError(f"token_key must be {KEY_BYTES} bytes as hex.")
        if self.listen is not None and self.listen.rpartition(":")[0] not in _LOOPBACK:
            raise ConfigurationError(
                f"Refusing to listen on {self.listen} without TLS.",
                next_step="Plain TCP is for benchmarks on loopback; use the pool's endpoint.",
            )
        if self.threads < 1 or self.memory_bytes < 1:
            raise ConfigurationError("threads and memory_bytes must be 1 or more.")

    @property
    def data_socket(self) -> Path:
        return self.directory / "data.sock"

    @property
    def handover_socket(self) -> Path:
        return self.directory / "handover.sock"

    @property
    def journal(self) -> Path:
        return self.directory / "journal.sqlite"

    def to_file(self, path: Path, owner: int | None = None) -> None:
        """Write as JSON, readable by `owner` alone, else this user (it holds the token key).

        Whoever reads it meanwhile sees it as it was before or as it is afterwards.
        """
        document = dataclasses.asdict(self)
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if owner is not None:
                os.fchown(descriptor, owner, owner)
            json.dump(document, file, default=str, indent=1)
        new.replace(path)

    @classmethod
    def from_file(cls, path: Path) -> AcceleratorConfig:
        """The configuration in `path`.

        Raises:
            ConfigurationError: the file cannot be read or is not valid.
        """
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            for name in ("directory", "store_directory", "certificate", "private_key"):
                if document.get(name) is not None:
                    document[name] = Path(document[name])
            document["revoked"] = tuple(map(str, document.get("revoked", ())))
            document["clients"] = tuple(map(int, document.get("clients", ())))
            document["limits"] = Limits(**document.get("limits", {}))
            return cls(**document)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"Cannot read {path}: {error}.") from error
