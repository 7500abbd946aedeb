"""Cells on a Ray cluster: a machine of it dies, and the table is that of a local run."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import PATIENCE, wait_until

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
RECIPE = """
[synthesize]
artist = "copies"
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
artist = ["copies"]
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
        [sys.executable, script], env={**os.environ, **LOOPBACK}, stderr=subprocess.DEVNULL, **pipes
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
        env={**os.environ, **LOOPBACK, "XDG_CACHE_HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_machine_of_the_cluster_dies_and_the_table_is_that_of_a_local_run(people, tmp_path):
    pytest.importorskip("ray")
    table, errors = benchmark(tmp_path, people, "local", "--workers", "2").communicate()
    assert table.count("osnet_x0_25") == 2, errors

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
            assert wait_until(lambda: len([*logs("log.jsonl")]) > 1)
            run.send_signal(2)
            _, errors = run.communicate(timeout=PATIENCE)

    assert run.returncode == 130, errors
    assert errors.splitlines()[-1].startswith("error: stopped; the same command goes on")
