"""boto3's real clients against a whole pool in the test's own process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.loaders import Loader

from elastic_inference.aws.front import AwsFront
from elastic_inference.compute.tools import MODELS
from elastic_inference.control.plane import ControlPlane
from elastic_inference.control.pool import Pool
from elastic_inference.control.records import AccessKey
from tests import embedded

StartAws = Callable[..., "Aws"]
# Models are large: all clients of a run read them once.
_LOADER = Loader(extra_search_paths=[str(MODELS), str(Path(boto3.__file__).parent / "data")])


@dataclass(frozen=True)
class Aws:
    """A pool, and what AWS's tools need for it."""

    pool: Pool

    @property
    def plane(self) -> ControlPlane:
        return self.pool.plane

    @property
    def region(self) -> str:
        return self.plane.settings.region

    @property
    def account(self) -> str:
        return self.owner.account

    @property
    def owner(self) -> AccessKey:
        """The key that may do everything."""
        key = self.plane.store.owner_key()
        assert key is not None
        return key

    def session(self, key: AccessKey | None = None, region: str | None = None) -> boto3.Session:
        """A session with the owner's key, or another's."""
        used = key or self.owner
        session = boto3.Session(
            aws_access_key_id=used.id,
            aws_secret_access_key=used.secret,
            aws_session_token=used.session_token,
            region_name=region or self.region,
        )
        session._session.register_component("data_loader", _LOADER)
        return session

    def client(
        self,
        service: str,
        key: AccessKey | None = None,
        region: str | None = None,
        **options: Any,
    ) -> Any:
        """A client of a service, which tries each call once."""
        return self.session(key, region).client(
            service,
            endpoint_url=self.pool.pointer.endpoint,
            verify=self.pool.pointer.ca,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=120, **options),
        )

    def user(self, name: str, *statements: dict[str, Any]) -> AccessKey:
        """The key of a new user who may do what the statements say."""
        import json

        from elastic_inference.control.identities import Identities

        plane = self.plane
        identities = Identities(plane.store, plane.access, plane.clock)
        with plane.store.transaction():
            identities.create_user(self.account, name)
            if statements:
                document = {"Version": "2012-10-17", "Statement": list(statements)}
                identities.put_policy(self.account, f"{name}-may", json.dumps(document))
                identities.attach(self.account, f"{name}-may", "user", name)
            return plane.access.add_user_key(self.account, name)


@pytest.fixture
def start_aws(short_path: Path) -> Iterator[StartAws]:
    """Start pools on one state directory: `start_aws(outlive=…, setting=…)`."""
    with contextlib.ExitStack() as stack:

        def start(*, outlive: bool = True, **settings: Any) -> Aws:
            pool = embedded.start(stack, short_path, settings, outlive=outlive, front=AwsFront)
            return Aws(pool)

        yield start


@pytest.fixture
def aws(start_aws: StartAws) -> Aws:
    """A pool, and clients for it."""
    return start_aws()
