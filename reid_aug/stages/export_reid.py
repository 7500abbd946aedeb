"""Export a trained re-ID network to ONNX, for programs without PyTorch, such as trackers.

    images    (B, 3, height, width) float32, for any B
    features  (B, D) float32, as reid evaluate ranks them by Euclidean distance

The images are RGB. With the normalisation inside, their values are in [0, 1]. With the
normalisation outside, the program subtracts the mean and divides by the standard deviation of
ImageNet. The metadata of the file states which, with the network and the images that trained it.

The file is checked before it gets its name: onnxruntime computes the features of random images in
batches of two sizes, and they must be those of PyTorch.
"""

import contextlib
import io
import json
import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reid_aug.backbones.checkpoint import ReidNetwork, load_reid_network
from reid_aug.backbones.inceptions import IMAGENET_MEAN, IMAGENET_STD
from reid_aug.runtime.errors import UserError, nearest
from reid_aug.runtime.files import committed, sha256
from reid_aug.runtime.progress import track
from reid_aug.runtime.regular_files import require_regular
from reid_aug.runtime.weights import LARGEST_FILE
from reid_aug.stages.cost import Cost
from reid_aug.stages.job import Job, Progress

ONNX_FORMAT = "reid_aug.onnx/1"
NORMALISATIONS = ("inside", "outside")
TOLERANCE = 1e-4  # largest difference of a feature, as a fraction of the largest feature
CHECKED_BATCHES = (1, 3)  # images
TRACING_PART = 2  # the whole export takes about this many times as long as the tracing
ONNX_INPUT, ONNX_OUTPUT = "images", "features"  # the names in the file


class ExportedNetwork(nn.Module):
    """A network in eval mode that normalises its images itself, if that is wanted."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, is_inside: bool) -> None:
        super().__init__()
        self.model, self.is_inside = model, is_inside
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, height, width) to features (B, D)."""
        if self.is_inside:
            images = (images - self.mean) / self.std
        result: Tensor = self.model(images)
        return result


def prepare(model: Path, file: Path, normalisation: str = "inside") -> "ExportReidJob":
    """Resolve what is exported; nothing is written.

    Args:
        model: ``model.safetensors`` of a ``reid-aug train-reid``.
        file: the file to write.
        normalisation: "inside" for images in [0, 1], "outside" for normalised images.

    Raises:
        UserError: If a package is missing, or an input or an option is wrong.
    """
    if normalisation not in NORMALISATIONS:
        raise UserError(
            f"--normalisation must be inside or outside, got {normalisation!r}"
            f"{nearest(normalisation, NORMALISATIONS)}"
        )
    if file.suffix != ".onnx":
        raise UserError(f"--onnx must be a file that ends in .onnx, got {file}")
    for package in ("onnx", "onnxruntime", "onnxscript"):  # torch needs the last one
        onnx_library(package)
    return ExportReidJob(model, load_reid_network(model), file, normalisation)


def onnx_library(name: str) -> ModuleType:
    """Return onnx, onnxruntime or onnxscript.

    Raises:
        UserError: If it is not installed.
    """
    try:
        return __import__(name)
    except ImportError as error:
        raise UserError(
            f"the export to ONNX needs the package {name} ({error}); install it with: "
            f'pip install "reid-aug[onnx]"'
        ) from None


