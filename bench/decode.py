"""(a) Decode, validate and map: bytes of an event to the row of a table, events a CPU-second on one core.

Beside it, in turn, the parts that it is made of: pydantic's validation alone, and orjson's parse alone (the limit of
anything that reads JSON in Python).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import orjson
from pydantic import TypeAdapter

from bench.report import markdown, save, spread
from pipeline.decoding import decode_response
from pipeline.files import LineRecord
from pipeline.generator import events
from schemas.envelope import RESPONSE_TYPE, ResponseEvent

ROUNDS, COUNT = 9, 20_000


def responses(count: int) -> list[bytes]:
    """`count` response events of the generator, every one different, with every third a comment."""
    made = (orjson.dumps(e) for e in events(count * 6, seed=1) if e["type"] == RESPONSE_TYPE)
    return [value for value, _ in zip(made, range(count), strict=False)]


def main() -> None:
    """Run and save."""
    values = responses(COUNT)
    now = time.time_ns() // 1_000_000
    records = [LineRecord("t", 0, i, now, b"k", value, ()) for i, value in enumerate(values)]
    validate = TypeAdapter(ResponseEvent).validate_json
    steps: dict[str, Callable[[], object]] = {
        "decode + validate + map (ours)": lambda: [decode_response(record, now) for record in records],
        "pydantic validate_json alone": lambda: [validate(value) for value in values],
        "orjson.loads alone": lambda: [orjson.loads(value) for value in values],
    }
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            began = time.process_time()
            step()
            rates[name].append(len(values) / (time.process_time() - began))
    size = sum(map(len, values)) / len(values)
    limit = median(rates["orjson.loads alone"])
    rows = [(name, spread(found), f"{median(found) / limit:.2f}") for name, found in rates.items()]
    save(
        "decode",
        "Decode, validate and map one event",
        f"{len(values):,} response events of {size:.0f} bytes on average, {ROUNDS} rounds in turn; "
        f"events a CPU-second, median (range).\n\n" + markdown(["step", "events/s a core", "of orjson alone"], rows),
    )


if __name__ == "__main__":
    main()
