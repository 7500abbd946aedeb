"""Banks that this process has not written are opened by a child, which may die."""

import os

import numpy as np
import pytest
from bank.test_bank import ATTRIBUTES, COUNT, PIXELS, ROWS, write

from reid_aug.bank import Bank, opening, write_bank
from reid_aug.runtime.errors import UserError


@pytest.fixture(autouse=True)
def _as_a_new_process(monkeypatch):
    monkeypatch.setattr(opening, "_own", set())
    monkeypatch.setattr(opening, "_read", type(opening._read)())


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "bank.h5")


def others(path, monkeypatch):
    """The bank as one that another process has written."""
    opening._own.clear()
    opening._read.clear()
    return path


def test_a_child_reads_what_this_process_reads(path, monkeypatch):
    scores = {"novelty": np.linspace(0, 1, COUNT, dtype=np.float32)}
    attributes = ATTRIBUTES.unwritten(scores={"novelty": {"data": "kept"}})
    write_bank(path, ROWS, [PIXELS], attributes, scores)
    here = opening.read_contents(path)

    there = opening.open_contents(others(path, monkeypatch))

    assert there.attributes == here.attributes
    assert (there.height, there.width, there.start) == (here.height, here.width, here.start)
    for name in ("pid", "camid", "source", "target", "keypoints"):
        np.testing.assert_array_equal(getattr(there.rows, name), getattr(here.rows, name))
        assert getattr(there.rows, name).dtype == getattr(here.rows, name).dtype
    np.testing.assert_array_equal(there.scores["novelty"], scores["novelty"])
    np.testing.assert_array_equal(Bank(path).images(0, COUNT), PIXELS)


def test_a_refusal_of_the_child_is_the_sentence(tmp_path):
    (tmp_path / "bank.h5").write_bytes(b"x" * 9000)

    with pytest.raises(
        UserError, match=r"bank.h5: must be a bank \(HDF5\), got a file of another kind"
    ):
        Bank(tmp_path / "bank.h5")


def test_a_bank_that_is_deleted_before_the_child_opens_it_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"bank.h5 is missing; make it with: reid-aug synthesize"):
        opening._ask(tmp_path / "bank.h5")


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("resource.setrlimit(resource.RLIMIT_CPU, (1, 9))\n    while True: pass", "SIGXCPU"),
    ],
)
def test_a_bank_that_ends_the_library_is_one_sentence(path, monkeypatch, fault, name):
    code = opening.CODE.replace(
        "_answer(sys.argv[2])",
        "import os, resource, reid_aug.bank.opening as opening\n"
        f"def fail(path):\n    {fault}\nopening.read_contents = fail\n_answer(sys.argv[2])",
    )
    monkeypatch.setattr(opening, "CODE", code)

    with pytest.raises(UserError, match=rf"ends the HDF5 library with {name}; use an intact copy"):
        Bank(others(path, monkeypatch))


def test_a_bank_that_needs_too_much_memory_is_one_sentence(path, monkeypatch):
    code = opening.CODE.replace(
        "_answer(sys.argv[2])",
        "import reid_aug.bank.opening as opening\n"
        "opening.find_heaps = lambda path: bytearray(4 * 2**30)\n_answer(sys.argv[2])",
    )
    monkeypatch.setattr(opening, "CODE", code)

    with pytest.raises(UserError, match=r"must be a bank \(HDF5\), got MemoryError"):
        Bank(others(path, monkeypatch))


def test_no_child_is_asked_twice_about_an_unchanged_file(path, monkeypatch):
    asked = []
    ask = opening._ask
    monkeypatch.setattr(opening, "_ask", lambda path: asked.append(path) or ask(path))

    Bank(others(path, monkeypatch))
    Bank(path)
    assert asked == [path]

    os.utime(path, (1, 1))
    Bank(path)
    assert asked == [path, path]


def test_no_child_is_asked_about_a_bank_of_this_process(path, monkeypatch):
    monkeypatch.setattr(opening, "_ask", lambda path: pytest.fail("a child"))

    assert len(Bank(path)) == COUNT
