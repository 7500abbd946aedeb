"""Any network that computes features, as a backbone: a classifier is put behind it.

Such a network maps images (B, 3, height, width) to features (B, D), in training and in eval mode.
A function (or the class itself) makes it, called with the height and the width of the images in
pixels. Three places give one a name:

- :func:`register_backbone`, in this process, which also accepts a ready network
- an entry point of the group ``reid_aug.backbones`` in another package, in every process
- timm (:mod:`reid_aug.backbones.timm_networks`)

Images are RGB, normalised with the mean and the standard deviation of ImageNet, as for every
backbone. A network that was trained with others begins with :class:`Renormalised`.

A network that is made with the same weights each time has *weights of its own*. A training starts
from them only if ``train_reid.weights`` is "own", so that its result records them.
"""

import copy
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import EntryPoint, entry_points

import torch
from torch import Tensor, nn

from reid_aug.backbones.inceptions import IMAGENET_MEAN, IMAGENET_STD
from reid_aug.runtime.errors import UserError

BACKBONE_GROUP = "reid_aug.backbones"
BACKBONE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
CLASSIFIER_STD = 0.01  # of its random weights, as in torchreid
OWN_WEIGHTS = "own"  # value of train_reid.weights: those that the network is made with

MakeNetwork = Callable[[int, int], nn.Module]
State = Mapping[str, Tensor]
_REGISTERED: dict[str, MakeNetwork] = {}


class Renormalised(nn.Module):
    """ImageNet-normalised images with another mean and standard deviation.

    Args:
        mean: of the values in [0, 1], one per channel.
        std: likewise.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        old, new = (torch.tensor(one).view(2, 3, 1, 1) for one in _pairs(mean, std))
        self.register_buffer("scale", old[1] / new[1], persistent=False)
        self.register_buffer("shift", (old[0] - new[0]) / new[1], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 3, H, W)."""
        return image * self.scale + self.shift


def _pairs(mean: Sequence[float], std: Sequence[float]) -> tuple[list[list[float]], ...]:
    return [list(IMAGENET_MEAN), list(IMAGENET_STD)], [list(mean), list(std)]


