"""Topic `feedback.alerts`: each notice as a CloudEvent, keyed by the alert."""

from __future__ import annotations

from pipeline.producer import Message, Producer
from schemas.alerts import ALERT_TYPE, Alert, AlertEvent
from schemas.topics import ALERTS


class Topic:
    """The topic, over one producer."""

    name = "topic"
    tenants: tuple[str, ...] = ()
    folds = True

    def __init__(self, brokers: str) -> None:
        self._producer = Producer(brokers, retry_for=20.0)

    async def send(self, alert: Alert) -> None:
        """Write it; returns when the broker has it. The event's id makes a second writing the same event."""
        event = AlertEvent(
            id=f"{alert.alert_id}.{alert.revision}",
            source="vocstream/sentinel",
            type=ALERT_TYPE,
            time=alert.updated_at,
            data=alert,
        )
        value = event.model_dump_json(exclude_none=True).encode()
        await self._producer.publish([Message(ALERTS, alert.alert_id.encode(), value)])

    def close(self) -> None:
        """Close the connection."""
        self._producer.close()
