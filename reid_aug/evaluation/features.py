"""From a network to a ranking: features of query and gallery, their distances, the scores.

Images are streamed: memory holds one feature vector per image and the distance matrix. Distances
are ranked on the device where they are computed, a CPU or a GPU.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from reid_aug.backbones.inceptions import IMAGENET_MEAN, IMAGENET_STD
from reid_aug.data.dataset import Dataset, PersonImage, evaluation_cameras, open_image
from reid_aug.evaluation import NO_MATCH, Matches, Scores, evaluate
from reid_aug.evaluation.device import evaluate_on_device
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.machine import require_memory
from reid_aug.runtime.progress import track

FEATURE_BATCH = 100
FLOAT_BYTES = 4  # bytes


def evaluation_transform(size: tuple[int, int]) -> Any:
    """The test transform: from a ``PIL.Image`` to the input of a re-ID network, (3, H, W) float32.

    Args:
        size: (height, width) of the network's input, in pixels.
    """
    normal = transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
    return transforms.Compose([transforms.Resize(size), transforms.ToTensor(), normal])


class Pictures(TorchDataset[Tensor]):
    """A list of images as a torch dataset of transformed images."""

    def __init__(self, images: Sequence[PersonImage], transform: Any) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        result: Tensor = self.transform(Image.fromarray(open_image(self.images[index].path)))
        return result


def evaluate_model(
    model: nn.Module, dataset: Dataset, transform: Any, device: torch.device, workers: int = 0
) -> Scores:
    """The scores of a network: the gallery is ranked by Euclidean distance of features."""
    query, gallery = (
        extract_features(model, images, transform, device, workers).to(device)
        for images in (dataset.query, dataset.gallery)
    )
    return score(distance_matrix(query, gallery), dataset)


def score(distances: Tensor, dataset: Dataset) -> Scores:
    """The scores of distances (Q, G), computed on their device."""
    if distances.device.type == "cpu":
        return evaluate(distances.numpy(), *columns(dataset))
    return evaluate_on_device(distances, *columns(dataset))


def check_queries(dataset: Dataset) -> None:
    """Raise a UserError unless at least one query has a match. Call it before a training."""
    if not Matches(*columns(dataset)).count():
        folder = dataset.query[0].path.parent
        raise UserError(f"{folder}: {NO_MATCH}; give another data set, or see: reid-aug check")


def check_memory(dataset: Dataset, device: torch.device, with_rerank: bool = False) -> None:
    """Raise a UserError unless ``device`` can hold the distances. Call it before a training.

    Re-ranking holds two matrices of the size of the distances, on the CPU.
    """
    queries, gallery = len(dataset.query), len(dataset.gallery)
    what = f"the distances of {queries} queries to {gallery} gallery images"
    needed = FLOAT_BYTES * queries * gallery
    require_memory(needed, what, device)
    if with_rerank:
        require_memory(2 * needed, f"{what}, re-ranked,", torch.device("cpu"))


def columns(dataset: Dataset) -> list[np.ndarray]:
    """Query and gallery pids, query and gallery camids: the arguments of :func:`evaluate`.

    Without camera labels, every file is a camera of its own.
    """
    lists = (dataset.query, dataset.gallery)
    pids = [np.array([image.pid for image in images]) for images in lists]
    cameras = np.array(evaluation_cameras((*dataset.query, *dataset.gallery)))
    return [*pids, cameras[: len(dataset.query)], cameras[len(dataset.query) :]]


@torch.inference_mode()
def extract_features(
    model: nn.Module,
    images: Sequence[PersonImage],
    transform: Any,
    device: torch.device,
    workers: int = 0,
    progress: Callable[..., Any] = track,
) -> Tensor:
    """Features of a list of images: (N, D) float32 on the CPU, batch by batch.

    Args:
        progress: shows how far the batches are (:func:`reid_aug.runtime.progress.track`).
    """
    model.eval()
    loader = DataLoader(Pictures(images, transform), FEATURE_BATCH, num_workers=workers)
    with progress(loader, "extract features") as bar:
        return torch.cat([model(batch.to(device)).float().cpu() for batch in bar])


def distance_matrix(query: Tensor, gallery: Tensor) -> Tensor:
    """Squared Euclidean distances: (Q, D) and (G, D) to (Q, G) float32 on their device."""
    distances = query.square().sum(1, keepdim=True) + gallery.square().sum(1)
    return distances.addmm_(query, gallery.T, beta=1, alpha=-2)
