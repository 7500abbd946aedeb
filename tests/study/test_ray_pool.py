"""Cells on a Ray cluster: a machine of it dies, and the table is that of a local run."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import PATIENCE, wait_until

from reid_aug import __version__
from reid_aug.runtime.errors import UserError
from reid_aug.stages.recipe import Recipe
from reid_aug.stages.train_reid.settings import TrainReidConfig
from reid_aug.study.cell import Cell
from reid_aug.study.ray_pool import RayPool, _absolute, _device, _knock, _machine_check, _token
from reid_aug.study.tasks import Task

SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # stay on the loopback
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # other tests may need memory at the same time
}
RECIPE = """
[synthesize]
method = "copies"
[train_reid]
steps = 60
batch = 4
height = 64
width = 32
"""
GRID = """
recipe = "{recipe}"
backbone = ["osnet_x0_25"]
ratio = [0.0, 1.0]
method = ["copies"]
seed = [0, 1]
"""
CLUSTER = """
import sys
from ray.cluster_utils import Cluster

if __name__ == "__main__":
    machine = {"node_ip_address": "127.0.0.1", "num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(True, False, head_node_args={**machine, "include_dashboard": False})
    second = cluster.add_node(**machine)
    print(cluster.address, flush=True)
    if sys.stdin.readline():
        cluster.remove_node(second, allow_graceful=False)
        print("killed", flush=True)
    sys.stdin.read()
    cluster.shutdown()
"""


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A cluster of two machines with a core each; its first line is the address."""
    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        [sys.executable, script], env={**os.environ, **SETTINGS}, stderr=subprocess.DEVNULL, **pipes
    ) as process:
        yield process
        process.stdin.close()
        process.wait(PATIENCE)


def benchmark(folder: Path, people: Path, run: str, *options: str) -> subprocess.Popen[str]:
    recipe, grid = folder / "small.toml", folder / "grid.toml"
    recipe.write_text(RECIPE)
    grid.write_text(GRID.format(recipe=recipe))
    words = [grid, "--data", people, "--out", folder / run, "--device", "cpu", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "reid_aug", "benchmark", *map(str, words)],
        env={**os.environ, **SETTINGS, "XDG_CACHE_HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_machine_of_the_cluster_dies_and_the_table_is_that_of_a_local_run(people, tmp_path):
    pytest.importorskip("ray")
    with benchmark(tmp_path, people, "local", "--workers", "2") as local:
        table, errors = local.communicate()
    assert local.returncode == 0, errors
    assert "mirrored copies" in table

    with cluster(tmp_path) as machines:
        address = machines.stdout.readline().strip()
        with benchmark(tmp_path, people, "ray", "--ray", address) as run:
            logs = (tmp_path / "ray").rglob
            assert wait_until(lambda: len([*logs("log.jsonl")]) > 1)
            machines.stdin.write("kill\n")
            machines.stdin.flush()
            assert machines.stdout.readline() == "killed\n"
            had = len([*logs("result.json")])
            found, errors = run.communicate()

    assert run.returncode == 0, errors
    assert had < 4
    assert found == table


@pytest.mark.slow
def test_ctrl_c_ends_the_cells_of_the_cluster(people, tmp_path):
    pytest.importorskip("ray")
    with cluster(tmp_path) as machines:
        address = machines.stdout.readline().strip()
        with benchmark(tmp_path, people, "ray", "--ray", address) as run:
            logs = (tmp_path / "ray").rglob
            assert wait_until(lambda: len([*logs("log.jsonl")]))
            run.send_signal(signal.SIGINT)
            _, errors = run.communicate(timeout=PATIENCE)

    assert run.returncode == 130, errors
    assert errors.splitlines()[-1].startswith("error: stopped; the same command goes on")


@pytest.mark.parametrize("address", ["somewhere", "ray://here", "127.0.0.1:port"])
def test_an_invalid_address_is_refused(address):
    with pytest.raises(ValueError, match="must be HOST:PORT or auto"):
        _knock(address)


def test_an_address_without_a_listener_fails_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(ConnectionRefusedError):
        _knock(f"127.0.0.1:{port}")


def test_without_the_package_one_sentence_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(
        UserError, match=r"needs the package ray .*pip install .reid-aug\[cluster\]"
    ):
        RayPool("auto")


def test_without_a_cluster_one_sentence_names_the_address(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "somewhere")

    with pytest.raises(UserError, match="--ray auto: no Ray cluster answers there, must be HOST"):
        RayPool("auto")


def test_a_cluster_without_the_resources_of_a_training_is_refused():
    assert _device({"CPU": 4.0}, None, "auto") == "cpu"
    assert _device({"CPU": 4.0, "GPU": 1.0}, None, "auto") == "cuda"
    assert _device({"CPU": 4.0, "GPU": 1.0}, "cpu", "auto") == "cpu"
    with pytest.raises(UserError, match="must have a GPU for a training on cuda, got none"):
        _device({"CPU": 4.0}, "cuda:1", "auto")


def test_a_task_is_submitted_with_absolute_paths(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    recipe = Recipe("small", train_reid=TrainReidConfig(weights="w.pth"))
    cell = Cell("a", "supplement", 1.0, 1.0, 0)
    task = Task(
        cell,
        recipe,
        Path("data"),
        "d" * 64,
        Path("b.h5"),
        Path("run/a"),
        None,
        Path("w.safetensors"),
    )

    there = _absolute(task)

    assert (there.root, there.bank) == (tmp_path / "data", tmp_path / "b.h5")
    assert (there.folder, there.generator) == (tmp_path / "run/a", None)
    assert there.weights == tmp_path / "w.safetensors"
    assert there.recipe.train_reid.weights == str(tmp_path / "w.pth")
    assert _absolute(there) == there


def test_a_machine_without_the_folders_is_named(tmp_path):
    check = _machine_check()
    with _token(tmp_path / "run") as token:
        assert check(str(tmp_path), str(token)) == __version__
        assert check(str(tmp_path / "gone"), str(token)) == f"nothing at {tmp_path / 'gone'}"
    assert check(str(tmp_path), str(token)) == f"nothing at {token}"
