"""`alerts replay`: the past looked at again, without a trace in the store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.alerts.config import AlertConfig
from pipeline.alerts.replay import plot, replay
from tests.integration.alerts_rig import HOUR, NOW, alert_store, late_parcels, ordinary, put


def test_a_spike_of_the_past_is_shown_and_nothing_is_written(tmp_path: Path) -> None:
    with alert_store(tmp_path / "store") as (_, client):
        put(client, ordinary(NOW - 10 * 86400, NOW + 2 * HOUR))
        put(client, late_parcels(NOW, NOW + 900))
        found = replay(client, AlertConfig(), NOW - HOUR, NOW + 1.5 * HOUR, 300)
        assert [(one.series.value, one.resolved_at is not None) for one in found] == [("delivery.delay", True)]
        assert client.query("SELECT count() FROM feedback.alerts").result_rows == [(0,)]
        assert client.query("SELECT count() FROM feedback.sentinel_rows").result_rows == [(0,)]
        pytest.importorskip("matplotlib", reason="pip install matplotlib")
        picture = tmp_path / "replay.png"
        plot(client, found, datetime.fromtimestamp(NOW - HOUR, UTC), datetime.fromtimestamp(NOW + HOUR, UTC), picture)
        assert picture.stat().st_size > 5_000
