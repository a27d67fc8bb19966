"""A stream of made-up customers with real-sounding feedback: what `vocstream demo` emits and benchmarks run on.

The same seed gives the same stream. The comments are drawn from our own corpus (`models/corpus`), in Portuguese,
Spanish and English, some of them with typos, repeated letters or emoji added. A customer orders, gets the order,
is sent a survey and may answer it; the better the comment, the better the score, but not always: people tick the
wrong box. Of every hundred events two come twice and one is corrected later.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import models
from schemas.envelope import INTERACTION_TYPE, RESPONSE_TYPE

CORPUS = Path(models.__file__).parent / "corpus"
EVERYDAY = "everyday"  # texts that are no customer's: to train on only

# Mean share of the way up the scale for a comment of this sentiment, and its spread.
_FEELING = {
    "very_negative": (0.10, 0.12),
    "negative": (0.35, 0.15),
    "mixed": (0.60, 0.18),
    "neutral": (0.70, 0.18),
    "positive": (0.87, 0.12),
    "very_positive": (0.97, 0.06),
}
# How much more common a comment of this sentiment is among customers than in the corpus.
_COMMON = {"very_negative": 0.6, "negative": 0.7, "mixed": 1.0, "neutral": 1.0, "positive": 2.0, "very_positive": 2.5}
_TENANTS = ("aurora-shop", "rio-telecom", "meridian-bank")
_CHANNELS = ("email", "app", "web", "whatsapp", "sms")
_TOUCHPOINTS = {
    "delivery": "delivery",
    "returns": "delivery",
    "product": "product",
    "food": "product",
    "place": "store",
    "price": "checkout",
    "billing": "checkout",
    "booking": "checkout",
    "digital": "app",
    "account": "app",
    "connection": "app",
}
_STAGES = {"checkout": "buy", "delivery": "receive", "product": "use", "app": "use", "store": "buy", "support": "use"}
_SURVEYS = {
    "nps": ("relationship", 0, 10),
    "csat": ("after-contact", 1, 5),
    "ces": ("after-task", 1, 7),
    "stars": ("product-review", 1, 5),
}
_EMOJI = {
    "very_negative": "😡🤬👎",
    "negative": "😕😞👎",
    "positive": "🙂👍😊",
    "very_positive": "😍❤️🎉",
    "mixed": "🤔😐",
}


@cache
def corpus() -> tuple[dict[str, Any], ...]:
    """Our corpus: one dictionary a comment, with `text`, `language`, `sentiment` and `topics`. No everyday texts."""
    files = sorted(CORPUS.glob("*.jsonl"))
    rows = (json.loads(line) for file in files for line in file.read_text("utf-8").splitlines() if line)
    return tuple(row for row in rows if row["trade"] != EVERYDAY)


@cache
def _weights() -> tuple[float, ...]:
    """Running sum of the comments' weights: the corpus is made to train on, and has more bad news than customers do."""
    return tuple(accumulate(_COMMON[comment["sentiment"]] for comment in corpus()))


def events(
    count: int, seed: int, *, source: str = "demo", now: datetime | None = None, days: float = 14.0
) -> Iterator[dict[str, Any]]:
    """About `count` CloudEvents (interactions and responses, as dictionaries), spread over `days` until `now`.

    They come in the order in which customers acted, but for duplicates and corrections, which come later. `source` is
    the envelopes' source: the same seed under another source is other events of the same customers.
    """
    rng = random.Random(seed)
    end = now or datetime.now(UTC)
    made = 0
    late: list[dict[str, Any]] = []
    customer = 0
    while made < count:
        customer += 1
        started = end - timedelta(days=days) * (1 - made / count)
        for event in _journey(rng, source, f"c-{seed}-{customer}", started, end):
            yield event
            made += 1
            if rng.random() < 0.02:
                late.append(event)
            if event["type"] == RESPONSE_TYPE and rng.random() < 0.01:
                late.append(_correction(rng, event))
            if late and rng.random() < 0.05:
                yield late.pop(rng.randrange(len(late)))
                made += 1
    yield from late


