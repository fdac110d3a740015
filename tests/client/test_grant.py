"""What the endpoint's Connect says of where an accelerator is."""

from __future__ import annotations

from pathlib import Path

from elastic_inference.client.discovery import Credentials
from elastic_inference.client.grant import EndpointLocator
from elastic_inference.control.pool import Pool
from elastic_inference.settings import ClientSettings, Limits, PoolSettings


def test_the_socket_of_an_accelerator_that_starts_again_is_still_its_address(
    short_path: Path,
) -> None:
    settings = PoolSettings(home=short_path)
    pool = Pool(short_path / "state", settings=settings, limits=Limits(), outlive=False)
    try:
        _, [accelerator], key = pool.plane.run_instance(["eia1.medium"])
        assert key is not None
        locator = EndpointLocator(
            accelerator.id,
            lambda: Credentials(key.id, key.secret, key.session_token or ""),
            ClientSettings(endpoint=pool.pointer.endpoint, ca_bundle=pool.pointer.ca),
        )
        path = Path(locator.grant().address.socket_path)
        assert path.is_socket()
        path.unlink()
        assert locator.grant().address.socket_path == str(path)
        path.write_bytes(b"")
        assert locator.grant().address.socket_path == "", "what is no socket is none"
        path.unlink()
        moved = path.parent.rename(short_path / "elsewhere")
        assert locator.grant().address.socket_path == "", "another host or container has no folder"
        moved.rename(path.parent)
    finally:
        pool.close()
