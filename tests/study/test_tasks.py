"""Trainings as processes: they are tried again when they die, and end with the benchmark."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from processes import cells_started_by, members, wait_until

from reid_aug.data.formats import read_dataset
from reid_aug.data.provenance import dataset_sha256
from reid_aug.runtime.errors import UserError
from reid_aug.stages.recipe import Recipe
from reid_aug.stages.train_reid.settings import TrainReidConfig
from reid_aug.study.cell import Cell
from reid_aug.study.local_pool import LocalPool
from reid_aug.study.tasks import Task, run_tasks, train_cell

SMALL = TrainReidConfig(backbone="osnet_x0_25", steps=1, batch=4, height=64, width=32)

ENDLESS = """
import sys
from pathlib import Path
from reid_aug.data.formats import read_dataset
from reid_aug.data.provenance import dataset_sha256
from reid_aug.study.cell import Cell
from reid_aug.stages.recipe import Recipe
from reid_aug.study.tasks import Task, run_tasks
from reid_aug.study.local_pool import LocalPool
from reid_aug.stages.train_reid.settings import TrainReidConfig

if __name__ == "__main__":
    data, folder = map(Path, sys.argv[1:])
    config = TrainReidConfig("osnet_x0_25", steps=10**6, batch=4, height=64, width=32)
    cell = Cell("osnet_x0_25", "supplement", 0.0, 1.0, 0)
    recipe = Recipe("endless", train_reid=config)
    digest = dataset_sha256(read_dataset(data))
    run_tasks([Task(cell, recipe, data, digest, None, folder, folder)], LocalPool(["cpu"], 1))
"""


def task(data: Path, folder: Path, ratio: float = 0.0, bank: Path | None = None) -> Task:
    cell = Cell("osnet_x0_25", "supplement", ratio, 1.0, 0)
    recipe = Recipe("small", train_reid=SMALL)
    digest = dataset_sha256(read_dataset(data))
    return Task(cell, recipe, data, digest, bank, folder, folder / "generator")


def test_a_network_that_the_grid_pre_trains_records_its_training_images(people, tmp_path):
    declared = replace(SMALL, weights="imagenet.pth", weights_data="external")
    plain = task(people, tmp_path)
    plain = replace(plain, recipe=replace(plain.recipe, train_reid=declared))

    own = replace(plain, weights=tmp_path / "model.safetensors").config

    assert plain.config == declared
    assert (own.weights, own.weights_data) == (str(tmp_path / "model.safetensors"), "")


def test_a_cell_that_dies_is_tried_twice_and_reported_and_the_others_go_on(people, tmp_path):
    dies = task(people, tmp_path / "dies")
    dies = replace(dies, cell=replace(dies.cell, seed="no seed"))  # a TypeError, as of a defect
    lives = task(people, tmp_path / "lives")
    seen: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            seen.update(cells_started_by(os.getpid()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        failed = run_tasks([dies, lives], LocalPool(["cpu"], 1))
    finally:
        done.set()
        watcher.join()

    assert failed == [dies]
    assert len(seen) == 3
    assert not (tmp_path / "dies" / "result.json").exists()
    assert json.loads((tmp_path / "lives" / "result.json").read_text())["steps"] == 1


def test_a_cell_that_cannot_work_is_not_tried_again_and_reports_why(people, tmp_path):
    hopeless = task(people, tmp_path / "cell", 1.0, tmp_path / "gone.h5")

    assert run_tasks([hopeless], LocalPool(["cpu"], 1)) == [hopeless]

    said = (tmp_path / "cell" / "output.txt").read_text()
    assert said.count("gone.h5 is missing") == 1


def test_a_cell_is_not_trained_on_other_images_than_the_grid_was_started_with(people, tmp_path):
    planned = task(shutil.copytree(people, tmp_path / "data"), tmp_path / "cell")
    min((tmp_path / "data" / "bounding_box_train").iterdir()).unlink()

    with pytest.raises(UserError, match="data: must hold the images that the grid was started"):
        train_cell(planned, "cpu")

    assert not (tmp_path / "cell").exists()


def test_cells_die_with_a_benchmark_that_is_killed(people, tmp_path):
    script, output = tmp_path / "endless.py", tmp_path / "cell" / "output.txt"
    script.write_text(ENDLESS)
    with subprocess.Popen(
        [sys.executable, script, people, tmp_path / "cell"],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    ) as benchmark:
        started = wait_until(output.exists)
        cells = cells_started_by(benchmark.pid)
        benchmark.send_signal(signal.SIGKILL)

    died = wait_until(lambda: not members(benchmark.pid), 20)
    for pid in members(benchmark.pid):
        os.kill(pid, signal.SIGKILL)
    assert started
    assert len(cells) == 1
    assert died
