"""What a report of a fault tells about the machine."""

import json

import pytest
import torch

from reid_aug.runtime import machine
from reid_aug.runtime.errors import UserError
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


def test_what_a_device_cannot_hold_is_refused_with_the_bytes(monkeypatch):
    monkeypatch.setattr(machine, "memory_limit", lambda: 1000)
    machine.require_memory(1000, "the distances", torch.device("cpu"))
    sentence = (
        r"^the distances need 1001 bytes \(0\.0 GB\) of memory on cpu, which has 1000 \(0\.0 GB\); "
        r"choose another --device or machine, or fewer images$"
    )
    with pytest.raises(UserError, match=sentence):
        machine.require_memory(1001, "the distances", torch.device("cpu"))

    with pretend_cuda(), pytest.raises(UserError, match="on cuda, which has 85899345920 "):
        machine.require_memory(2**37, "the distances", torch.device("cuda"))


def test_nothing_is_refused_where_the_memory_is_unknown(monkeypatch):
    monkeypatch.setattr(machine, "memory_limit", lambda: None)
    machine.require_memory(2**60, "the distances", torch.device("cpu"))


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