def _journey(
    rng: random.Random, source: str, customer: str, started: datetime, end: datetime
) -> Iterator[dict[str, Any]]:
    """What one customer does and says, in order."""
    comment = rng.choices(corpus(), cum_weights=_weights())[0]
    topics = [t["topic"].split(".")[0] for t in comment["topics"]]
    touchpoint = _TOUCHPOINTS.get(topics[0], "support") if topics else rng.choice(list(_STAGES))
    tenant, channel = rng.choices(_TENANTS, (5, 3, 2))[0], rng.choice(_CHANNELS)
    metric = rng.choices(list(_SURVEYS), (5, 3, 2, 2))[0]
    survey, low, high = _SURVEYS[metric]
    common = {
        "tenant": tenant,
        "customer_id": customer,
        "channel": channel,
        "segments": {"plan": rng.choices(("basic", "plus", "premium"), (6, 3, 1))[0], "country": comment["country"]},
    }
    at = started

    def act(action: str, where: str, **more: Any) -> dict[str, Any]:
        data = common | {"action": action, "touchpoint": where, "journey_stage": _STAGES[where], **more}
        return _envelope(rng, source, INTERACTION_TYPE, at, data | {"interaction_id": _id(rng, "i")})

    yield act("order_placed", "checkout", value=round(rng.lognormvariate(4, 0.7), 2), currency="BRL")
    at = min(end, at + timedelta(hours=rng.uniform(1, 8)))
    if rng.random() < 0.5:
        yield act("order_delivered", "delivery")
    yield act("survey_sent", touchpoint, properties={"survey": survey})
    if rng.random() < 0.25:
        return  # most surveys stay unanswered in life; here most are answered, for there to be something to see
    at = min(end, at + timedelta(minutes=rng.uniform(1, 90)))
    mean, spread = _FEELING[comment["sentiment"]]
    score = round(low + (high - low) * min(1.0, max(0.0, rng.gauss(mean, spread))))
    data = common | {
        "response_id": _id(rng, "r"),
        "metric": metric,
        "survey": survey,
        "score": score,
        "touchpoint": touchpoint,
        "journey_stage": _STAGES[touchpoint],
    }
    if rng.random() < 0.4:
        data |= {"comment": _as_typed(rng, comment), "language": comment["language"]}
    yield _envelope(rng, source, RESPONSE_TYPE, at, data)


def _as_typed(rng: random.Random, comment: dict[str, Any]) -> str:
    """The comment as fingers type it: now and then letters swapped, drawn out, or an emoji at the end."""
    text: str = comment["text"]
    if len(text) > 12 and rng.random() < 0.15:
        i = rng.randrange(1, len(text) - 2)
        text = text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    if rng.random() < 0.05:
        text = text.rstrip(".!") + "!" * rng.randint(2, 5)
    emoji = _EMOJI.get(comment["sentiment"])
    if emoji and rng.random() < 0.15:
        text += " " + rng.choice(emoji.replace("\ufe0f", ""))
    return text


def _correction(rng: random.Random, event: dict[str, Any]) -> dict[str, Any]:
    """The same response an hour later, one step better: a customer whose problem was solved."""
    data = event["data"]
    _, _, high = _SURVEYS[data["metric"]]
    at = datetime.fromisoformat(event["time"]) + timedelta(hours=1)
    return _envelope(
        rng,
        event["source"],
        RESPONSE_TYPE,
        at,
        data | {"score": min(high, data["score"] + 1), "occurred_at": event["time"]},
    )


def _envelope(rng: random.Random, source: str, kind: str, at: datetime, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": _id(rng, "e"),
        "source": source,
        "type": kind,
        "time": at.isoformat(timespec="milliseconds"),
        "data": data,
    }


def _id(rng: random.Random, prefix: str) -> str:
    return f"{prefix}-{rng.getrandbits(64):016x}"
