"""Any endpoint that takes Alertmanager's webhook, version 4 (prometheus.io/docs/alerting/latest/configuration)."""

from __future__ import annotations

from typing import Any

from pipeline.alerts.delivery.alertmanager import labels, remarks
from pipeline.alerts.delivery.post import post
from schemas.alerts import Alert, Status

_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time, which Alertmanager sends for an alert that has not ended


def payload(alert: Alert, receiver: str) -> dict[str, Any]:
    """The body. `vocstream` holds the whole alert for those who want more than the format has."""
    status = "resolved" if alert.status is Status.RESOLVED else "firing"
    group = {"alertname": labels(alert)["alertname"], "tenant": alert.series.tenant}
    return {
        "version": "4",
        "groupKey": f"vocstream:{alert.alert_id}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": labels(alert),
        "commonAnnotations": remarks(alert),
        "externalURL": alert.dashboard_url,
        "alerts": [
            {
                "status": status,
                "labels": labels(alert),
                "annotations": remarks(alert),
                "startsAt": alert.fired_at.isoformat(),
                "endsAt": alert.resolved_at.isoformat() if alert.resolved_at else _NEVER,
                "generatorURL": alert.dashboard_url,
                "fingerprint": alert.alert_id,
            }
        ],
        "vocstream": alert.model_dump(mode="json"),
    }


class Webhook:
    """One endpoint."""

    folds = True

    def __init__(self, name: str, url: str, tenants: tuple[str, ...] = (), bearer: str = "") -> None:
        self.name, self.tenants = name, tenants
        self._url = url
        self._headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}

    async def send(self, alert: Alert) -> None:
        """Send it. The idempotency key is the alert and what happened to it; after a snooze it fires anew."""
        anew = f":{alert.snoozed_until.isoformat()}" if alert.snoozed_until and alert.status is Status.FIRING else ""
        key = f"{alert.alert_id}:{alert.status.value}{anew}"
        await post(self._url, payload(alert, self.name), {**self._headers, "Idempotency-Key": key})
