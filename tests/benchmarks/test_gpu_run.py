"""The prepared run: what is done is kept, what fails is recorded, and it ends in time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import schedule
from benchmarks.gpu.schedule import DIED, LATER, SICK, Point, Record, Scene, measure_parts, table
from tests.processes import members, wait_until

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


def part_of(calls, **points):
    """A part whose points note that they are measured; an exception is raised."""

    def measured(name, result):
        calls.append(name)
        if isinstance(result, Exception):
            raise result
        return result

    def part(scene):
        for name, result in points.items():
            yield Point(name, 10, lambda name=name, result=result: measured(name, result))

    return part


def results(out, part="part"):
    return json.loads((out / f"{part}.json").read_text())


def test_a_point_that_is_done_is_not_measured_again(tmp_path):
    calls = []
    first = {"part": part_of(calls, one={"rate": 1.5})}
    both = {"part": part_of(calls, one={"rate": 2.5}, two={"rate": 3})}
    measure_parts(first, Scene(tmp_path, CPU))
    Record(tmp_path, "part").finish(False)

    assert measure_parts(both, Scene(tmp_path, CPU)) == 0
    assert measure_parts(both, Scene(tmp_path, CPU)) == 0

    assert calls == ["one", "two"]
    points = {"one": {"rate": 1.5}, "two": {"rate": 3}}
    assert results(tmp_path) == {"part": "part", "is_done": True, "points": points}
    assert list(table(tmp_path))[2:] == ["| part | one | rate 1.5 |", "| part | two | rate 3 |"]


def test_a_failure_is_recorded_and_the_next_point_follows(tmp_path):
    calls = []
    part = part_of(calls, one=RuntimeError("out of memory\nand more"), two={"rate": 1})

    measure_parts({"part": part}, Scene(tmp_path, CPU))

    assert results(tmp_path)["points"]["one"] == {"error": "RuntimeError: out of memory"}
    assert calls == ["one", "two"]


def test_a_part_that_cannot_be_prepared_is_recorded(tmp_path):
    def part(scene):
        raise ValueError("no such network")

    measure_parts({"part": part}, Scene(tmp_path, CPU))

    assert results(tmp_path)["points"] == {"preparation": {"error": "ValueError: no such network"}}


def test_a_point_begins_only_if_there_is_time_for_it(tmp_path):
    calls = []
    parts = {"part": part_of(calls, one={})}

    measure_parts(parts, Scene(tmp_path, CPU, until=time.time() + 9))
    assert (calls, results(tmp_path)["is_done"]) == ([], False)

    measure_parts(parts, Scene(tmp_path, CPU, until=time.time() + 60))
    assert (calls, results(tmp_path)["is_done"]) == (["one"], True)


def test_an_unfinished_point_is_continued(tmp_path):
    calls = []
    measure_parts({"part": part_of(calls, one={"mAP": 0.1, LATER: True})}, Scene(tmp_path, CPU))
    assert not results(tmp_path)["is_done"]

    measure_parts({"part": part_of(calls, one={"mAP": 0.2})}, Scene(tmp_path, CPU))
    assert results(tmp_path)["points"] == {"one": {"mAP": 0.2}}


def test_a_device_in_error_ends_the_process_and_the_point_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "_is_well", lambda device: False)
    calls = []
    parts = {"part": part_of(calls, one=RuntimeError("illegal access"), two={"rate": 1})}

    assert measure_parts(parts, Scene(tmp_path, CPU)) == SICK
    assert measure_parts(parts, Scene(tmp_path, CPU)) == SICK
    assert measure_parts(parts, Scene(tmp_path, CPU)) == 0

    assert calls == ["one", "two"]


def test_the_point_of_a_process_that_died_is_recorded_as_failed(tmp_path):
    record = Record(tmp_path, "part")
    record.begin("one")
    Record(tmp_path, "part").blame()

    calls = []
    measure_parts({"part": part_of(calls, one={}, two={})}, Scene(tmp_path, CPU))

    assert results(tmp_path)["points"]["one"] == {"error": DIED}
    assert calls == ["two"]


def fake_python(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_process_that_hangs_is_ended_in_time_with_its_children(tmp_path, monkeypatch):
    script = f"echo $$ > {tmp_path}/pid; sleep 60 & sleep 60"
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path / "python", script))
    began = time.monotonic()

    assert command._run_until(time.time() + 1, []) is None

    assert time.monotonic() - began < 10
    assert wait_until(lambda: not members(int((tmp_path / "pid").read_text())), 10)


@pytest.mark.parametrize(("points", "starts"), [(0, 1), (1, 2)])
def test_a_process_that_dies_is_started_again_while_it_gets_further(
    tmp_path, monkeypatch, points, starts
):
    out = tmp_path / "out"
    file = json.dumps({"points": {"one": {}}}) if points else "{"
    script = f"""echo "$@" >> {tmp_path}/calls; mkdir -p {out}
[ {points} = 1 ] && echo '{file}' > {out}/part.json; exit 1"""
    monkeypatch.setattr(sys, "executable", fake_python(tmp_path / "python", script))

    assert command.main([str(out), "--minutes", "1", "--only", "ceilings"]) == 0

    calls = (tmp_path / "calls").read_text().splitlines()
    assert ["--after-death" in call for call in calls] == [False, True][:starts]


def test_the_wheels_are_the_installed_packages(capsys):
    assert command.main(["--wheels"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert f"torch=={torch.__version__.partition('+')[0]}" in {
        line.partition("+")[0] for line in lines
    }
    assert {line.partition("==")[0] for line in lines} >= {"torchreid", "h5py", "pytest", "click"}


def run(out, *words):
    line = [sys.executable, "-m", "benchmarks.gpu", str(out), "--device", "cpu", "--tiny", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def test_a_device_that_is_not_there_is_one_sentence(tmp_path):
    process = run(tmp_path, "--device", "cuda:7", "--only", "ceilings")

    assert process.communicate()[1] == "error: --device cuda:7: this machine has 0 such devices\n"
    assert process.returncode == 2


@pytest.mark.slow
def test_a_rehearsal_that_is_interrupted_goes_on_where_it_stopped(tmp_path):
    process = run(tmp_path, "--minutes", "5")
    assert wait_until((tmp_path / "generator_training.json").exists)
    process.send_signal(signal.SIGINT)
    process.communicate()
    before = {path: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert before

    process = run(tmp_path, "--minutes", "5")
    process.communicate()

    assert process.returncode == 0
    after = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert set(after) == set(command.NAMES)
    assert all(content["is_done"] for content in after.values())
    errors = [p for content in after.values() for p in content["points"].values() if "error" in p]
    assert not errors
    for path, content in before.items():
        for name, values in content["points"].items():
            assert after[path.stem]["points"][name] == values
    assert {"generator, mAP", "copies, mAP"} <= after["study"]["points"]["grid"].keys()
