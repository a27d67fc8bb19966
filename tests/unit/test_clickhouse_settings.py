"""Settings of the store, and what connecting does when nothing answers."""

from __future__ import annotations

import socket

import pytest
from pydantic import ValidationError

from infra.clickhouse.client import ClickHouseAway, wait_for_clickhouse
from infra.clickhouse.settings import ClickHouseSettings


def test_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOC_CLICKHOUSE_URL", "https://ana:s%40crt@store.example:8443")
    monkeypatch.setenv("VOC_CLICKHOUSE_CLUSTER", "prod")
    monkeypatch.setenv("VOC_CLICKHOUSE_SHARDED", "true")
    settings = ClickHouseSettings()
    assert settings.address == "https://store.example:8443"
    assert (settings.cluster, settings.sharded, settings.replicated) == ("prod", True, False)
    assert "crt" not in repr(settings)


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOC_CLICKHOUSE_CLUSTR", "prod")
    with pytest.raises(ValidationError, match="unknown setting VOC_CLICKHOUSE_CLUSTR"):
        ClickHouseSettings()


@pytest.mark.parametrize("url", ["localhost:8123", "tcp://localhost:9000", "http://"])
def test_an_address_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="http://user:password@host:port"):
        ClickHouseSettings(url=url)


def test_shards_need_a_cluster() -> None:
    with pytest.raises(ValidationError, match="VOC_CLICKHOUSE_CLUSTER"):
        ClickHouseSettings(sharded=True)


def test_waiting_gives_up_and_names_the_address_without_the_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = ClickHouseSettings(url=f"http://ana:secret@127.0.0.1:{port}", connect_timeout=1)
    now = [0.0]
    with pytest.raises(ClickHouseAway, match=f"http://127.0.0.1:{port} did not answer within 3 s") as caught:
        wait_for_clickhouse(settings, 3.0, clock=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s))
    assert "secret" not in str(caught.value)
    assert now[0] > 1
