"""Networks of timm by name, as "timm:vit_small_patch16_224".

A network is made with random weights and without its classifier; nothing is downloaded. It gets the
size of the images if it depends on it, as a vision transformer does, and images normalised as its
published weights expect them. These are read from a file by timm's own names. A tag after the name,
as in "timm:vit_base_patch16_clip_224.openai", selects the weights whose normalisation is used.
"""

import contextlib
import sys
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from reid_aug.backbones.feature_networks import FeatureBackbone, Renormalised, State
from reid_aug.backbones.inceptions import IMAGENET_MEAN, IMAGENET_STD
from reid_aug.runtime.errors import UserError

TIMM = "timm:"  # the beginning of the names of its networks
OTHER_WEIGHTS = (LookupError, AttributeError, RuntimeError, TypeError, ValueError)
Filter = Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]]


@cache
def timm_library() -> ModuleType:
    """Return timm.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise UserError(
            f"a backbone {TIMM}NAME needs the package timm ({error}); install it with: "
            f'pip install "reid-aug[timm]"'
        ) from None
    result: ModuleType = timm
    return result


def check_timm_name(name: str) -> None:
    """Raise a UserError unless timm has a network ``name``, with or without a tag."""
    timm = timm_library()
    if name in timm.list_models() or name in timm.list_models(include_tags=True):
        return
    plain, _, tag = name.partition(".")
    known = timm.list_models(f"{plain}.*", include_tags=True) if tag else []
    near = get_close_matches(name, known or timm.list_models(), n=1)
    meant = f"did you mean {TIMM}{near[0]}?" if near else "timm.list_models() lists them"
    raise UserError(
        f"backbone {TIMM}NAME must be a network of timm {timm.__version__}, got {name!r}; {meant}"
    )


def make_timm_network(name: str, height: int, width: int) -> nn.Module:
    """The network for images of a size, which maps them to features (B, D).

    Raises:
        UserError: If there is no such network.
        ValueError, RuntimeError, AssertionError: If the network does not support the size.
    """
    check_timm_name(name)
    make = partial(timm_library().create_model, name, pretrained=False, num_classes=0)
    try:
        result: nn.Module = make(img_size=(height, width))
    except TypeError:  # a network that does not depend on the size has no such argument
        result = make()
    return result


def own_size(name: str) -> tuple[int, int]:
    """The (height, width) of the images of a network's published weights, in pixels."""
    check_timm_name(name)
    _, height, width = timm_library().models.get_pretrained_cfg(name).input_size
    return height, width


def timm_backbone(body: Any, size: int, classes: int, with_features: bool) -> FeatureBackbone:
    """A network of timm with D = ``size`` features, as a backbone."""
    config = body.pretrained_cfg
    mean, std = tuple(config["mean"]), tuple(config["std"])
    is_usual = (mean, std) == (IMAGENET_MEAN, IMAGENET_STD)
    before = None if is_usual else Renormalised(mean, std)
    own = partial(_converted, body)
    return FeatureBackbone(body, size, classes, with_features, before, own)


def _converted(body: nn.Module, state: State) -> State:
    """Published weights with the names and shapes of ``body``: position embeddings are resampled.

    The function that does so is part of the module of a network, if one is needed.
    """
    convert: Filter | None = getattr(
        sys.modules[type(body).__module__], "checkpoint_filter_fn", None
    )
    with torch.no_grad(), contextlib.suppress(*OTHER_WEIGHTS):
        return convert(dict(state), body) if convert else state
    return state  # of another network: loading it names what is missing
