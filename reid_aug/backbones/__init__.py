"""Re-ID networks: torchreid's and timm's by name, two Inceptions, networks of others, and BNNeck.

Every backbone follows torchreid's contract: in training mode it returns logits (B, classes), or
(logits, features) if it was built with features; in eval mode it returns features (B, D). Weights
are never downloaded; :func:`load_starting_weights` reads them from a path and reports which tensors
it did not use.

    inceptions        BN-Inception and the Inception of Open-ReID
    feature_networks  networks of others, to which a classifier is added
    timm_networks     networks of timm
    mobilenetv2       weights of MobileNetV2 in the names of torchvision and timm
    checkpoint        the file of a trained network
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from operator import attrgetter
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_aug.backbones.feature_networks import FeatureBackbone, registered, registered_names
from reid_aug.backbones.inceptions import InceptionV2, OpenReidInception
from reid_aug.backbones.mobilenetv2 import torchreid_weights
from reid_aug.backbones.timm_networks import (
    TIMM,
    check_timm_name,
    make_timm_network,
    own_size,
    timm_backbone,
)
from reid_aug.runtime.errors import UserError, nearest
from reid_aug.runtime.weights import read_checkpoint

OWN = {"inception_v2": InceptionV2, "inception_open_reid": OpenReidInception}
SIZES = ((256, 128), (160, 64), (144, 56), (299, 299))  # the usual (height, width), in pixels
MISFITS = (RuntimeError, AssertionError, ValueError)  # raised for images of an unsupported size


class BnNeck(nn.Module):
    """A batch norm between the features of a backbone and its classifier (Luo et al. 2019).

    The triplet loss uses the features before the norm; the classifier and the ranking use those
    after it. The norm has no shift and the classifier no bias. In eval mode features have length 1,
    so that the Euclidean distance gives the same ranking as the cosine distance of the paper.
    """

    def __init__(self, backbone: nn.Module, size: int, classes: int, with_features: bool) -> None:
        super().__init__()
        backbone.classifier = nn.Identity()
        self.backbone, self.with_features = backbone, with_features
        self.norm = nn.BatchNorm1d(size)
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Linear(size, classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(B, 3, H, W) to logits (B, classes), features (B, size), or both."""
        if not self.training:
            return F.normalize(self.norm(self.backbone(image)))
        _, features = self.backbone(image)
        logits = self.classifier(self.norm(features))
        return (logits, features) if self.with_features else logits


TORCHREID_API = (
    "models.show_avai_models", "models.build_model", "utils.set_random_seed",
    "data.transforms.build_transforms", "data.datasets.dataset.ImageDataset",
    "data.register_image_dataset", "__version__",
)  # fmt: skip


