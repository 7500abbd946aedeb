"""Shards: any number of processes generate one bank, and no way to end them damages it."""

import resource
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bank_stress
from benchmarks.bank_stress import Run, StandIn, generate, interrupted
from reid_aug.bank import Bank
from reid_aug.bank import shards as module
from reid_aug.bank.shards import SHARD, Shards
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import Claim, locked

SIZE = (16, 8)
COUNT = 2 * SHARD + 100
PATIENCE = 60.0  # seconds


def options(**other) -> Namespace:
    usual = {"rows": COUNT, "height": 16, "width": 8, "delay": 0.001, "times": 2, "seed": 0}
    return Namespace(**{**usual, **other})


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    return generate(tmp_path_factory.mktemp("whole"), COUNT, SIZE, 0.0).read_bytes()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pattern(row: int) -> np.ndarray:
    method = StandIn(SIZE, 0.0)
    return method.finish(method.compute(method.read([row])), [row])[0]


class Counting(StandIn):
    def __init__(self) -> None:
        super().__init__(SIZE, 0.002)
        self.batches = 0

    def compute(self, material: np.ndarray) -> np.ndarray:
        self.batches += 1
        return super().compute(material)


def until(holds) -> None:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.01)


def test_every_row_is_the_image_of_its_method_and_no_other_file_is_left(tmp_path):
    bank = Bank(generate(tmp_path, COUNT, SIZE, 0.0))

    assert len(bank) == COUNT
    for row in (0, 31, 32, SHARD - 1, SHARD, COUNT - 1):
        np.testing.assert_array_equal(bank.image(row), pattern(row))
    assert names(tmp_path) == ["bank.h5"]


def test_a_smaller_bank_is_extended_to_the_same_bytes(tmp_path, whole):
    for count in (10, SHARD, SHARD + 40, COUNT):
        path = generate(tmp_path, count, SIZE, 0.0)
        assert len(Bank(path)) == count

    assert path.read_bytes() == whole
    assert names(tmp_path) == ["bank.h5"]