class FeatureBackbone(nn.Module):
    """A network that computes features, with a classifier behind it.

    It follows torchreid's contract: in training mode logits (B, classes), or (logits, features) if
    ``with_features`` is set; in eval mode features (B, D).

    Args:
        body: maps images (B, 3, H, W) to features (B, D).
        size: D.
        before: what is applied to the images first, without weights.
        converted: turns a published state dict of ``body`` into one with its names and shapes.
    """

    def __init__(
        self,
        body: nn.Module,
        size: int,
        classes: int,
        with_features: bool,
        before: nn.Module | None = None,
        converted: Callable[[State], State] = dict,
    ) -> None:
        super().__init__()
        self.with_features, self.converted = with_features, converted
        self.before = before or nn.Identity()
        self.body, self.classifier = body, nn.Linear(size, classes)
        nn.init.normal_(self.classifier.weight, std=CLASSIFIER_STD)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(B, 3, H, W) to logits (B, classes), features (B, D), or both."""
        features: Tensor = self.body(self.before(image))
        if not self.training:
            return features
        logits = self.classifier(features)
        return (logits, features) if self.with_features else logits

    def named(self, state: State) -> State:
        """A state dict of the body under the names of this network; others are left as they are."""
        own = {f"body.{name}" for name in self.body.state_dict()}
        if own <= {name.removeprefix("backbone.") for name in state}:
            return state
        return {f"body.{name}": tensor for name, tensor in self.converted(state).items()}


def register_backbone(name: str, make: MakeNetwork | nn.Module) -> None:
    """Give a network of your own a name, which ``train_reid.backbone`` accepts in this process.

    Args:
        name: letters, digits and ``_.-``; a name that is registered already is replaced.
        make: a network, or a class or a function that makes one, called with the height and the
            width of the images in pixels. The network maps images (B, 3, height, width) to features
            (B, D). The images are RGB, normalised with the mean and the standard deviation of
            ImageNet. A ready network is copied now, and each training starts from the copy's
            weights with ``train_reid.weights`` = "own". A class or a function gives the network
            random weights; trained ones come from the file ``train_reid.weights``.

    Raises:
        UserError: If the name has other characters.
    """
    if not BACKBONE_NAME.fullmatch(name):
        raise UserError(
            f"the name of a backbone must be letters, digits, and any of _.-, got {name!r}"
        )
    _REGISTERED[name] = _copies(make) if isinstance(make, nn.Module) else make


def _copies(network: nn.Module) -> MakeNetwork:
    """A function that makes copies of a network as it is now, on the CPU."""
    kept = copy.deepcopy(network).cpu()
    return lambda height, width: copy.deepcopy(kept)


def registered_names() -> list[str]:
    """The names of the backbones of this process and of other packages, sorted."""
    return sorted({*_REGISTERED, *(entry.name for entry in entry_points(group=BACKBONE_GROUP))})


def registered(name: str) -> MakeNetwork | None:
    """What makes the backbone of that name; None if there is none.

    Raises:
        UserError: If another package registers the name, and it cannot be imported.
    """
    found = entry_points(group=BACKBONE_GROUP, name=name)
    make = _REGISTERED.get(name) or (_loaded(next(iter(found))) if found else None)
    return partial(_made, name, make) if make else None


def _made(name: str, make: MakeNetwork, height: int, width: int) -> nn.Module:
    """The network that ``make`` makes.

    Raises:
        UserError: If it does not take the two arguments, or makes something else.
    """
    try:
        found: object = make(height, width)
    except TypeError as error:
        raise UserError(
            f"backbone {name} must be made from a height and a width, got {error}; give a class or "
            f"a function with these two arguments"
        ) from None
    if not isinstance(found, nn.Module):
        raise UserError(
            f"backbone {name} must be a torch.nn.Module, got {type(found).__name__}; repair the "
            f"function that makes it"
        )
    return found


def _loaded(entry: EntryPoint) -> MakeNetwork:
    where = f"backbone {entry.name} ({entry.value})"
    try:
        make: MakeNetwork = entry.load()
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"{where}: must be importable, got {error}; repair or remove the package that declares "
            f"it"
        ) from None
    if not callable(make) or isinstance(make, nn.Module):
        raise UserError(
            f"{where}: must be a class or a function that makes a network, got {make!r:.60}; "
            f"repair or remove the package that declares it"
        )
    return make


def check_start(name: str, height: int, width: int, weights: str) -> None:
    """Raise a UserError if a training would start from weights that its result does not record.

    These are weights of its own that ``train_reid.weights`` does not name. "own" in turn must have
    them to name. Global random generators are not changed.
    """
    has_own = own_weights_sha256(name, height, width) is not None
    if weights == OWN_WEIGHTS and not has_own:
        raise UserError(
            f"train_reid.weights must be a file for backbone {name}, got {OWN_WEIGHTS!r}, which is "
            f"for a registered network with weights of its own; ./{OWN_WEIGHTS} names a file of "
            f"that name"
        )
    if has_own and not weights:
        raise UserError(
            f"backbone {name} must start from random weights, got the same for two seeds; to start "
            f'from these: train_reid.weights = "{OWN_WEIGHTS}"'
        )


def own_weights_sha256(name: str, height: int, width: int) -> str | None:
    """SHA-256 of the weights and buffers that a registered network is made with, whatever the seed.

    None if they vary with the seed, if there are none, and for a backbone that is not registered.
    Global random generators are not changed.
    """
    make = registered(name)
    if make is None:
        return None
    with torch.random.fork_rng(devices=[]):
        digests = {_made_sha256(make, height, width, seed) for seed in (0, 1)}
    return digests.pop() if len(digests) == 1 else None


def _made_sha256(make: MakeNetwork, height: int, width: int, seed: int) -> str | None:
    torch.manual_seed(seed)
    network, digest = make(height, width), hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)  # bytes need an axis
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest() if any(True for _ in network.parameters()) else None