@cache
def torchreid_library() -> ModuleType:
    """Return torchreid, imported on first use (it takes seconds) and without its warnings.

    It is that of the package index or of the authors' repository: both have the same names.

    Raises:
        UserError: If it lacks a name of ``TORCHREID_API``.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Cython evaluation")
        import torchreid
    for path in TORCHREID_API:
        try:
            attrgetter(path)(torchreid)
        except AttributeError:
            raise UserError(
                f"{torchreid.__file__}: torchreid must have {path}, as 0.2.5 of the package index "
                f"and 1.4.0 from source do; install one of them"
            ) from None
    result: ModuleType = torchreid
    return result


def backbone_names() -> list[str]:
    """Return every name that :func:`build_backbone` accepts, sorted, without the names of timm.

    Raises:
        UserError: If another network is registered under the name of one of them.
    """
    with contextlib.redirect_stdout(io.StringIO()) as text:
        torchreid_library().models.show_avai_models()
    names = text.getvalue().strip().strip("[]").replace("'", "").split(", ")
    known, others = {*names, *OWN}, registered_names()
    if taken := known.intersection(others):
        raise UserError(
            f"backbone {min(taken)}: the name of a registered network must differ from those of "
            f"torchreid and reid-aug; register it under another name"
        )
    return sorted([*known, *others])


def check_backbone(name: str) -> None:
    """Raise a UserError unless :func:`build_backbone` accepts the name."""
    if name.startswith(TIMM):
        return check_timm_name(name.removeprefix(TIMM))
    names = backbone_names()
    if name not in names:
        listed = f"the backbones are {', '.join(names)}, and {TIMM}NAME"
        raise UserError(f"there is no backbone {name!r}{nearest(name, names)}; {listed}")
    return None


def build_backbone(
    name: str,
    classes: int,
    height: int,
    width: int,
    last_stride: int = 0,
    bnneck: bool = False,
    with_features: bool = False,
) -> nn.Module:
    """Build a network for ``classes`` identities, with random weights.

    The weights are channels last in memory, which is faster, if the network supports it.

    Args:
        name: one of :func:`backbone_names`, or "timm:" and a name of timm.
        last_stride: 1 sets the stride of the last stage of a ResNet or of BN-Inception to 1; 0
            leaves the network unchanged.
        bnneck: add a :class:`BnNeck` after the backbone.
        with_features: return features with the logits in training mode.

    Raises:
        UserError: If the name is unknown, or the network does not support this image size,
            ``last_stride``, ``bnneck`` or ``with_features``.
    """
    check_backbone(name)
    has_features = bnneck or with_features
    model = _build(name, classes, height, width, has_features)
    size = _feature_size(model, height, width)
    if not size:
        raise _misfit(name, height, width)
    if last_stride and not (_keep_size(model) and _feature_size(model, height, width)):
        raise UserError(
            f"train_reid.last_stride must be 0 for {name}, which has no ResNet stages; "
            f"--set train_reid.last_stride=0, or choose a backbone such as resnet50"
        )
    if has_features:
        _check_classifier(model, name, size)
    if bnneck:
        model = BnNeck(model, size, classes, with_features)
    model.to(memory_format=torch.channels_last)
    if not _feature_size(model, height, width):  # it flattens a feature map by ``view``
        model.to(memory_format=torch.contiguous_format)
    return model


def _build(name: str, classes: int, height: int, width: int, with_features: bool) -> nn.Module:
    """A network with a classifier.

    Raises:
        UserError: If it is made for a size, and does not support this one.
    """
    if name in OWN:
        return OWN[name](classes, with_features)
    if make := _maker(name):
        body, size = _made(make, height, width)
        if not size:
            raise _misfit(name, height, width)
        wrap = timm_backbone if name.startswith(TIMM) else FeatureBackbone
        return wrap(body, size, classes, with_features)
    loss = "triplet" if with_features else "softmax"
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result: nn.Module = torchreid_library().models.build_model(
            name, classes, loss=loss, pretrained=False, use_gpu=False
        )
        return result


def _maker(name: str) -> Callable[[int, int], nn.Module] | None:
    """What makes a network that computes features only; None for the others."""
    if name.startswith(TIMM):
        return partial(make_timm_network, name.removeprefix(TIMM))
    return registered(name)


def _made(make: Callable[[int, int], nn.Module], height: int, width: int) -> tuple[nn.Module, int]:
    """A network that computes features, and their number: 0 if it does not support the size."""
    try:
        body = make(height, width)
    except UserError:
        raise
    except MISFITS:
        return nn.Identity(), 0
    return body, _feature_size(body, height, width)


def _keep_size(model: nn.Module) -> bool:
    """Set the stride of the last stage to 1; whether the network has such a stage."""
    if isinstance(model, InceptionV2):
        model.keep_size()
        return True
    whole = model.body if isinstance(model, FeatureBackbone) else model
    stage = getattr(whole, "layer4", None)  # of a ResNet
    for part in stage.modules() if isinstance(stage, nn.Module) else ():
        if isinstance(part, nn.AvgPool2d) and part.kernel_size == part.stride:
            part.kernel_size = 1  # of a shortcut
        if isinstance(part, nn.Conv2d | nn.AvgPool2d):
            part.stride = (1, 1)
    return stage is not None


def _check_classifier(model: nn.Module, name: str, size: int) -> None:
    """Raise a UserError unless the features are the input of a single classifier."""
    classifier = getattr(model, "classifier", None)
    if not isinstance(classifier, nn.Linear) or classifier.in_features != size:
        raise UserError(
            f"backbone {name} must have one vector of features and one classifier for "
            f"train_reid.bnneck and triplet_weight; switch both off, or choose a backbone such as "
            f"resnet50"
        )


def _misfit(name: str, height: int, width: int) -> UserError:
    """The error of a network that does not support a size; it lists those of the usual that fit."""
    fits = ", ".join(f"{high}x{wide}" for high, wide in _fitting_sizes(name))
    sizes = f"these sizes fit: {fits}" if fits else "none of the usual sizes fits"
    return UserError(
        f"backbone {name} must have images of another size, got {height}x{width}; {sizes}: "
        f"--set train_reid.height=... --set train_reid.width=..."
    )


def _fitting_sizes(name: str) -> Iterable[tuple[int, int]]:
    make = _maker(name)
    if make is None:
        model = _build(name, 2, *SIZES[0], with_features=False)
        return [size for size in SIZES if _feature_size(model, *size)]
    own = [own_size(name.removeprefix(TIMM))] if name.startswith(TIMM) else []
    return [size for size in dict.fromkeys([*own, *SIZES]) if _made(make, *size)[1]]


@torch.no_grad()
def _feature_size(model: nn.Module, height: int, width: int) -> int:
    """The number of features of an image of this size; 0 if the network does not support it."""
    was_training = model.training
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            features = model.eval()(torch.zeros(1, 3, height, width))
    except MISFITS:
        return 0
    finally:
        model.train(was_training)
    return features.shape[1] if features.ndim == 2 else 0


def load_starting_weights(model: nn.Module, path: Path | str) -> str:
    """Load weights by name; the classifier (and torchreid's ``fc`` before it) may be missing.

    Weights without a neck fit the backbone of a network with a neck, and vice versa. ResNets of
    torchvision and timm have torchreid's names; MobileNetV2 is renamed
    (:mod:`reid_aug.backbones.mobilenetv2`). A network of timm reads timm's names.

    Returns:
        One line that lists which tensors were loaded and which were not.

    Raises:
        UserError: If a tensor other than the classifier's is missing or has another shape.
    """
    state, others = read_checkpoint(path)
    inner = model.backbone if isinstance(model, BnNeck) else model
    if isinstance(inner, FeatureBackbone):
        state = dict(inner.named(state))
    else:
        state = torchreid_weights(state) or state
    dropped = f"; entries of the file that are not read: {', '.join(others)}" if others else ""
    has_neck = any(name.startswith("backbone.") for name in state)
    if isinstance(model, BnNeck) and not has_neck:
        return f"{_load(inner, state, path)}; the neck has random weights{dropped}"
    if not isinstance(model, BnNeck) and has_neck:
        state = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    return _load(model, state, path) + dropped


def _load(model: nn.Module, state: dict[str, Tensor], path: Path | str) -> str:
    own = model.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    counters = "num_batches_tracked"
    missing = [k for k in own if k not in fitting and not k.endswith(counters)]
    outside = [k for k in missing if not k.startswith(("classifier", "fc."))]
    if outside:
        raise UserError(
            f"{path}: must hold the weights of this backbone; {len(outside)} of {len(own)} tensors "
            f"are missing or of another shape, the first is {outside[0]}"
        )
    model.load_state_dict(fitting, strict=False)
    unused = sorted(state.keys() - fitting.keys())
    report = f"{Path(path).name}: {len(fitting)} of {len(own)} tensors loaded"
    report += f", not in the file: {_few(missing)}" if missing else ""
    return report + f", {len(unused)} in the file unused" + (f": {_few(unused)}" if unused else "")


def _few(names: Sequence[str]) -> str:
    """The first three names, and the number of the others.

    >>> _few(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
