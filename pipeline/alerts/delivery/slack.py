"""Slack, by an incoming webhook, as Block Kit.

Comments are put into `plain_text` objects, in which Slack reads no markup at all: no mention of a channel, no link,
no formatting. What stands in `mrkdwn` is escaped as Slack asks (& < >).
"""

from __future__ import annotations

from typing import Any

from pipeline.alerts.delivery.alertmanager import change, drivers
from pipeline.alerts.delivery.post import post
from schemas.alerts import Alert, Status

_LONGEST = 2900  # Slack takes 3,000 characters a text


def plain(text: str) -> dict[str, Any]:
    """A text in which nothing is markup, emoji names included."""
    return {"type": "plain_text", "text": text[:_LONGEST] or " ", "emoji": False}


def payload(alert: Alert) -> dict[str, Any]:
    """The body of the webhook."""
    over = alert.status is Status.RESOLVED
    sign = "✅" if over else "🔴"
    blocks: list[dict[str, Any]] = [{"type": "section", "text": plain(f"{sign} {alert.summary}")}]
    if not over:
        if change(alert):
            blocks.append({"type": "context", "elements": [plain(change(alert))]})
        if alert.drivers:
            blocks.append({"type": "section", "text": plain(f"▸ {drivers(alert)}")})
        blocks += [{"type": "section", "text": plain(f"“{comment}”")} for comment in alert.comments]
        if alert.dashboard_url:
            button = {"type": "button", "text": plain("Dashboard"), "url": alert.dashboard_url}
            blocks.append({"type": "actions", "elements": [button]})
    blocks.append({"type": "context", "elements": [plain(alert.alert_id)]})
    return {"text": escaped(f"{sign} {alert.summary}"), "blocks": blocks, "mrkdwn": False}


def escaped(text: str) -> str:
    """For the fallback text, which Slack reads as mrkdwn in notifications."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Slack:
    """One incoming webhook."""

    folds = False

    def __init__(self, name: str, url: str, tenants: tuple[str, ...] = ()) -> None:
        self.name, self.tenants = name, tenants
        self._url = url

    async def send(self, alert: Alert) -> None:
        """Send it."""
        await post(self._url, payload(alert))
