"""The attacks of benchmarks/stress find what they look for; a few cases of each."""

import os

import pytest

from benchmarks.stress.__main__ import attack_files
from benchmarks.stress.attempts import Tally, attempt_all
from benchmarks.stress.commands import Arena, Command, in_turn
from benchmarks.stress.faults import attack_under_faults, faults
from benchmarks.stress.kills import attack_commands
from reid_aug.runtime.errors import UserError

PEOPLE = Command("people", ("people", "{out}/p", "--identities", "1", "--test-identities", "1"))


def tried(tallies: dict[str, Tally]) -> int:
    assert [loss for tally in tallies.values() for loss in tally.losses] == []
    return sum(tally.ended.total() for tally in tallies.values())


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    return Arena(tmp_path_factory.mktemp("arena"))


def test_an_attempt_ends_as_its_work_does():
    def refuse():
        raise UserError("a.json must be JSON")

    works = [lambda: 1, refuse, lambda: 1 / 0, os.abort, lambda: 1]

    endings = [ending for ending, _ in attempt_all(works)]

    assert endings == ["read", "refused", "failed", "SIGABRT", "read"]


@pytest.mark.slow
def test_mutated_files_are_read_or_refused(tmp_path):
    only = ["keypoints.csv", "recipe TOML"]

    assert tried(attack_files(tmp_path, 40, 1, 0, only)) == 40


@pytest.mark.slow
def test_a_killed_grid_ends_with_its_processes_and_is_done_again(tmp_path):
    assert tried(attack_commands(tmp_path, 4, 10, 0, ["benchmark"])) == 4


def test_a_killed_command_is_done_again(tmp_path):
    assert tried(attack_commands(tmp_path, 2, 1, 0, ["convert"])) == 2


def test_a_command_survives_every_fault(tmp_path):
    count = len(faults())

    assert tried(attack_under_faults(tmp_path, count, 1, 0, ["convert"])) == count


def test_a_file_that_differs_is_found(arena, monkeypatch):
    arena.reset(PEOPLE)
    assert arena.give_again(PEOPLE) is None
    (arena.out / "p" / "keypoints.csv").write_text("half")

    assert arena.half_written(PEOPLE) == ["p/keypoints.csv"]
    assert arena.give_again(PEOPLE) == ("differs", "after the second run, p/keypoints.csv differ")


def test_slow_commands_have_their_turn_in_few_rounds():
    some = [Command("a", ()), Command("b", (), every=3)]

    names = [one.name for _, one in in_turn(some, 8)]

    assert names == ["a", "b", "a", "a", "a", "b", "a", "a"]
