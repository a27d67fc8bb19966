"""Settings of the stream: from VOC_ names, and a name that no room knows stops the start."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from infra.clickhouse.settings import ClickHouseSettings
from pipeline.settings import StreamSettings, UnknownSetting, refuse_unknown

ROOMS = (StreamSettings, ClickHouseSettings)


@pytest.mark.parametrize("name", ["VOC_KAFKA_BROKER", "VOC_FLUSHROWS", "voc_unknown", "VOC_"])
def test_an_unknown_name_is_refused_and_the_known_ones_are_told(name: str) -> None:
    with pytest.raises(UnknownSetting, match="VOC_KAFKA_BROKERS") as raised:
        refuse_unknown({"PATH": "/bin", name: "1"}, ROOMS)
    assert name in str(raised.value)


def test_known_names_and_those_of_others_pass() -> None:
    environ = {
        "VOC_KAFKA_BROKERS": "a:1",
        "voc_flush_rows": "5",
        "VOC_CLICKHOUSE_URL": "http://x",
        "VOCAL": "1",
        "HOME": "/",
    }
    refuse_unknown(environ, ROOMS)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOC_KAFKA_BROKERS", "kafka-1:9092,kafka-2:9092")
    monkeypatch.setenv("VOC_FLUSH_ROWS", "500")
    settings = StreamSettings()
    assert (settings.kafka_brokers, settings.flush_rows) == ("kafka-1:9092,kafka-2:9092", 500)


@pytest.mark.parametrize(("name", "value"), [("FLUSH_ROWS", "0"), ("FLUSH_SECONDS", "soon"), ("HEALTH_PORT", "70000")])
def test_a_value_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"VOC_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        StreamSettings()


@pytest.mark.parametrize("room", ROOMS)
def test_every_setting_has_a_sentence(room: type[StreamSettings] | type[ClickHouseSettings]) -> None:
    assert all(field.description for field in room.model_fields.values())
