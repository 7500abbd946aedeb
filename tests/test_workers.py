import math
import os
import signal

import pytest

from reid_aug.errors import UserError
from reid_aug.workers import spread


def process(_: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    assert list(spread(math.factorial, range(20), workers)) == [
        math.factorial(n) for n in range(20)
    ]


def test_one_worker_starts_no_process():
    assert set(spread(process, range(3), 1)) == {os.getpid()}


def test_two_workers_are_other_processes():
    assert os.getpid() not in set(spread(process, range(8), 2))


def test_nothing_to_do_is_nothing():
    assert list(spread(process, [], 4)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_through(workers):
    with pytest.raises(ValueError, match="negative"):
        list(spread(math.factorial, [1, -1, 2], workers))


def killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_one_sentence():
    with pytest.raises(UserError, match="one of 2 processes was killed"):
        list(spread(killed, range(4), 2))
