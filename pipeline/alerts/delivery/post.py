"""One HTTP POST of JSON, with a time limit, and what its answer means. Used by the receivers that speak HTTP."""

from __future__ import annotations

from typing import Any

import aiohttp

from pipeline.alerts.delivery import Refused

_SECONDS = 10.0
_TRY_AGAIN = {408, 409, 425, 429}


async def post(url: str, content: Any, headers: dict[str, str] | None = None) -> None:
    """Raises Refused for an answer of 4xx (but 408, 409, 425, 429), an OSError or aiohttp.ClientError otherwise."""
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url, json=content, headers=headers, allow_redirects=False) as response,
    ):
        if response.status < 300:
            return
        text = f"HTTP {response.status}: {(await response.text())[:300]}"
        if 400 <= response.status < 500 and response.status not in _TRY_AGAIN:
            raise Refused(text)
        raise OSError(text)
