import math
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from processes import processes, wait_until

from reid_aug.runtime.errors import UserError
from reid_aug.runtime.workers import ahead, spread, usable_cores


def test_usable_cores_are_those_of_the_affinity_mask(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)

    assert usable_cores() == 3


@pytest.mark.parametrize(("count", "expected"), [(8, 8), (None, 1)])
def test_usable_cores_without_an_affinity_mask_are_those_of_the_machine(
    monkeypatch, count, expected
):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)

    assert usable_cores() == expected


def process(_: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_the_order_of_the_items(workers):
    assert list(spread(math.factorial, range(20), workers)) == [
        math.factorial(n) for n in range(20)
    ]


def test_one_worker_starts_no_process():
    assert set(spread(process, range(3), 1)) == {os.getpid()}


def test_two_workers_run_in_other_processes():
    assert os.getpid() not in set(spread(process, range(8), 2))


def has_torch(_: int) -> bool:
    return "torch" in sys.modules


def torch_threads(_: int) -> int:
    import torch

    return torch.get_num_threads()


def test_a_process_imports_torch_only_if_it_is_needed_and_computes_with_one_thread():
    assert set(spread(has_torch, range(2), 2)) == {False}
    assert set(spread(torch_threads, range(2), 2)) == {1}


def test_no_items_give_no_results():
    assert list(spread(process, [], 4)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_error_of_the_function_is_raised(workers):
    with pytest.raises(ValueError, match="negative"):
        list(spread(math.factorial, [1, -1, 2], workers))


def test_at_most_count_items_are_computed_ahead():
    begun = []
    with ThreadPoolExecutor(1) as pool:
        results = ahead(pool, lambda n: begun.append(n) or -n, range(6), 2)
        assert begun == []
        for number in range(6):
            assert next(results) == -number
            assert wait_until(lambda n=number: begun == list(range(min(n + 3, 6))), 10)


def test_error_of_an_item_ahead_is_raised_when_its_result_is_requested():
    with ThreadPoolExecutor(1) as pool:
        results = ahead(pool, math.factorial, [3, -1, 4], 2)
        assert next(results) == 6
        with pytest.raises(ValueError, match="negative"):
            next(results)


def killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_process_is_a_user_error():
    with pytest.raises(UserError, match="one of 2 processes was killed"):
        list(spread(killed, range(4), 2))


def test_a_child_that_still_imports_ends_with_its_parent(tmp_path):
    (tmp_path / "slow_to_import.py").write_text(
        "import pathlib, time\n"
        f"pathlib.Path({str(tmp_path / 'importing')!r}).touch()\n"
        "time.sleep(600)\n"
        "def work(): pass\n"
    )
    code = (
        "import sys, time, types\n"
        "from reid_aug.runtime.workers import start_child\n"
        "module = types.ModuleType('slow_to_import')\n"
        "exec('def work(): pass', module.__dict__)\n"
        "module.work.__module__ = 'slow_to_import'\n"
        "sys.modules['slow_to_import'] = module\n"
        "print(start_child(module.work).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        child = int(parent.stdout.readline())
        assert wait_until((tmp_path / "importing").exists)
        parent.kill()

    assert wait_until(lambda: child not in processes() or processes()[child][0] == "Z", 20)
