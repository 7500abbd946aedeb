"""Checks of the machine before a long experiment: what it can do, what it cannot, and the remedy.

Every check gives findings. An ``error`` stops an experiment with the given recipe, device and run
folder; a ``warning`` stops or slows some experiments; a ``note`` names what is not there, or does
not work and is not used.
Nothing remains on the disk.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import torch

from reid_aug.runtime.bfloat16 import note_of_bfloat16
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import Claim, committed
from reid_aug.runtime.machine import cuda, processor, version_of
from reid_aug.stages.recipe import Recipe
from reid_aug.stages.stage import choose_device
from reid_aug.stages.synthesize import SPARE
from reid_aug.stages.train_generator.trainer import Trainer, check_compiler
from reid_aug.stages.train_reid import build_network
from reid_aug.stages.train_reid.trainer import check_precision

CLASSES = 2  # identities of a network that is only checked; the convolutions do not depend on them
NEAR_ENOUGH = 1e-2  # largest relative error of a matrix product on a GPU; TF32 has 10 bits
DRIVER = Path("/proc/driver/nvidia/version")  # exists where the kernel module is loaded
EXTRAS = {  # package: the extra that installs it, and its purpose
    "rtmlib": ("poses", "estimate-poses --estimator rtmpose"),
    "onnxruntime": ("onnx", "reid export or estimate-poses --estimator rtmpose"),
    "onnx": ("onnx", "reid export"),
    "onnxscript": ("onnx", "reid export"),
    "timm": ("timm", "train-reid --backbone timm:NAME"),
    "pyarrow": ("parquet", "reid features --to FILE.parquet"),
    "ray": ("cluster", "benchmark --ray"),
}


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    level: Level
    check: str
    """What was checked, as "device"."""
    text: str
    """What was found, and what to do about it."""

    def __str__(self) -> str:
        return f"{self.level}: {self.check}: {self.text}"


def examine(recipe: Recipe, device: str | None, out: Path) -> Iterator[Finding]:
    """Check this machine for a recipe.

    Args:
        device: as ``--device``; None means the GPU, if there is one.
        out: the run folder; it need not exist.

    Raises:
        UserError: If this machine has no such device.
    """
    on = choose_device(device)
    yield from check_processor()
    yield from check_devices(on)
    yield check_bfloat16(recipe, "train_reid", on)
    yield check_bfloat16(recipe, "train_generator", on)
    yield from check_folder(out)
    yield from check_extras(recipe, on)


def check_processor() -> Iterator[Finding]:
    """Cores, threads and memory."""
    found = processor()
    memory = f"{found['memory'] / 1e9:.1f} GB of memory" if found["memory"] else "unknown memory"
    text = f"{found['cores']} cores, {found['threads']} threads, {found['vectors']}, {memory}"
    if found["threads"] > found["cores"]:
        text += "; set OMP_NUM_THREADS to the number of cores, more threads only wait"
        yield Finding(Level.WARNING, "processor", text)
    else:
        yield Finding(Level.OK, "processor", text)


def check_devices(device: torch.device) -> Iterator[Finding]:
    """The GPUs; each multiplies two matrices, and the result is compared with that of the CPU."""
    found = cuda()
    if not found["devices"]:
        yield Finding(Level.NOTE, "device", f"no GPU: {_why_no_gpu()}")
    for index, one in enumerate(found["devices"]):
        name = f"cuda:{index}, {one['name']}, {one['memory'] / 1e9:.1f} GB"
        reason = _wrong_product(torch.device("cuda", index))
        if reason:
            text = f"{name} does not compute: {reason}; install the PyTorch build for this GPU"
            is_chosen = device.type == "cuda" and (device.index or 0) == index
            yield Finding(Level.ERROR if is_chosen else Level.WARNING, "device", text)
        else:
            yield Finding(Level.OK, "device", name)


def _why_no_gpu() -> str:
    if DRIVER.is_file() and torch.version.cuda is None:
        return (
            "this PyTorch is built without CUDA, and the machine has an NVIDIA driver; install a "
            "PyTorch build with CUDA, see https://pytorch.org"
        )
    if DRIVER.is_file():
        return (
            f"PyTorch for CUDA {torch.version.cuda} finds none, and the machine has an NVIDIA "
            f"driver; update the driver, or check CUDA_VISIBLE_DEVICES"
        )
    return "everything runs on the CPU; full-size trainings need a GPU in practice"


def _wrong_product(device: torch.device) -> str:
    """Why a matrix product on ``device`` is wrong; "" if it is right."""
    left, right = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0))
    try:
        product = (left.to(device) @ right.to(device)).cpu()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    apart = (product - left @ right).norm() / (left @ right).norm()
    return "" if apart < NEAR_ENOUGH else f"a matrix product is {apart:.0e} off"


def check_bfloat16(recipe: Recipe, table: str, device: torch.device) -> Finding:
    """Whether the networks of a recipe's table are computed right in bfloat16.

    Args:
        table: "train_reid" or "train_generator".
    """
    what, is_wanted = f"bfloat16 of {table}", getattr(recipe, table).bf16
    wrong, unused = (
        (Level.ERROR, "") if is_wanted else (Level.NOTE, "not used by this recipe, and ")
    )
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Finding(Level.OK, what, f"supported by {device}")
        return Finding(
            wrong, what, f"{unused}not supported by {device}; train with {table}.bf16=false"
        )
    try:
        {"train_reid": _check_reid, "train_generator": _check_generator}[table](recipe)
    except UserError as error:
        return Finding(wrong, what, f"{unused}{error}")
    text = "every layer of the recipe's networks is computed right"
    if note := note_of_bfloat16(is_wanted, device, f"{table}.bf16"):
        return Finding(Level.WARNING, what, f"{text}; {note}")
    return Finding(Level.OK, what, text)


def _check_reid(recipe: Recipe) -> None:
    config = replace(recipe.train_reid, bf16=True)
    with torch.random.fork_rng(devices=[]):
        model = build_network(config, CLASSES).train()
    check_precision(model, config, torch.device("cpu"), config.batch)


def _check_generator(recipe: Recipe) -> None:
    config = replace(
        recipe.train_generator, bf16=True, compile=False, vgg="", identity_model="", start="",
        start_appearance="", start_pose="",
    )  # fmt: skip
    trainer = Trainer(recipe.generator, config, 0, torch.device("cpu"))
    trainer.check_precision(recipe.data.height, recipe.data.width)


def check_folder(out: Path) -> Iterator[Finding]:
    """Free space and file locks where the run folder is, or would be made."""
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    size = f"{free / 1e9:.1f} GB free in {place}"
    if free < SPARE:
        text = f"{size}; free some, or choose another disk with --out"
        yield Finding(Level.ERROR, "disk", text)
        return
    yield Finding(Level.OK, "disk", size)
    try:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            yield _check_locks(Path(folder))
    except OSError as error:
        text = f"{place} cannot be written ({error.strerror}); choose another folder with --out"
        yield Finding(Level.ERROR, "disk", text)


def _check_locks(folder: Path) -> Finding:
    """Whether a file is renamed and a lock excludes another one, as every stage needs it."""
    with committed(folder / "file") as part:
        part.write_text("whole")
    with Claim(folder / "lock"), Claim(folder / "lock") as second:
        is_exclusive = not second.is_held
    with Claim(folder / "lock") as again:
        is_released = again.is_held
    if is_exclusive and is_released:
        return Finding(Level.OK, "file locks", "work")
    return Finding(
        Level.WARNING,
        "file locks",
        "do not work in this file system, so two commands in one run folder would not notice each "
        "other; mount it with locks, or choose another disk with --out",
    )


def check_extras(recipe: Recipe, device: torch.device) -> Iterator[Finding]:
    """Optional packages, and a compiler where the recipe needs one."""
    for package, (extra, purpose) in EXTRAS.items():
        found = version_of(package)
        if found:
            yield Finding(Level.OK, package, found)
        else:
            remedy = f'not installed; only {purpose} needs it: pip install "reid-aug[{extra}]"'
            yield Finding(Level.NOTE, package, remedy)
    if recipe.train_generator.compile:
        yield _check_compiler(lambda: check_compiler(device))


def _check_compiler(check: Callable[[], None]) -> Finding:
    try:
        check()
    except UserError as error:
        return Finding(Level.ERROR, "compiler", str(error))
    return Finding(Level.OK, "compiler", "works")
