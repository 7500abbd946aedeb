"""What a machine is: versions, devices, threads and CPU features, for reports of faults.

Nothing here names a person, a host or a path.
"""

import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from reid_aug import __version__
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.workers import usable_cores

PACKAGES = (
    "torch", "torchvision", "torchreid", "numpy", "scipy", "scikit-learn", "h5py", "safetensors",
    "Pillow", "click", "torchmetrics", "torch-fidelity", "rtmlib", "onnxruntime", "ray",
    "timm", "onnx", "onnxscript", "pyarrow",
)  # fmt: skip
VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY", "PYTORCH_CUDA_ALLOC_CONF",
)  # fmt: skip
FEATURES = re.compile(r"(avx|amx|fma|sve|asimd|bf16)\w*")


def describe_machine() -> dict[str, Any]:
    """Versions, processor and devices of this machine, as JSON values; sizes are in bytes."""
    return {
        "reid_aug": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: version_of(name) for name in PACKAGES},
        "processor": processor(),
        "cuda": cuda(),
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def version_of(package: str) -> str | None:
    """The version of an installed package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> dict[str, Any]:
    """Cores, threads and memory; ``features`` are the flags for vectors and matrices."""
    words = set(_read("/proc/cpuinfo").split())
    return {
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "features": sorted(word for word in words if FEATURES.fullmatch(word)),
        "memory": memory_limit(),
    }


def memory_limit() -> int | None:
    """The memory in bytes that a process may use; None if this system does not tell it.

    In a container, this is the limit of the container.
    """
    found = re.search(r"MemTotal:\s+(\d+) kB", _read("/proc/meminfo"))
    sizes = [1024 * int(found[1])] if found else []
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    return min([*sizes, *([int(limit)] if limit.isdigit() else [])], default=None)


def memory_of(device: torch.device) -> int | None:
    """The memory of a device in bytes; None if this system does not tell it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return memory_limit()


def require_memory(needed: int, what: str, device: torch.device) -> None:
    """Raise a UserError if ``device`` could not hold ``needed`` bytes, even if nothing else did.

    Args:
        what: what needs them, a plural, for the message.
    """
    there = memory_of(device)
    if there is not None and needed > there:
        raise UserError(
            f"{what} need {needed} bytes ({needed / 1e9:.1f} GB) of memory on {device}, which has "
            f"{there} ({there / 1e9:.1f} GB); choose another --device or machine, or fewer images"
        )


def cuda() -> Mapping[str, Any]:
    """The CUDA version that PyTorch is built for (None: without CUDA), and the GPUs."""
    devices = [
        {
            "name": torch.cuda.get_device_name(index),
            "memory": torch.cuda.mem_get_info(index)[1],
            "capability": "{}.{}".format(*torch.cuda.get_device_capability(index)),
        }
        for index in range(torch.cuda.device_count())
    ]
    return {"built_for": torch.version.cuda, "devices": devices}


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
