"""The certificate authorities that an instance's programs trust: the system's and the pool's."""

from __future__ import annotations

import ssl
from pathlib import Path

from elastic_inference.errors import ConfigurationError

_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def bundle(pool: Path, own: str | None = None) -> str:
    """PEM text of what is trusted anyway, and of the pool's authority.

    Args:
        own: the file that the caller trusts in place of the system's, as in AWS_CA_BUNDLE.

    Raises:
        ConfigurationError: `own` cannot be read.
    """
    candidates = (own,) if own else (ssl.get_default_verify_paths().cafile, *_SYSTEM_BUNDLES)
    trusted = ""
    for path in candidates:
        if path and Path(path).is_file():
            trusted = Path(path).read_text(encoding="utf-8", errors="replace")
            break
    if own and not trusted:
        raise ConfigurationError(f"AWS_CA_BUNDLE={own!r} is no file that can be read.")
    return f"{trusted}\n{pool.read_text(encoding='ascii')}"
