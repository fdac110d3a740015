"""A TLS address in front of one accelerator process: it hands each connection over."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import socket
import threading
from pathlib import Path

SERVER_NAME = "accelerator.test"


def make_certificate(directory: Path, name: str = SERVER_NAME) -> tuple[Path, Path]:
    """A self-signed certificate for `name` and its key: PEM files in `directory`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = directory / "certificate.pem", directory / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    key_path.chmod(0o600)
    return certificate_path, key_path


class Endpoint:
    """Listens on 127.0.0.1 and passes what it accepts to an accelerator, unread.

    Attributes:
        port: where it listens.
    """

    def __init__(self, handover: Path) -> None:
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.connect(str(handover))
        self._control.recv(65536)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self._listener.accept()
                message = {"kind": "connection", "peer": f"{peer[0]}:{peer[1]}"}
                with connection:
                    socket.send_fds(
                        self._control, [json.dumps(message).encode()], [connection.fileno()]
                    )

    def tell(self, message: dict[str, str]) -> None:
        """Send the accelerator a message that comes before any later connection."""
        self._control.send(json.dumps(message).encode())

    def close(self) -> None:
        # close() alone would leave the thread in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10.0)
        self._control.close()
