"""What a report of a fault tells about the machine."""

import json

import torch

from reid_aug.runtime import machine
from reid_aug.runtime.workers import usable_cores
from tests.pretend_cuda import pretend_cuda


def test_the_description_is_json_and_names_no_path_and_no_host(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HOME", "/home/somebody")

    found = json.loads(json.dumps(machine.describe_machine()))

    assert found["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert found["processor"]["cores"] == usable_cores()
    assert found["environment"]["OMP_NUM_THREADS"] == "1"
    assert "somebody" not in json.dumps(found)


def test_a_missing_package_has_no_version():
    assert machine.version_of("a-package-that-is-not-there") is None


def test_a_gpu_is_described():
    with pretend_cuda():
        found = machine.cuda()

    assert found["devices"] == [{"name": "Pretend GPU", "memory": 80 << 30, "capability": "9.0"}]


def test_the_memory_is_that_of_the_container(monkeypatch):
    files = {"/proc/meminfo": "MemTotal:       1000 kB\n", "/sys/fs/cgroup/memory.max": "max\n"}
    monkeypatch.setattr(machine, "_read", lambda path: files.get(path, ""))
    assert machine.memory_limit() == 1_024_000
    files["/sys/fs/cgroup/memory.max"] = "500000\n"
    assert machine.memory_limit() == 500_000
    files.clear()
    assert machine.memory_limit() is None
