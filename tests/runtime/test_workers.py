import math
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from processes import wait_until

from reid_aug.runtime.errors import UserError
from reid_aug.runtime.workers import ahead, spread


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


def test_work_is_done_ahead_and_no_further():
    begun = []
    with ThreadPoolExecutor(1) as pool:
        results = ahead(pool, lambda n: begun.append(n) or -n, range(6), 2)
        assert begun == []
        for number in range(6):
            assert next(results) == -number
            assert wait_until(lambda n=number: begun == list(range(min(n + 3, 6))), 10)


def test_an_error_ahead_comes_when_its_result_is_asked_for():
    with ThreadPoolExecutor(1) as pool:
        results = ahead(pool, math.factorial, [3, -1, 4], 2)
        assert next(results) == 6
        with pytest.raises(ValueError, match="negative"):
            next(results)


def killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_one_sentence():
    with pytest.raises(UserError, match="one of 2 processes was killed"):
        list(spread(killed, range(4), 2))
