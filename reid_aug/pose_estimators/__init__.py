"""Pose estimators with one interface: from a crop of one person to 18 joints.

    movenet   MoveNet Lightning or Thunder in plain PyTorch; the weights are a local file
    rtmpose   RTMPose through the library rtmlib (``pip install "reid-aug[poses]"``); the weights
              are a local file, or a model name for which rtmlib downloads them

The result for a crop depends on that crop and the weights only. So crops can be distributed over
processes without a change of the results.

    graph_model       MoveNet's model file as a PyTorch network
    graph_operations  the operations of such a network
    joint_layouts     conversion of COCO and BODY_25 joints to OpenPose's 18 joints
    files             reading of keypoints that other tools have estimated
"""

import contextlib
import hashlib
import importlib
import sys
from abc import ABC, abstractmethod
from types import ModuleType

import numpy as np
import torch
from PIL import Image

from reid_aug.pose_estimators.graph_model import LARGEST_GRAPH, GraphModel
from reid_aug.pose_estimators.joint_layouts import from_coco
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.regular_files import read_bytes, require_regular

RTMLIB_NAMES = {"rtmpose-s": "lightweight", "rtmpose-m": "balanced", "rtmpose-x": "performance"}
RTMPOSE_SIZE = 192, 256  # width, height; the assumed input size of a model file


class Estimator(ABC):
    """A network that estimates joints.

    Args:
        weights: Path of the weights, or a model name that the estimator supports.
    """

    sha256: str  # identifies the weights; recorded with the results

    @abstractmethod
    def __init__(self, weights: str) -> None: ...

    @abstractmethod
    def estimate(self, image: np.ndarray) -> np.ndarray:
        """Estimate the joints of the person in a crop (H, W, 3) uint8.

        Returns:
            (18, 3) float32: x and y in pixels of the crop, where pixel centres have integer
            coordinates, and a confidence in [0, 1]. A joint may lie outside the crop.
        """


class MoveNet(Estimator):
    """MoveNet for a single person; the crop is resized to fill the square input of the network."""

    def __init__(self, weights: str) -> None:
        self.model = GraphModel(weights)
        digest = hashlib.sha256(read_bytes(weights, LARGEST_GRAPH))
        for name, tensor in self.model.weights.items():
            digest.update(name.encode() + tensor.numpy().tobytes())
        self.sha256 = digest.hexdigest()

    def estimate(self, image: np.ndarray) -> np.ndarray:
        square, scale, corner = fit(image, self.model.size)
        found = self.model(torch.from_numpy(square.astype(np.int64))[None])
        if found.numel() != 17 * 3:
            raise UserError(
                f"{self.model.path}: the model must be a single-person MoveNet with an output of "
                f"17 joints x (y, x, score), got {tuple(found.shape)}; use MoveNet Lightning or "
                f"Thunder"
            )
        y, x, score = found.reshape(17, 3).numpy().T
        size = np.array([x, y]).T * self.model.size[::-1]
        return from_coco(np.column_stack([(size - corner) / scale - 0.5, score]))


def fit(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float, np.ndarray]:
    """Resize a crop to fit into ``size`` (height, width), with a black border.

    Returns:
        The image (height, width, 3) uint8, the scale factor, and (x, y) of the crop's corner in it.
    """
    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    corner = (size[1] - wide) // 2, (size[0] - high) // 2
    canvas = Image.new("RGB", size[::-1])
    canvas.paste(Image.fromarray(image).resize((wide, high), Image.Resampling.BICUBIC), corner)
    return np.asarray(canvas), scale, np.array(corner)


class RTMPose(Estimator):
    """RTMPose, run by rtmlib; the box of the person is the whole crop."""

    def __init__(self, weights: str) -> None:
        library = _rtmlib()
        if weights in RTMLIB_NAMES:
            mode = library.Body.MODE[RTMLIB_NAMES[weights]]
            path, size = mode["pose"], mode["pose_input_size"]
            self.sha256 = hashlib.sha256(path.encode()).hexdigest()
        else:
            names = ", ".join(RTMLIB_NAMES)
            remedy = f"give the path of an RTMPose .onnx file, or {names}, which rtmlib downloads"
            require_regular(weights, remedy=remedy)
            path, size, self.sha256 = weights, RTMPOSE_SIZE, sha256(weights)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # rtmlib prints the path
                self.model = library.RTMPose(path, model_input_size=size)
        except Exception as error:  # onnxruntime, urllib and zipfile raise many types
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            raise UserError(
                f"{weights}: the file must be an RTMPose model that rtmlib can open, got {reason}"
            ) from None

    def estimate(self, image: np.ndarray) -> np.ndarray:
        xy, scores = self.model(image)
        return from_coco(np.column_stack([xy[0] - 0.5, np.clip(scores[0], 0, 1)]))


def _rtmlib() -> ModuleType:
    try:
        return importlib.import_module("rtmlib")
    except ImportError as error:
        raise UserError(
            f"estimator rtmpose requires the package rtmlib ({error}); "
            f'run pip install "reid-aug[poses]"'
        ) from None


ESTIMATORS: dict[str, type[Estimator]] = {"movenet": MoveNet, "rtmpose": RTMPose}


def open_estimator(name: str, weights: str) -> Estimator:
    """The estimator ``name`` with the given weights.

    Raises:
        UserError: If the name is unknown or the weights cannot be read.
    """
    if name not in ESTIMATORS:
        raise UserError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {name!r}")
    return ESTIMATORS[name](weights)
