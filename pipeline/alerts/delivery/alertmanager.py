"""Prometheus Alertmanager, API v2 (`POST /api/v2/alerts`), and the labels and annotations that the webhook shares.

Labels are the alert's identity there, so they hold only what never changes; the sentence and the rest are
annotations. Alertmanager forgets an alert that is not sent again before `endsAt`: ours ends when it is resolved, so
`endsAt` is set far beyond the day after which every automatic alert ends by itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pipeline.alerts.delivery.post import post
from schemas.alerts import Alert, Status

_FAR = timedelta(days=7)


def labels(alert: Alert) -> dict[str, str]:
    """What identifies the alert."""
    series = alert.series
    found = {
        "alertname": f"Feedback{alert.kind.value.capitalize()}",
        "alert_id": alert.alert_id,
        "tenant": series.tenant,
        "dimension": series.dimension,
        "value": series.value,
        "measure": series.measure.value,
        "rule": alert.rule,
        "severity": "warning",
    }
    return {name: value for name, value in found.items() if value}


def remarks(alert: Alert) -> dict[str, str]:
    """What is said of it."""
    found = {
        "summary": alert.summary,
        "description": "\n".join([change(alert), drivers(alert), *(f"“{text}”" for text in alert.comments)]).strip(),
        "sql": alert.sql,
        "dashboard": alert.dashboard_url,
    }
    return {name: value for name, value in found.items() if value}


def change(alert: Alert) -> str:
    """How much and how sure, the same in every language: `+12 … +36 pp (95 %), p = 1e-06`; empty where not tested."""
    if alert.change_low is None or alert.change_high is None or alert.p_value is None:
        return ""
    return f"{alert.change_low:+.0f} … {alert.change_high:+.0f} pp (95 %), p = {alert.p_value:.1g}"


def drivers(alert: Alert) -> str:
    """The drivers in one line: `touchpoint delivery 92 %, channel app 60 %`."""
    return ", ".join(f"{one.dimension} {one.value} {one.contribution:.0f} %" for one in alert.drivers[:5])


def payload(alert: Alert) -> list[dict[str, Any]]:
    """The body of `POST /api/v2/alerts`."""
    ends = alert.resolved_at if alert.status is Status.RESOLVED and alert.resolved_at else alert.fired_at + _FAR
    body: dict[str, Any] = {
        "labels": labels(alert),
        "annotations": remarks(alert),
        "startsAt": alert.fired_at.isoformat(),
        "endsAt": ends.isoformat(),
    }
    if alert.dashboard_url:
        body["generatorURL"] = alert.dashboard_url
    return [body]


class Alertmanager:
    """One Alertmanager."""

    folds = True

    def __init__(self, name: str, url: str, tenants: tuple[str, ...] = ()) -> None:
        self.name, self.tenants = name, tenants
        self._url = url.rstrip("/") + "/api/v2/alerts"

    async def send(self, alert: Alert) -> None:
        """Send it; the same labels again are the same alert."""
        await post(self._url, payload(alert))
