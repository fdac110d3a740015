"""The REST front end: connections, and threads that answer their requests.

One thread reads and writes all connections, so that slow clients hold no thread; requests that
have arrived whole are answered by a bounded number of others.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

from elastic_inference.errors import ConfigurationError
from elastic_inference.serving.config import MonitoringConfig, read_monitoring
from elastic_inference.serving.metrics import Metrics
from elastic_inference.serving.options import Options
from elastic_inference.serving.rest import RestApi
from elastic_inference.serving.rest_body import MAX_BODY
from elastic_inference.serving.rest_connection import Connection, Site
from elastic_inference.serving.service import Service

_BACKLOG = 1024


class RestServer:
    """The REST server of a model server.

    Raises:
        ConfigurationError: an option is wrong.
    """

    def __init__(self, service: Service, metrics: Metrics, options: Options) -> None:
        path = options.monitoring_config_file
        timeout = options.rest_api_timeout_in_ms
        self._api = RestApi(
            service,
            metrics,
            read_monitoring(path) if path else MonitoringConfig(),
            timeout=timeout / 1000 if timeout > 0 else None,
            has_cors=options.rest_api_enable_cors_support,
            largest=MAX_BODY,
        )
        self._threads = max(options.rest_api_num_threads, 1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._listener: asyncio.Server | None = None
        self._site: Site | None = None

    def start(self, address: str) -> int:
        """Listen, and answer from now on.

        Args:
            address: as `0.0.0.0:8501`; port 0 is any free one.

        Returns:
            the port.

        Raises:
            ConfigurationError: it cannot be listened on.
        """
        listener = _listen(address)
        port: int = listener.getsockname()[1]
        pool = ThreadPoolExecutor(self._threads, "rest")
        self._loop = asyncio.new_event_loop()
        self._site = Site(self._loop, pool, self._api.answer)
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest", daemon=True)
        self._thread.start()
        self._listener = asyncio.run_coroutine_threadsafe(
            self._serve(listener, self._site), self._loop
        ).result()
        return port

    async def _serve(self, listener: socket.socket, site: Site) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Connection(site), sock=listener, backlog=_BACKLOG)

    def stop(self, grace: float | None = None) -> None:
        """Refuse new requests, and end those that still run after `grace` seconds.

        Returns when the last one ended.
        """
        loop, site, thread, listener = self._loop, self._site, self._thread, self._listener
        if loop is None or site is None or thread is None or listener is None:
            return
        self._loop = None

        async def end() -> None:
            listener.close()
            site.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(site.drained.wait(), grace)
            site.abort()

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        site.pool.shutdown(wait=True, cancel_futures=True)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigurationError(
            f"REST cannot listen on {address}: {error}.",
            next_step="Name an address of this machine that no other process listens on.",
        ) from error
