"""Killed trainings resume to the same bytes: a few kills of benchmarks/training_stress.py."""

import pytest

from benchmarks import training_stress


@pytest.mark.slow
def test_killed_trainings_end_in_the_same_bytes(tmp_path):
    found = training_stress.interrupted(tmp_path, times=4, seed=1)

    assert sum(found.values()) == 4


def test_a_different_file_is_reported(tmp_path, monkeypatch):
    content = iter([b"whole", b"other"])

    class Killed:
        def join(self, seconds=None):
            pass

        def kill(self):
            pass

    def finish(people, folder):
        if folder.name == "first":
            return
        text = next(content)
        for name in training_stress.COMPARED:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text)

    monkeypatch.setattr(training_stress, "finish", finish)
    monkeypatch.setattr(training_stress, "start", lambda people, folder: Killed())
    monkeypatch.setattr(training_stress, "write_people", lambda *_: None)

    with pytest.raises(SystemExit, match=r"run 0: .* differs"):
        training_stress.interrupted(tmp_path, times=1)
