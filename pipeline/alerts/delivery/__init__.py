"""How alerts reach people and machines: one small file a kind of receiver, and the courier that tries again.

`make` turns a receiver of the configuration into something with `send`. What is sent is made by pure functions
(`payload`), so that a test can look at it. Comments are strangers' words: each file makes their markup harmless.
"""

from __future__ import annotations

from typing import Protocol

from pipeline.alerts.config import (
    AlertmanagerReceiver,
    EmailReceiver,
    PagerDutyReceiver,
    ReceiverConfig,
    SlackReceiver,
    WebhookReceiver,
)
from schemas.alerts import Alert


class Refused(Exception):
    """The receiver will never take this notice (a wrong key, a wrong address): trying again is no use."""


class Receiver(Protocol):
    """Takes notices. `send` raises Refused, or anything else for what another try may mend."""

    name: str
    tenants: tuple[str, ...]
    folds: bool
    """Whether the same notice twice is one to whoever reads it: the receiver goes by the deduplication key."""

    async def send(self, alert: Alert) -> None:
        """Send the alert as it stands: firing, or resolved."""
        ...


def make(config: ReceiverConfig) -> Receiver:
    """The receiver that a part of the configuration describes."""
    from pipeline.alerts.delivery.alertmanager import Alertmanager
    from pipeline.alerts.delivery.email import Email
    from pipeline.alerts.delivery.pagerduty import PagerDuty
    from pipeline.alerts.delivery.slack import Slack
    from pipeline.alerts.delivery.webhook import Webhook

    match config:
        case AlertmanagerReceiver():
            return Alertmanager(config.name, str(config.url), config.tenants)
        case WebhookReceiver():
            token = config.bearer.get_secret_value() if config.bearer else ""
            return Webhook(config.name, str(config.url), config.tenants, token)
        case SlackReceiver():
            return Slack(config.name, str(config.url), config.tenants)
        case PagerDutyReceiver():
            return PagerDuty(config.name, str(config.url), config.routing_key.get_secret_value(), config.tenants)
        case EmailReceiver():
            return Email(config)