@dataclass(frozen=True)
class ExportReidJob(Job):
    """A network to be written as an ONNX file."""

    model: Path
    network: ReidNetwork
    file: Path
    normalisation: str

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return self.file

    @cached_property
    def exported(self) -> ExportedNetwork:
        """The network that is exported."""
        return ExportedNetwork(self.network.model, self.normalisation == "inside").eval()

    @cached_property
    def about(self) -> dict[str, Any]:
        """The metadata of the file."""
        height, width = self.network.size
        return {
            "format": ONNX_FORMAT,
            "model_sha256": sha256(self.model),
            "normalisation": self.normalisation,
            "height": height,
            "width": width,
            "channels": "RGB",
            "mean": list(IMAGENET_MEAN),
            "std": list(IMAGENET_STD),
            "trained_on": self.network.trained_on,
        }

    def images(self, count: int) -> Tensor:
        """Random images as the network expects them, (count, 3, height, width)."""
        random = torch.Generator().manual_seed(count)
        images = torch.rand(count, 3, *self.network.size, generator=random)
        if self.normalisation == "inside":
            return images
        return (images - self.exported.mean) / self.exported.std

    def is_done(self) -> bool:
        """Whether the file holds this network already.

        Raises:
            UserError: If it holds something else.
        """
        if not self.file.exists():
            return False
        found = _metadata(self.file)
        others = [key for key, value in self.about.items() if found.get(key) != json.dumps(value)]
        if others:
            raise UserError(
                f"{self.file}: holds something else, which differs in {', '.join(others)}; choose "
                f"another file with --onnx, or remove it"
            )
        return True

    def describe(self) -> str:
        """Input and output of the network, as text; whether it is done already."""
        height, width = self.network.size
        values = "RGB in [0, 1]" if self.normalisation == "inside" else "normalised RGB"
        text = f"network {self.model}: images (B, 3, {height}, {width}), {values}"
        return f"{text}\ndone already: {self.file}" if self.is_done() else text

    def cost(self, device: torch.device) -> Cost:
        """Time from the tracing of the network, and the size of its weights."""
        begin = time.perf_counter()
        with _quiet():
            _traced(self.exported, self.images(2))
        size = sum(one.numel() * one.element_size() for one in self.exported.state_dict().values())
        return Cost(TRACING_PART * (time.perf_counter() - begin), size)

    def run(self, progress: Progress | None = None) -> Path:
        """Export, check and write the file; its path.

        Raises:
            UserError: If the network cannot be exported, or onnxruntime computes other features.
        """
        if self.is_done():
            return self.file
        content = self._content()
        with committed(self.file) as part:
            part.write_bytes(content)
            for count in (progress or track)(CHECKED_BATCHES, "check the ONNX file"):
                self._check(part, count)
        return self.file

    def outcome(self) -> str:
        """What was checked."""
        return f"onnxruntime computes the features of PyTorch within {TOLERANCE:g} of the largest"

    def _content(self) -> bytes:
        """The bytes of the file; equal for equal networks and versions."""
        onnx = onnx_library("onnx")
        try:
            with _quiet():
                program = torch.onnx.export(
                    _traced(self.exported, self.images(2)),
                    input_names=[ONNX_INPUT],
                    output_names=[ONNX_OUTPUT],
                    dynamo=True,
                    verbose=False,
                )
                assert program is not None  # it is None with the exporter of TorchScript
                found = program.model_proto
        except Exception as error:  # torch.export raises many types
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise UserError(
                f"{self.model}: the network must be one that torch.onnx can export, got {reason}; "
                f"choose another backbone"
            ) from None
        _without_paths(found)
        onnx.helper.set_model_props(
            found, {key: json.dumps(value) for key, value in self.about.items()}
        )
        result: bytes = found.SerializeToString(deterministic=True)
        return result

    def _check(self, part: Path, count: int) -> None:
        """Raise a UserError unless onnxruntime computes the features of ``count`` images."""
        images = self.images(count)
        with torch.inference_mode():
            expected = self.exported(images).numpy()
        session = onnx_library("onnxruntime").InferenceSession(
            part.read_bytes(), providers=["CPUExecutionProvider"]
        )
        (found,) = session.run([ONNX_OUTPUT], {ONNX_INPUT: images.numpy()})
        apart = float(np.abs(found - expected).max() / np.abs(expected).max())
        if not apart <= TOLERANCE:  # so that NaN fails too
            raise UserError(
                f"{self.model}: onnxruntime must compute the features of PyTorch within "
                f"{TOLERANCE:g} of the largest, got {apart:.1e}; report it with the backbone"
            )


def _traced(model: nn.Module, images: Tensor) -> torch.export.ExportedProgram:
    """The graph of a network for batches of any size."""
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    return torch.export.export(model, (images,), dynamic_shapes=shapes, strict=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings and the messages of the exporter."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def _without_paths(model: Any) -> None:
    """Remove what the exporter notes about the Python code, as paths of this machine."""
    graph = model.graph
    parts = (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer)
    functions = [node for function in model.functions for node in function.node]
    for part in (graph, *parts, *model.functions, *functions):
        del part.metadata_props[:]
        part.doc_string = ""


def _metadata(file: Path) -> dict[str, str]:
    """The metadata of an ONNX file.

    Raises:
        UserError: If it is no ONNX file.
    """
    remedy = "choose another file with --onnx, or remove it"
    require_regular(file, LARGEST_FILE, remedy)
    onnx = onnx_library("onnx")
    try:
        found = onnx.load(str(file), load_external_data=False)
    except Exception as error:  # protobuf has an exception of its own in each version
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UserError(f"{file}: must be an ONNX file, got {reason}; {remedy}") from None
    return {entry.key: entry.value for entry in found.metadata_props}
