"""Which accelerators this process may use, and with what credentials.

Both come from the instance metadata service, as on EC2: IMDSv2 where it answers, else v1.
"""

from __future__ import annotations

import http.client
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from elastic_inference.errors import ConfigurationError, NotFoundError, UnavailableError
from elastic_inference.settings import ClientSettings

_ASSOCIATIONS = "/latest/meta-data/elastic-inference/associations"
_CREDENTIALS = "/latest/meta-data/iam/security-credentials"
# Off an instance nobody answers, and an application's start must not hang on it.
_TIMEOUT = 1.0
_MAX_ANSWER = 1 << 16
_ID = re.compile(r"eia-[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True)
class Attached:
    """An accelerator attached to this instance."""

    accelerator_id: str
    accelerator_type: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key of the instance; the session token is "" where there is none."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


class Metadata:
    """The instance metadata service."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigurationError(
                f"AWS_EC2_METADATA_SERVICE_ENDPOINT={endpoint!r} is not an http:// address."
            )
        self._host, self._port = parts.hostname, parts.port or 80
        self._prefix = parts.path.rstrip("/")
        self._token: str | None = None

    def get(self, path: str) -> str | None:
        """The text at `path`; None where there is none.

        Raises:
            UnavailableError: no metadata service answers.
        """
        if self._token is None:
            status, text = self._ask(
                "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
            )
            self._token = text.strip() if status == 200 else ""
        headers = {"X-aws-ec2-metadata-token": self._token} if self._token else {}
        status, text = self._ask("GET", path, headers)
        return text if status == 200 else None

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        try:
            connection.request(method, self._prefix + path, headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.read(_MAX_ANSWER).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(
                f"No instance metadata service answers at {self._host}:{self._port}: {error}.",
                next_step="Run the application under `ei run`, or on an instance of a pool.",
            ) from error
        finally:
            connection.close()


def attached(settings: ClientSettings) -> tuple[Attached, ...]:
    """The accelerators of this instance that EI_VISIBLE_DEVICES lets through, in its order.

    Raises:
        UnavailableError: no metadata service answers.
        ConfigurationError: EI_VISIBLE_DEVICES names one that is not attached.
    """
    if settings.visible_devices is not None and not settings.visible_devices.strip():
        return ()
    metadata = Metadata(settings.metadata_endpoint)
    listing = metadata.get(_ASSOCIATIONS) or ""
    found = [
        _association(metadata, name)
        for name in (line.strip().rstrip("/") for line in listing.splitlines())
        if _ID.fullmatch(name)
    ]
    return visible(found, settings.visible_devices)


def _association(metadata: Metadata, accelerator_id: str) -> Attached:
    text = metadata.get(f"{_ASSOCIATIONS}/{accelerator_id}") or "{}"
    try:
        fields = json.loads(text)["version_2018_04_12"]
        return Attached(accelerator_id, str(fields["elastic-inference-accelerator-type"]))
    except (ValueError, KeyError, TypeError):
        return Attached(accelerator_id, "")


def visible(found: Sequence[Attached], devices: str | None) -> tuple[Attached, ...]:
    """Those of `found` that `devices` (ordinals or ids, by commas) names; all if None.

    Raises:
        ConfigurationError: it names one that is not there.
    """
    if devices is None:
        return tuple(found)
    by_name = {str(index): each for index, each in enumerate(found)}
    by_name.update({each.accelerator_id: each for each in found})
    chosen: list[Attached] = []
    for name in (part.strip() for part in devices.split(",")):
        if not name:
            continue
        if name not in by_name:
            raise ConfigurationError(
                f"EI_VISIBLE_DEVICES={devices!r}: {name!r} is not attached.",
                next_step=f"Attached: {', '.join(each.accelerator_id for each in found) or 'none'}"
                " (ordinals count from 0).",
            )
        if by_name[name] not in chosen:
            chosen.append(by_name[name])
    return tuple(chosen)


def choose(devices: Sequence[Attached], wanted: str | int | None) -> Attached:
    """The one of `devices` with id or ordinal `wanted`; the first if None.

    Raises:
        NotFoundError: there is none, or not that one.
    """
    if wanted is None or isinstance(wanted, int):
        index = wanted or 0
        if 0 <= index < len(devices):
            return devices[index]
    else:
        for each in devices:
            if each.accelerator_id == wanted:
                return each
    what = "No accelerator" if wanted is None else f"No accelerator {str(wanted)[:80]!r}"
    raise NotFoundError(
        f"{what} is visible to this process ({len(devices)} are).",
        next_step="Start it with `ei run --accelerator eia1.medium -- COMMAND`; "
        "see also EI_VISIBLE_DEVICES.",
    )


def credentials(settings: ClientSettings) -> Credentials:
    """The instance's credentials, or those of the environment where it has none.

    Raises:
        ConfigurationError: there are none.
    """
    metadata = Metadata(settings.metadata_endpoint)
    roles = (metadata.get(_CREDENTIALS) or metadata.get(_CREDENTIALS + "/") or "").split()
    if roles:
        text = metadata.get(f"{_CREDENTIALS}/{roles[0]}") or "{}"
        try:
            fields = json.loads(text)
            return Credentials(
                str(fields["AccessKeyId"]),
                str(fields["SecretAccessKey"]),
                str(fields.get("Token") or ""),
            )
        except (ValueError, KeyError, TypeError):
            pass
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:
        return Credentials(key, secret, os.environ.get("AWS_SESSION_TOKEN", ""))
    raise ConfigurationError(
        "There are no credentials to connect to an accelerator with.",
        next_step="Run the application under `ei run`, which provides them.",
    )
