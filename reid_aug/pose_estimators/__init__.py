"""Pose estimators behind one small interface: a crop of one person in, 18 joints out.

    movenet   MoveNet Lightning or Thunder in plain PyTorch, weights from a path
    rtmpose   RTMPose through the library rtmlib (``pip install "reid-aug[poses]"``), weights from a
              path; or, and only when asked for by name, from where rtmlib fetches them

An estimator looks at one crop at a time and depends on nothing else, so crops are shared out over
processes and come back the same.

    graph_model       MoveNet's file as a PyTorch network
    graph_operations  what such a network is made of
    joint_layouts     the joints of COCO and BODY_25 as OpenPose's 18
    files             what other tools have found already
"""

import contextlib
import hashlib
import importlib
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from PIL import Image

from reid_aug.pose_estimators.graph_model import GraphModel
from reid_aug.pose_estimators.joint_layouts import from_coco
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256

RTMLIB_NAMES = {"rtmpose-s": "lightweight", "rtmpose-m": "balanced", "rtmpose-x": "performance"}
RTMPOSE_SIZE = 192, 256  # width, height; what a file given by path is taken to be made for


class Estimator(ABC):
    """A network that finds joints.

    ``sha256`` identifies its weights, so that a result can say who made it.

    Args:
        weights: where they are.
    """

    sha256: str

    @abstractmethod
    def __init__(self, weights: str) -> None: ...

    @abstractmethod
    def estimate(self, image: np.ndarray) -> np.ndarray:
        """Find the joints of the person in a crop (H, W, 3) uint8: (18, 3) float32.

        x, y in pixels of the crop, whole numbers at the centres of pixels, and a confidence in
        [0, 1]. A joint may lie outside the crop.
        """


class MoveNet(Estimator):
    """MoveNet single pose; the crop is enlarged to fill the square that the network looks at."""

    def __init__(self, weights: str) -> None:
        self.model = GraphModel(weights)
        digest = hashlib.sha256(Path(weights).read_bytes())
        for name, tensor in self.model.weights.items():
            digest.update(name.encode() + tensor.numpy().tobytes())
        self.sha256 = digest.hexdigest()

    def estimate(self, image: np.ndarray) -> np.ndarray:
        square, scale, corner = fit(image, self.model.size)
        found = self.model(torch.from_numpy(square.astype(np.int64))[None])
        if found.numel() != 17 * 3:
            raise UserError(
                f"{self.model.path}: must be a MoveNet of one person, with 17 joints of y, x and "
                f"score, got {tuple(found.shape)}"
            )
        y, x, score = found.reshape(17, 3).numpy().T
        size = np.array([x, y]).T * self.model.size[::-1]
        return from_coco(np.column_stack([(size - corner) / scale - 0.5, score]))


def fit(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float, np.ndarray]:
    """Enlarge a crop until it fills ``size``, black around it.

    Returns:
        The picture (height, width, 3) uint8, the factor, and (x, y) where the crop begins.
    """
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    corner = (size[1] - wide) // 2, (size[0] - high) // 2
    canvas = Image.new("RGB", size[::-1])
    canvas.paste(Image.fromarray(image).resize((wide, high), Image.Resampling.BICUBIC), corner)
    return np.asarray(canvas), scale, np.array(corner)


class RTMPose(Estimator):
    """RTMPose as rtmlib runs it; the whole crop is the person's box."""

    def __init__(self, weights: str) -> None:
        library = _rtmlib()
        if weights in RTMLIB_NAMES:
            mode = library.Body.MODE[RTMLIB_NAMES[weights]]
            path, size = mode["pose"], mode["pose_input_size"]
            self.sha256 = hashlib.sha256(path.encode()).hexdigest()
        elif not Path(weights).is_file():
            raise UserError(
                f"{weights} is missing; give the path of an RTMPose .onnx file, or one of "
                f"{', '.join(RTMLIB_NAMES)}, which rtmlib fetches"
            )
        else:
            path, size, self.sha256 = weights, RTMPOSE_SIZE, sha256(weights)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # it tells what it loads
                self.model = library.RTMPose(path, model_input_size=size)
        except Exception as error:  # whatever onnxruntime, urllib and zipfile raise
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise UserError(f"{weights}: rtmlib must be able to open it, got {reason}") from None

    def estimate(self, image: np.ndarray) -> np.ndarray:
        xy, scores = self.model(image)
        return from_coco(np.column_stack([xy[0] - 0.5, np.clip(scores[0], 0, 1)]))


def _rtmlib() -> ModuleType:
    try:
        return importlib.import_module("rtmlib")
    except ImportError as error:
        raise UserError(
            f'estimator rtmpose needs the package rtmlib ({error}); pip install "reid-aug[poses]"'
        ) from None


ESTIMATORS: dict[str, type[Estimator]] = {"movenet": MoveNet, "rtmpose": RTMPose}


def open_estimator(name: str, weights: str) -> Estimator:
    """The estimator of that name with its weights.

    Raises:
        UserError: If there is no such estimator, or its weights cannot be read.
    """
    if name not in ESTIMATORS:
        raise UserError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {name!r}")
    return ESTIMATORS[name](weights)
