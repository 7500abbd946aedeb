"""Re-ID networks: torchreid's by name, and BN-Inception, which torchreid does not have.

Every backbone follows torchreid's contract: in training mode it returns logits (B, classes), in
eval mode features (B, D). Weights never come from the network; :func:`load_starting_weights` takes
them from a path and says what it did not use.

BN-Inception ("Inception-v2", Ioffe and Szegedy 2015, arXiv:1502.03167, table 1) is one of the two
networks of the PATN paper's re-ID experiment. Its parameters have the names of the Caffe port, so
that published weights load, and its input convention is theirs too: BGR, 0..255, mean subtracted.
"""

import contextlib
import io
import warnings
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_aug.errors import UserError
from reid_aug.weights import read_weights

INCEPTION_V2 = "inception_v2"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (104.0, 117.0, 128.0)  # BGR, of 0..255

# One row a block of table 1: 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, pool projection.
# No 1x1 and no projection where the block halves the picture.
INCEPTION_BLOCKS = {
    "3a": (64, 64, 64, 64, 96, 32),
    "3b": (64, 64, 96, 64, 96, 64),
    "3c": (0, 128, 160, 64, 96, 0),
    "4a": (224, 64, 96, 96, 128, 128),
    "4b": (192, 96, 128, 96, 128, 128),
    "4c": (160, 128, 160, 128, 160, 128),
    "4d": (96, 128, 192, 160, 192, 128),
    "4e": (0, 128, 192, 192, 256, 0),
    "5a": (352, 192, 320, 160, 224, 128),
    "5b": (352, 192, 320, 192, 224, 128),
}
MAX_POOLED = ("5b",)  # the others project an average


def torchreid_library() -> ModuleType:
    """The torchreid package, imported when first needed: that takes seconds, and it warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Cython evaluation")
        import torchreid
    return torchreid


def backbone_names() -> list[str]:
    """Every name that :func:`build_backbone` takes, sorted."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        torchreid_library().models.show_avai_models()
    names = text.getvalue().strip().strip("[]").replace("'", "").split(", ")
    return sorted([*names, INCEPTION_V2])


def build_backbone(name: str, classes: int, height: int, width: int) -> nn.Module:
    """Build a network for ``classes`` identities, with fresh weights.

    They lie channels last, which is faster, wherever the network can work on pictures that do.

    Raises:
        UserError: If there is no such network, or it cannot take pictures of this size.
    """
    names = backbone_names()
    if name not in names:
        raise UserError(f"backbone must be one of {', '.join(names)}, got {name!r}")
    if name == INCEPTION_V2:
        model: nn.Module = InceptionV2(classes)
    else:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = torchreid_library().models.build_model(
                name, classes, loss="softmax", pretrained=False, use_gpu=False
            )
    if not _takes(model, height, width):
        fits = [size for size in ((256, 128), (160, 64), (299, 299)) if _takes(model, *size)]
        sizes = ", ".join(f"{high}x{wide}" for high, wide in fits)
        raise UserError(
            f"backbone {name} must get pictures of another size than {height}x{width}; "
            f"{f'{sizes} will do' if sizes else 'none of the usual sizes will do'}: "
            f"--set train_reid.height=... --set train_reid.width=..."
        )
    model.to(memory_format=torch.channels_last)
    if not _takes(model, height, width):  # it flattens a map of features by ``view``
        model.to(memory_format=torch.contiguous_format)
    return model


@torch.no_grad()
def _takes(model: nn.Module, height: int, width: int) -> bool:
    was_training = model.training
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            features = model.eval()(torch.zeros(1, 3, height, width))
    except (RuntimeError, AssertionError, ValueError):
        return False
    finally:
        model.train(was_training)
    return features.ndim == 2


def load_starting_weights(model: nn.Module, path: Path | str) -> str:
    """Load weights by name; the classifier (and torchreid's ``fc`` before it) may be missing.

    Returns:
        What was and was not loaded, in one line.

    Raises:
        UserError: If a tensor other than the classifier's is missing or has another shape.
    """
    own, state = model.state_dict(), read_weights(path)
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
    unused = len(state.keys() - fitting.keys())
    loaded = f"{len(fitting)} of {len(own)} tensors loaded"
    return f"{Path(path).name}: {loaded}, {unused} in the file unused"


