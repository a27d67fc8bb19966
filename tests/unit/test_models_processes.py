"""Training jobs side by side: results in their order, what they tell on the way, failures told as failures."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest
import torch

from models.errors import ModelError
from models.training.learn import Tell
from models.training.processes import side_by_side


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Jobs are forked only where torch has one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _job(value: float) -> Callable[[Tell], tuple[int, torch.Tensor]]:
    def work(tell: Tell) -> tuple[int, torch.Tensor]:
        tell(f"at {value:g}")
        return os.getpid(), torch.full((3,), value)

    return work


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_results_come_in_order_from_processes_of_their_own() -> None:
    told: list[str] = []
    found = side_by_side([_job(1.0), _job(2.0)], told.append)
    assert [tensor.tolist() for _, tensor in found] == [[1.0] * 3, [2.0] * 3]
    assert sorted(told) == ["at 1", "at 2"]
    if (os.cpu_count() or 1) > 1:
        assert len({os.getpid(), *(pid for pid, _ in found)}) == 3


def test_a_single_job_stays_here() -> None:
    ((pid, _),) = side_by_side([_job(1.0)], print)
    assert pid == os.getpid()


def _raise(tell: Tell) -> None:
    raise ValueError("nothing to learn from")


def _die(tell: Tell) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor runs the jobs here, one after the other")
@pytest.mark.parametrize(("job", "why"), [(_raise, "nothing to learn from"), (_die, "its process was killed")])
def test_a_job_that_fails_or_is_killed_is_an_error_that_says_so(job: Callable[[Tell], None], why: str) -> None:
    with pytest.raises(ModelError, match=why):
        side_by_side([job, lambda tell: None], print)