def test_rows_of_the_old_bank_are_not_computed_again(tmp_path):
    generate(tmp_path, SHARD + 64, SIZE, 0.0)
    shards, method = Shards(tmp_path / "bank.h5", "stand-in", COUNT), Counting()

    with shards.membership():
        shards.generate(range(COUNT), method, 32)

    assert method.batches == -(-(COUNT - SHARD - 64) // 32)


def test_the_larger_run_removes_what_a_killed_smaller_run_left(tmp_path, whole):
    shards = Shards(tmp_path / "bank.h5", "stand-in", SHARD + 5)
    with shards.membership():
        shards.generate(range(SHARD + 5), StandIn(SIZE, 0.0), 32)  # without assemble()

    assert generate(tmp_path, COUNT, SIZE, 0.0).read_bytes() == whole
    assert names(tmp_path) == ["bank.h5"]


def test_the_next_run_removes_shards_beside_a_finished_bank(tmp_path, whole):
    generate(tmp_path, COUNT, SIZE, 0.0)
    left = tmp_path / "shards/stand-in"
    left.mkdir(parents=True)
    (left / "00000000-00000512.npy").write_bytes(b"")

    generate(tmp_path, COUNT, SIZE, 0.0)

    assert names(tmp_path) == ["bank.h5"]


def test_after_kills_at_random_moments_a_run_resumes_to_the_same_bytes(tmp_path):
    assert interrupted(tmp_path, options(times=3), signal.SIGKILL).total() == 3


@pytest.mark.slow
def test_after_kills_at_fifty_random_moments_a_run_resumes_to_the_same_bytes(tmp_path):
    found = interrupted(tmp_path, options(times=50, rows=4000, delay=0.002), signal.SIGKILL)

    assert found["generating"] > 5
    assert found["generating"] < 45


def test_ctrl_c_prints_one_line_and_the_run_can_be_resumed(tmp_path):
    run = Run(tmp_path, options(delay=0.05))
    until(lambda: any(tmp_path.glob("shards/*/*.lock")))
    run.process.send_signal(signal.SIGINT)

    assert run.end() == 130
    assert run.errors.strip() == (
        "error: stopped; the same command goes on from what was saved, if anything was"
    )
    assert not list(tmp_path.rglob("*.part"))
    assert not (tmp_path / "bank.h5").exists()


@pytest.mark.slow
def test_after_ctrl_c_at_random_moments_a_run_resumes_to_the_same_bytes(tmp_path):
    assert interrupted(tmp_path, options(times=20), signal.SIGINT).total() == 20


@contextmanager
def files_of_at_most(size: int):
    """Simulates a full disk: the system refuses to write files beyond this size."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("room", [0.1, 0.9, 1.5, 2.0], ids=["shard", "shard's end", "bank", "end"])
def test_a_full_disk_gives_one_sentence_and_no_partial_file(tmp_path, whole, room):
    size = int(room * SHARD * 16 * 8 * 3)
    with files_of_at_most(size), pytest.raises(UserError, match="could not be written") as caught:
        generate(tmp_path, COUNT, SIZE, 0.0)

    assert str(tmp_path) in str(caught.value)
    assert not list(tmp_path.rglob("*.part"))
    assert not (tmp_path / "bank.h5").exists()
    assert generate(tmp_path, COUNT, SIZE, 0.0).read_bytes() == whole
    assert names(tmp_path) == ["bank.h5"]


def test_two_processes_share_the_work(tmp_path, whole):
    methods = [Counting(), Counting()]
    barrier = threading.Barrier(2)

    def work(method: Counting) -> None:
        shards = Shards(tmp_path / "bank.h5", "stand-in", COUNT)
        with shards.membership():
            barrier.wait()
            shards.generate(range(COUNT), method, 32)

    threads = [threading.Thread(target=work, args=(method,)) for method in methods]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(method.batches for method in methods) == -(-COUNT // 32)
    assert all(method.batches for method in methods)
    assert generate(tmp_path, COUNT, SIZE, 0.0).read_bytes() == whole


def test_three_commands_at_once_make_one_bank(tmp_path, whole):
    runs = [Run(tmp_path, options(delay=0.01)) for _ in range(3)]

    assert [run.end() for run in runs] == [0, 0, 0], [run.errors for run in runs]
    assert (tmp_path / "bank.h5").read_bytes() == whole
    assert names(tmp_path) == ["bank.h5"]


def test_another_process_generates_the_shard_of_a_killed_one(tmp_path, whole):
    slow = Run(tmp_path, options(delay=30.0))
    until(lambda: any(tmp_path.glob("shards/*/0*.lock")))
    other = Run(tmp_path, options())
    until(lambda: len(list(tmp_path.glob("shards/*/*.npy"))) >= 1)
    assert other.process.poll() is None
    slow.process.kill()
    slow.end()

    assert other.end() == 0, other.errors
    assert (tmp_path / "bank.h5").read_bytes() == whole


def test_a_folder_holds_only_one_bank_in_the_making(tmp_path):
    mine, other = (Shards(tmp_path / "bank.h5", key, COUNT) for key in ("mine", "other"))

    with (
        other.membership(),
        pytest.raises(UserError, match="another command generates a bank with other settings"),
        mine.membership(),
    ):
        pass
    with mine.membership():
        pass


def test_a_command_with_an_exclusive_lock_on_the_folder_is_not_joined(tmp_path):
    shards = Shards(tmp_path / "bank.h5", "mine", COUNT)

    with (
        locked(tmp_path),
        pytest.raises(UserError, match="another reid-aug command"),
        shards.membership(),
    ):
        pass


def test_a_lock_file_that_was_removed_has_no_effect(tmp_path):
    first = Claim(tmp_path / "a.lock")
    (tmp_path / "a.lock").unlink()
    second = Claim(tmp_path / "a.lock")

    assert first.is_held
    assert second.is_held
    assert not Claim(tmp_path / "a.lock").is_held


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", None])
def test_a_damaged_shard_is_one_sentence(tmp_path, content):
    shards = Shards(tmp_path / "bank.h5", "stand-in", COUNT)
    with shards.membership():
        shards.generate(range(COUNT), StandIn(SIZE, 0.0), 32)
    path = shards.all()[1].path
    if content is None:
        np.save(path, np.zeros((3, 16, 8, 3), np.uint8))
    else:
        path.write_bytes(content)

    with pytest.raises(UserError, match=r"must be a shard, got .*; remove the file") as caught:
        generate(tmp_path, COUNT, SIZE, 0.0)

    assert str(path) in str(caught.value)
    assert not (tmp_path / "bank.h5").exists()


def test_reading_is_at_most_a_few_batches_ahead_of_computing(tmp_path):
    ahead = []

    class Watched(Counting):
        read_batches = 0

        def read(self, rows):
            self.read_batches += 1
            ahead.append(self.read_batches - self.batches)
            return super().read(rows)

    shards = Shards(tmp_path / "bank.h5", "stand-in", COUNT)
    with shards.membership():
        shards.generate(range(COUNT), Watched(), 32)

    assert 1 < max(ahead) <= module.AHEAD + 2


def test_an_error_of_the_method_is_raised_and_all_locks_are_released(tmp_path):
    class Broken(StandIn):
        def finish(self, images, rows):
            raise ValueError("no ink")

    shards = Shards(tmp_path / "bank.h5", "stand-in", COUNT)
    with pytest.raises(ValueError, match="no ink"), shards.membership():
        shards.generate(range(COUNT), Broken(SIZE, 0.0), 32)

    assert all(Claim(shard.lock).is_held for shard in shards.all())


def test_peak_memory_does_not_grow_with_the_number_of_images(tmp_path):
    few, many = (
        bank_stress.peak(tmp_path / str(rows), options(rows=rows, height=64, width=32, delay=0.0))
        for rows in (2 * SHARD, 12 * SHARD)
    )

    pixels = 10 * SHARD * 64 * 32 * 3 / 1e6  # MB more of them
    assert many - few < pixels / 3


def test_the_module_needs_no_torch():
    code = "import sys, reid_aug.bank.shards; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