class InceptionV2(nn.Module):
    """BN-Inception with a re-ID head: global average, then a classifier over 1024 features.

    Takes any height and width of 32 pixels or more: the pools that halve the picture round up, as
    in Caffe, and the convolutions beside them are padded to the same size.
    """

    mean: Tensor
    std: Tensor
    caffe: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.add("conv1_7x7_s2", 3, 64, 7, stride=2)
        self.add("conv2_3x3_reduce", 64, 64, 1)
        self.add("conv2_3x3", 64, 192, 3)
        channels = 192
        for block in INCEPTION_BLOCKS:
            channels = self.add_block(block, channels)
        self.classifier = nn.Linear(channels, classes)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.register_buffer("caffe", torch.tensor(CAFFE_MEAN).view(3, 1, 1), persistent=False)

    def add(self, name: str, channels: int, out: int, kernel: int, stride: int = 1) -> None:
        """Add a convolution and its norm under the Caffe port's names."""
        convolution = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        self.add_module(name, convolution)
        self.add_module(f"{name}_bn", nn.BatchNorm2d(out))

    def add_block(self, block: str, channels: int) -> int:
        """Add the convolutions of one block; the number of channels that leave it."""
        one, reduce, three, double_reduce, double, pool = INCEPTION_BLOCKS[block]
        stride, name = (1 if one else 2), f"inception_{block}"
        if one:
            self.add(f"{name}_1x1", channels, one, 1)
        self.add(f"{name}_3x3_reduce", channels, reduce, 1)
        self.add(f"{name}_3x3", reduce, three, 3, stride)
        self.add(f"{name}_double_3x3_reduce", channels, double_reduce, 1)
        self.add(f"{name}_double_3x3_1", double_reduce, double, 3)
        self.add(f"{name}_double_3x3_2", double, double, 3, stride)
        if pool:
            self.add(f"{name}_pool_proj", channels, pool, 1)
        return one + three + double + (pool or channels)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W), ImageNet-normalised RGB, to logits in training, features in eval mode."""
        x = self.apply_conv("conv1_7x7_s2", self.to_caffe(image))
        x = _halve(x)
        x = self.apply_conv("conv2_3x3", self.apply_conv("conv2_3x3_reduce", x))
        x = _halve(x)
        for block in INCEPTION_BLOCKS:
            x = self.apply_block(block, x)
        features = x.mean((2, 3))
        return self.classifier(features) if self.training else features

    def to_caffe(self, image: Tensor) -> Tensor:
        """ImageNet-normalised RGB to BGR in 0..255 with the mean taken off."""
        return ((image * self.std + self.mean) * 255).flip(1) - self.caffe

    def apply_conv(self, name: str, x: Tensor) -> Tensor:
        """Convolution, norm, ReLU."""
        return F.relu(self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)))

    def apply_block(self, block: str, x: Tensor) -> Tensor:
        """The branches of one block side by side: (B, C, h, w) to (B, C', h, w) or half of it."""
        name, keeps_size = f"inception_{block}", INCEPTION_BLOCKS[block][0] > 0
        three = self.apply_conv(f"{name}_3x3", self.apply_conv(f"{name}_3x3_reduce", x))
        double = self.apply_conv(f"{name}_double_3x3_reduce", x)
        double = self.apply_conv(f"{name}_double_3x3_1", double)
        double = self.apply_conv(f"{name}_double_3x3_2", double)
        if not keeps_size:
            return torch.cat([three, double, _halve(x)], 1)
        pool = F.max_pool2d if block in MAX_POOLED else F.avg_pool2d
        pooled = self.apply_conv(f"{name}_pool_proj", pool(x, 3, stride=1, padding=1))
        return torch.cat([self.apply_conv(f"{name}_1x1", x), three, double, pooled], 1)


def _halve(x: Tensor) -> Tensor:
    """3x3 max pool with stride 2, h -> ceil(h / 2): the size a padded stride-2 convolution gives.

    On even sizes this is Caffe's pool that rounds up; a missing last row is padded with what a
    maximum ignores.
    """
    low = torch.finfo(x.dtype).min
    return F.max_pool2d(F.pad(x, (0, 1 + x.shape[-1] % 2, 0, 1 + x.shape[-2] % 2), value=low), 3, 2)
