"""Jobs side by side, a process each, so that members of an average learn at once where there are processors for it.

Processes are forked: what was read before is shared and not copied. Only Linux forks safely after torch has run, and
only when torch has one thread; elsewhere the jobs run one after the other, with the same results.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

from models.errors import ModelError
from models.training.learn import Tell

T = TypeVar("T")


def side_by_side(jobs: Sequence[Callable[[Tell], T]], tell: Tell) -> list[T]:
    """What each job returns, in their order; what they tell is told as it comes. Raises ModelError when one fails."""
    if len(jobs) < 2 or sys.platform != "linux" or torch.get_num_threads() > 1 or (os.cpu_count() or 1) < 2:
        return [job(tell) for job in jobs]
    context = multiprocessing.get_context("fork")
    found: dict[int, tuple[bool, Any]] = {}

    def listen(at: int, end: Connection) -> None:
        try:
            while at not in found:
                kind, value = end.recv()
                if kind == "told":
                    tell(value)
                else:
                    found[at] = (kind == "done", value)
        except EOFError:
            found[at] = (False, "its process was killed: is there enough memory?")

    working = []
    for job in jobs:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(job, theirs), daemon=True)
        process.start()
        theirs.close()  # so that the end of the process ends what is read from it
        working.append((ours, process))
    # Threads only now: a process that is forked while others run may inherit a lock that nobody will free.
    listeners = [threading.Thread(target=listen, args=(at, ours)) for at, (ours, _) in enumerate(working)]
    for listener in listeners:
        listener.start()
    for listener, (_, process) in zip(listeners, working, strict=True):
        listener.join()
        process.join()
    failed = [str(value) for right, value in found.values() if not right]
    if failed:
        raise ModelError(f"a part of the training failed: {failed[0]}")
    return [pickle.loads(found[at][1]) for at in range(len(jobs))]


def _work(job: Callable[[Tell], object], end: Connection) -> None:
    try:
        result = job(lambda line: end.send(("told", line)))
        end.send(("done", pickle.dumps(result)))  # by value: torch would share memory with a process that ends
    except Exception:
        end.send(("failed", traceback.format_exc()))
