"""`/healthz` of a worker, for supervisors and orchestrators: 200 and a JSON report while it works."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


@asynccontextmanager
async def serve_health(port: int, report: Callable[[], dict[str, Any]]) -> AsyncIterator[None]:
    """Serve `report()` on 127.0.0.1:`port` inside the `with`; nothing where `port` is 0."""
    if not port:
        yield
        return

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response(report())

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        await runner.cleanup()
