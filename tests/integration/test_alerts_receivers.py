"""Receivers as they are: Debian's Alertmanager, a mail server, and HTTP endpoints that fail."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from pipeline.alerts.config import EmailReceiver
from pipeline.alerts.delivery import Refused
from pipeline.alerts.delivery.alertmanager import Alertmanager
from pipeline.alerts.delivery.email import Email
from pipeline.alerts.delivery.webhook import Webhook
from pipeline.alerts.example import example, resolved
from tests.integration.stack import free_port

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@asynccontextmanager
async def endpoint(
    answer: int = 200, on_notice: Callable[[], object] = lambda: None, port: int | None = None
) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """An HTTP endpoint that keeps what it gets, does `on_notice`, and answers with `answer`."""
    got: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.json())
        on_notice()
        return web.Response(status=answer)

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    port = port or free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/", got
    finally:
        await runner.cleanup()


@pytest.fixture
def alertmanager_port(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A real Alertmanager that passes on to a webhook: its port, and the webhook's."""
    if BINARY is None:
        pytest.skip("no Alertmanager here: apt-get install prometheus-alertmanager")
    port, hook = free_port(), free_port()
    config = tmp_path / "alertmanager.yml"
    config.write_text(
        "route: {receiver: hook, group_by: [alert_id], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n"
        f"receivers: [{{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{hook}/', send_resolved: true}}]}}]\n"
    )
    process = subprocess.Popen(
        [
            BINARY, f"--config.file={config}", f"--storage.path={tmp_path}", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield port, hook
    finally:
        process.terminate()
        process.wait(10)


async def test_a_real_alertmanager_fires_and_resolves(alertmanager_port: tuple[int, int]) -> None:
    port, hook = alertmanager_port
    async with endpoint(port=hook) as (_, got):
        receiver = Alertmanager("ops", f"http://127.0.0.1:{port}")
        alert = example(datetime.now(UTC) - timedelta(minutes=1))
        await _until(lambda: _taken(receiver, alert))
        await receiver.send(alert)  # again: the same alert
        await _until(lambda: _is(bool(got)))
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/api/v2/alerts") as response,
        ):
            (held,) = await response.json()
        assert held["labels"]["alert_id"] == alert.alert_id
        assert held["annotations"]["summary"] == alert.summary
        await receiver.send(resolved(alert, datetime.now(UTC)))
        await _until(lambda: _is(len(got) > 1))
        assert [one["status"] for one in got] == ["firing", "resolved"]


async def _is(value: bool) -> bool:
    return value


async def _taken(receiver: Alertmanager, alert: Any) -> bool:
    try:
        await receiver.send(alert)
    except (OSError, aiohttp.ClientError):
        return False
    return True


async def _until(holds: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.1)


async def test_a_webhook_gets_the_whole_alert() -> None:
    async with endpoint() as (url, got):
        await Webhook("cx", url).send(example(datetime.now(UTC)))
    assert got[0]["version"] == "4"
    assert got[0]["vocstream"]["series"]["value"] == "delivery.delay"


@pytest.mark.parametrize(("status", "error"), [(404, Refused), (429, OSError), (503, OSError)])
async def test_what_an_answer_means(status: int, error: type[Exception]) -> None:
    async with endpoint(status) as (url, _):
        with pytest.raises(error, match=str(status)):
            await Webhook("cx", url).send(example(datetime.now(UTC)))


async def test_mail_reaches_a_mail_server() -> None:
    smtp = pytest.importorskip("aiosmtpd.smtp", reason="pip install aiosmtpd")
    got: list[Any] = []

    class Keep:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            got.append(envelope)
            return "250 OK"

    port = free_port()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: smtp.SMTP(Keep(), loop=loop), "127.0.0.1", port)
    try:
        config = EmailReceiver(
            name="mail", type="email", host="127.0.0.1", port=port, sender="alerts@example.com",
            to=("cx@example.com",), starttls=False,
        )  # fmt: skip
        await Email(config).send(example(datetime.now(UTC), comments=("<b>late</b>",)))
    finally:
        server.close()
        await server.wait_closed()
    (envelope,) = got
    assert envelope.rcpt_tos == ["cx@example.com"]
    assert b"<b>late</b>" in envelope.content
    assert b"Content-Type: text/plain" in envelope.content
