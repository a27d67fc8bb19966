"""Mail by SMTP: plain text and nothing else, so that no comment can be markup; one thread an alert.

A header cannot be broken out of: `EmailMessage` refuses line breaks in one, and the summary has its own taken out.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage

from pipeline.alerts.config import EmailReceiver
from pipeline.alerts.delivery import Refused
from pipeline.alerts.delivery.alertmanager import change, drivers
from schemas.alerts import Alert, Status

_SECONDS = 15.0


def message(alert: Alert, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """The mail. Its id comes from the alert and its state, so that a mail sent twice is one in most mailboxes."""
    over = alert.status is Status.RESOLVED
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, ", ".join(to)
    mail["Subject"] = " ".join(f"[{'RESOLVED' if over else 'FIRING'}] {alert.summary}".split())[:200]
    first = f"<{alert.alert_id}.firing@vocstream>"
    mail["Message-ID"] = f"<{alert.alert_id}.resolved@vocstream>" if over else first
    if over:
        mail["In-Reply-To"] = mail["References"] = first
    parts = [" ".join(alert.summary.split())]
    if not over:
        parts += [
            change(alert),
            drivers(alert),
            *(f"> {' '.join(comment.split())}" for comment in alert.comments),
            alert.dashboard_url,
        ]
        parts.append(alert.sql)
    mail.set_content("\n\n".join(part for part in parts if part) + "\n")
    return mail


class Email:
    """One mail server and its recipients."""

    folds = False

    def __init__(self, config: EmailReceiver) -> None:
        self.name, self.tenants = config.name, config.tenants
        self._config = config

    async def send(self, alert: Alert) -> None:
        """Send it, in a thread: smtplib blocks."""
        await asyncio.to_thread(self._send, message(alert, self._config.sender, self._config.to))

    def _send(self, mail: EmailMessage) -> None:
        config = self._config
        with smtplib.SMTP(config.host, config.port, timeout=_SECONDS) as server:
            try:
                if config.starttls:
                    server.starttls(context=ssl.create_default_context())
                if config.user:
                    server.login(config.user, config.password.get_secret_value())
                server.send_message(mail)
            except smtplib.SMTPAuthenticationError as error:
                raise Refused(f"user or password refused: {error.smtp_code}") from error
            except smtplib.SMTPRecipientsRefused as error:
                raise Refused(f"recipients refused: {', '.join(error.recipients)}") from error
