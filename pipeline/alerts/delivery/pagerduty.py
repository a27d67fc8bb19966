"""PagerDuty, Events API v2: `trigger` and `resolve` with the alert's id as `dedup_key`."""

from __future__ import annotations

from typing import Any

from pipeline.alerts.delivery.post import post
from schemas.alerts import Alert, Status

_LONGEST = 1024  # characters of a summary


def payload(alert: Alert, routing_key: str) -> dict[str, Any]:
    """The body of an event."""
    over = alert.status is Status.RESOLVED
    body: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if over else "trigger",
        "dedup_key": alert.alert_id,
    }
    if over:
        return body
    series = alert.series
    body["payload"] = {
        "summary": alert.summary[:_LONGEST],
        "source": f"vocstream/{series.tenant}",
        "severity": "warning",
        "timestamp": alert.fired_at.isoformat(),
        "component": f"{series.dimension} {series.value}".strip(),
        "group": series.tenant,
        "class": alert.kind.value,
        "custom_details": alert.model_dump(mode="json", include={"drivers", "comments", "sql", "share", "usual", "n"}),
    }
    if alert.dashboard_url:
        body["links"] = [{"href": alert.dashboard_url, "text": "Dashboard"}]
    return body


class PagerDuty:
    """One service."""

    folds = True

    def __init__(self, name: str, url: str, routing_key: str, tenants: tuple[str, ...] = ()) -> None:
        self.name, self.tenants = name, tenants
        self._url, self._key = url, routing_key

    async def send(self, alert: Alert) -> None:
        """Send it."""
        await post(self._url, payload(alert, self._key))
