"""Two Inception networks for re-ID that torchreid does not have.

``InceptionV2`` is BN-Inception (Ioffe and Szegedy 2015, arXiv:1502.03167, table 1). Its parameters
have the names of the Caffe port, so that published weights can be loaded, and it converts its input
to the convention of that port: BGR, 0..255, mean subtracted.

``OpenReidInception`` is the small Inception of Open-ReID, the code base of the PATN paper's re-ID
experiment (meant for 144x56 images, trained from scratch). The paper calls its network
Inception-v2; it does not state which of the two networks that is.

Both take ImageNet-normalised RGB of any size, and follow torchreid's contract: in training mode
logits (B, classes), or (logits, features) if ``with_features`` is set; in eval mode features.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (104.0, 117.0, 128.0)  # BGR, of 0..255

# One row per block of table 1: 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, and the
# projection of the pool. A block that halves the size has no 1x1 and no projection.
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
MAX_POOLED = ("5b",)  # the other blocks project an average pool
LAST_HALVING = "4e"


class InceptionV2(nn.Module):
    """BN-Inception with a re-ID head: global average, then a classifier over 1024 features.

    It accepts any height and width of 32 pixels or more: the pools that halve the size round up, as
    in Caffe, and the parallel convolutions are padded to the same size.
    """

    mean: Tensor
    std: Tensor
    caffe: Tensor

    def __init__(self, classes: int, with_features: bool = False) -> None:
        super().__init__()
        self.with_features = with_features
        self.halving = {block for block, widths in INCEPTION_BLOCKS.items() if not widths[0]}
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

    def keep_size(self) -> None:
        """Set the stride of the last block that halves the size to 1."""
        self.halving.discard(LAST_HALVING)
        for branch in ("3x3", "double_3x3_2"):
            convolution = self.get_submodule(f"inception_{LAST_HALVING}_{branch}")
            assert isinstance(convolution, nn.Conv2d)
            convolution.stride = (1, 1)

    def add(self, name: str, channels: int, out: int, kernel: int, stride: int = 1) -> None:
        """Add a convolution and its norm, with the names of the Caffe port."""
        convolution = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        self.add_module(name, convolution)
        self.add_module(f"{name}_bn", nn.BatchNorm2d(out))

    def add_block(self, block: str, channels: int) -> int:
        """Add the convolutions of one block; returns its number of output channels."""
        one, reduce, three, double_reduce, double, pool = INCEPTION_BLOCKS[block]
        stride, name = (2 if block in self.halving else 1), f"inception_{block}"
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

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(B, 3, H, W) to logits (B, classes), features (B, 1024), or both."""
        x = self.apply_conv("conv1_7x7_s2", self.to_caffe(image))
        x = _halve(x)
        x = self.apply_conv("conv2_3x3", self.apply_conv("conv2_3x3_reduce", x))
        x = _halve(x)
        for block in INCEPTION_BLOCKS:
            x = self.apply_block(block, x)
        features = x.mean((2, 3))
        if not self.training:
            return features
        logits = self.classifier(features)
        return (logits, features) if self.with_features else logits

    def to_caffe(self, image: Tensor) -> Tensor:
        """ImageNet-normalised RGB to BGR in 0..255 with the mean subtracted."""
        return ((image * self.std + self.mean) * 255).flip(1) - self.caffe

    def apply_conv(self, name: str, x: Tensor) -> Tensor:
        """Apply the convolution of this name, its norm, and a ReLU."""
        return F.relu(self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)))

    def apply_block(self, block: str, x: Tensor) -> Tensor:
        """Apply the branches of a block: (B, C, h, w) to (B, C', h, w), or to half the size."""
        name, projects = f"inception_{block}", INCEPTION_BLOCKS[block][0] > 0
        three = self.apply_conv(f"{name}_3x3", self.apply_conv(f"{name}_3x3_reduce", x))
        double = self.apply_conv(f"{name}_double_3x3_reduce", x)
        double = self.apply_conv(f"{name}_double_3x3_1", double)
        double = self.apply_conv(f"{name}_double_3x3_2", double)
        if not projects:
            pooled = _halve(x) if block in self.halving else F.max_pool2d(x, 3, stride=1, padding=1)
            return torch.cat([three, double, pooled], 1)
        pool = F.max_pool2d if block in MAX_POOLED else F.avg_pool2d
        pooled = self.apply_conv(f"{name}_pool_proj", pool(x, 3, stride=1, padding=1))
        return torch.cat([self.apply_conv(f"{name}_1x1", x), three, double, pooled], 1)


def _halve(x: Tensor) -> Tensor:
    """3x3 max pool with stride 2, h -> ceil(h / 2): the size of a padded stride-2 convolution.

    For even sizes this is Caffe's pool, which rounds up; the missing last row is padded with the
    lowest finite value, which a maximum ignores.
    """
    low = torch.finfo(x.dtype).min
    return F.max_pool2d(F.pad(x, (0, 1 + x.shape[-1] % 2, 0, 1 + x.shape[-2] % 2), value=low), 3, 2)


class OpenReidInception(nn.Module):
    """Open-ReID's Inception: three convolutions, six blocks, an embedding of 128 features.

    A block has a branch of 1x1 and 3x3, a branch of 1x1, 3x3 and 3x3, and a pool. A block that
    keeps the size also has a branch of 1x1, and a 1x1 after its pool. Open-ReID ranks by the output
    of the classifier; here, as for every backbone, the features are its input.
    """

    def __init__(self, classes: int, with_features: bool = False) -> None:
        super().__init__()
        self.with_features = with_features
        stem = [_convolution(3, 32, 3), _convolution(32, 32, 3), _convolution(32, 32, 3)]
        layers: list[nn.Module] = [*stem, nn.MaxPool2d(2, 2, padding=1)]
        channels = 32
        for out in (64, 128, 256):
            layers += [_KeepingBlock(channels, out), _HalvingBlock(4 * out, out)]
            channels = 4 * out + 2 * out
        self.maps = nn.Sequential(*layers)
        self.embedding = nn.Linear(channels, 128)
        self.embedding_bn = nn.BatchNorm1d(128)
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(128, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.001)
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(B, 3, H, W) to logits (B, classes), features (B, 128), or both."""
        features = F.relu(self.embedding_bn(self.embedding(self.maps(image).mean((2, 3)))))
        if not self.training:
            return features
        logits = self.classifier(self.dropout(features))
        return (logits, features) if self.with_features else logits


class _KeepingBlock(nn.Module):
    """(B, C, h, w) to (B, 4 out, h, w)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        pool = nn.Sequential(nn.AvgPool2d(3, 1, padding=1), _convolution(channels, out, 1))
        one = _convolution(channels, out, 1)
        self.branches = nn.ModuleList([*_three_branches(channels, out, 1), one, pool])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class _HalvingBlock(nn.Module):
    """(B, C, h, w) to (B, 2 out + C, ceil(h / 2), ceil(w / 2))."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        pool = nn.MaxPool2d(3, 2, padding=1)
        self.branches = nn.ModuleList([*_three_branches(channels, out, 2), pool])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _three_branches(channels: int, out: int, stride: int) -> list[nn.Module]:
    """A branch of 1x1 and 3x3, and a branch of 1x1, 3x3 and 3x3."""
    once = [_convolution(channels, out, 1), _convolution(out, out, 3, stride)]
    twice = [_convolution(channels, out, 1), _convolution(out, out, 3)]
    return [nn.Sequential(*once), nn.Sequential(*twice, _convolution(out, out, 3, stride))]


def _convolution(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Module:
    convolution = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))
