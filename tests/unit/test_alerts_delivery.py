"""What receivers are sent, and the courier: made-up alerts, receivers made by hand, no network."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.alerts.delivery import Refused, alertmanager, pagerduty, slack, webhook
from pipeline.alerts.delivery.courier import Courier, Outcome, overdue
from pipeline.alerts.delivery.email import message
from pipeline.alerts.example import example, resolved
from pipeline.alerts.watch import Event
from schemas.alerts import Alert, Status

AT = datetime(2026, 1, 21, 10, 0, tzinfo=UTC)
NASTY = "<!channel> <script>alert(1)</script> *bold* <https://evil.example|click> & :tada:\r\nBcc: all@example.com"


def test_alertmanager_labels_do_not_change_between_firing_and_resolved() -> None:
    alert = example(AT)
    (firing,) = alertmanager.payload(alert)
    (over,) = alertmanager.payload(resolved(alert, AT + timedelta(hours=1)))
    assert firing["labels"] == over["labels"]
    assert datetime.fromisoformat(firing["endsAt"]) > AT + timedelta(days=1)
    assert datetime.fromisoformat(over["endsAt"]) == AT + timedelta(hours=1)


def test_webhook_has_the_shape_of_version_four() -> None:
    body = webhook.payload(example(AT), "cx")
    assert body["version"] == "4"
    assert set(body) >= {
        "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels", "commonAnnotations",
        "externalURL", "alerts",
    }  # fmt: skip
    assert body["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"
    assert webhook.payload(resolved(example(AT), AT), "cx")["status"] == "resolved"


def test_pagerduty_resolves_under_the_same_key() -> None:
    alert = example(AT)
    trigger, resolve = pagerduty.payload(alert, "key"), pagerduty.payload(resolved(alert, AT), "key")
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert len(trigger["payload"]["summary"]) <= 1024


def test_markup_in_a_comment_is_plain_text_in_slack() -> None:
    body = slack.payload(example(AT, comments=(NASTY,)))
    texts = [block["text"] for block in body["blocks"] if "text" in block]
    (nasty,) = [text for text in texts if "script" in text["text"]]
    assert nasty["type"] == "plain_text"
    assert nasty["emoji"] is False
    assert all(text["type"] == "plain_text" for text in texts)
    assert "<" not in slack.payload(example(AT).model_copy(update={"summary": NASTY}))["text"]


def test_markup_in_a_comment_is_plain_text_in_mail() -> None:
    alert = example(AT, comments=(NASTY,)).model_copy(update={"summary": f"acme: {NASTY}"})
    mail = message(alert, "alerts@example.com", ("cx@example.com",))
    assert mail.get_content_type() == "text/plain"
    assert mail["Bcc"] is None
    assert "\n" not in mail["Subject"]
    assert "\nBcc:" not in mail.get_content()


def test_a_resolved_mail_belongs_to_the_thread_of_its_firing() -> None:
    alert = example(AT)
    first, last = (message(one, "a@example.com", ("b@example.com",)) for one in (alert, resolved(alert, AT)))
    assert last["In-Reply-To"] == first["Message-ID"]
    assert last["Message-ID"] != first["Message-ID"]


class Recorder:
    """A receiver that fails a number of times first."""

    folds = True

    def __init__(self, name: str, failures: int = 0, error: Exception | None = None, hang: bool = False) -> None:
        self.name, self.tenants = name, ()
        self.failures, self.error, self.hang = failures, error or OSError("down"), hang
        self.got: list[Alert] = []

    async def send(self, alert: Alert) -> None:
        if self.hang:
            await asyncio.sleep(3600)
        if self.failures:
            self.failures -= 1
            raise self.error
        self.got.append(alert)


async def deliver(*receivers: Recorder, attempts: int = 4) -> list[Outcome]:
    """Send a firing and a resolved to all."""
    noted: list[Outcome] = []
    courier = Courier(receivers, noted.append, attempts=attempts, first_pause=0.01, longest_pause=0.02)
    courier.start()
    alert = example(AT)
    courier.send(Event(alert, "firing"))
    courier.send(Event(resolved(alert, AT), "resolved"))
    await courier.stop(patience=0.5)
    return noted


async def test_a_notice_is_tried_again_and_kept_in_order() -> None:
    shaky = Recorder("shaky", failures=2)
    noted = await deliver(shaky)
    assert [alert.status for alert in shaky.got] == [Status.FIRING, Status.RESOLVED]
    assert [(one.status, one.attempts) for one in noted] == [("sent", 3), ("sent", 1)]


async def test_a_notice_that_nobody_takes_is_a_dead_letter() -> None:
    noted = await deliver(Recorder("down", failures=99))
    assert [(one.status, one.attempts) for one in noted] == [("dead", 4), ("dead", 4)]
    assert "down" in noted[0].error


async def test_what_is_refused_for_good_is_not_tried_again() -> None:
    noted = await deliver(Recorder("wrong", failures=1, error=Refused("HTTP 404")))
    assert [(one.status, one.attempts) for one in noted] == [("dead", 1), ("sent", 1)]


class Chat(Recorder):
    """A receiver whose readers see a notice twice when it is sent twice."""

    folds = False


async def test_a_notice_that_was_perhaps_sent_before_says_so() -> None:
    alert = example(AT)
    noted: list[Outcome] = []
    chat, pager = Chat("chat"), Recorder("pager")
    courier = Courier((chat, pager), noted.append)
    courier.start()
    courier.send(Event(alert, "firing"), begun={(alert.alert_id, "firing", name) for name in ("chat", "pager")})
    courier.send(Event(resolved(alert, AT), "resolved"))
    await courier.stop(patience=0.5)
    assert [("Sent again" in one.summary, one.status) for one in chat.got] == [
        (True, Status.FIRING), (False, Status.RESOLVED)
    ]  # fmt: skip
    assert not any("Sent again" in one.summary for one in pager.got)
    # Begun is noted before it is sent, where a second one could not be told from the first.
    assert [one.status for one in noted if one.receiver == "chat"] == ["begun", "sent", "begun", "sent"]
    assert [one.status for one in noted if one.receiver == "pager"] == ["sent", "sent"]


async def test_nothing_is_sent_while_another_sentinel_is_active() -> None:
    mine = Recorder("mine")
    noted: list[Outcome] = []
    courier = Courier((mine,), noted.append, may=lambda: False)
    courier.start()
    courier.send(Event(example(AT), "firing"))
    await courier.stop(patience=0.5)
    assert (mine.got, noted) == ([], [])


async def test_a_receiver_that_hangs_delays_nobody_else() -> None:
    good = Recorder("good")
    noted = await deliver(Recorder("hangs", hang=True), good)
    assert len(good.got) == 2
    assert {one.receiver for one in noted} == {"good"}


@pytest.mark.parametrize(("hours", "expected"), [(1, ["firing", "resolved"]), (30, [])])
def test_after_a_restart_recent_notices_are_due(hours: int, expected: list[str]) -> None:
    over = resolved(example(AT), AT)
    assert [event.name for event in overdue([over], AT + timedelta(hours=hours))] == expected


def test_a_firing_after_a_snooze_is_due_and_has_a_name_of_its_own() -> None:
    until = AT + timedelta(minutes=30)
    burning = example(AT).model_copy(update={"snoozed_until": until})
    names = ["firing", f"firing@{until.isoformat()}"]
    assert [event.name for event in overdue([burning], AT + timedelta(hours=1))] == names
    over = resolved(burning, AT + timedelta(minutes=20))  # before the snooze was over: it never spoke again
    assert [event.name for event in overdue([over], AT + timedelta(hours=1))] == ["firing", "resolved"]


def test_every_receiver_is_told_how_much_and_how_sure() -> None:
    alert = example(AT)
    told = (
        alertmanager.payload(alert)[0]["annotations"]["description"],
        str(slack.payload(alert)),
        message(alert, "a@example.com", ("b@example.com",)).get_content(),
    )
    assert all("+12 … +36 pp (95 %), p = 1e-06" in text for text in told)


def test_an_open_alert_is_due_however_old() -> None:
    assert [event.name for event in overdue([example(AT)], AT + timedelta(days=9))] == ["firing"]
