"""PATN: redraw a person in another pose (Zhu et al., CVPR 2019, arXiv:1904.03349).

Two streams of equal shape run side by side. The *image* stream carries what the person looks like;
the *pose* stream carries where the joints are and where they should go. In each block the pose
stream gates the image stream, then takes the new image in, so the person moves a little per block.

Where the paper's figure and the authors' code differ, this follows the code: no norm at the end of
a block's pose path, a mask per channel and pixel, and the raw pose code (not the mask) handed on.

Beyond the paper, a generator can be told cameras: which one took the image, and which one the
drawing is for. Each camera then has its own scale and shift of every channel behind every norm of
what reads the source (the camera is taken out) and of the decoder (the other is put in).

Also beyond it, a generator can be shown limbs: those of the source, cut out and moved to the target
pose (:mod:`reid_aug.limb_warp`). A third encoder reads them. What it finds joins the image's code
before the first block, and the decoder at every size. The decoder also says, for every pixel and
colour, how much of the limbs themselves to lay under its drawing. So stripes, prints and rare
colours need not pass through the narrow middle.

Shapes: B batch, K joints, H x W pixels, h x w after the encoder, C channels there (256 by default).

A checkpoint is one safetensors file: the tensors, and in the metadata ``format``, ``config`` and
whatever the caller notes (recipe, seed, step, what it was trained on), each as JSON.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reid_aug.errors import UserError, require_at_least
from reid_aug.files import sha256
from reid_aug.limb_warp import warp_limbs
from reid_aug.poses import heatmaps
from reid_aug.weights import read_tensors, read_weights, write_tensors

FORMAT = "reid_aug.generator/1"
NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
OFFICIAL = {  # our modules, and what the authors' released files call them
    "encode_image.": "model.stream1_down.",
    "encode_pose.": "model.stream2_down.",
    "blocks.": "model.att.",
    ".image.": ".conv_block_stream1.",
    ".pose.": ".conv_block_stream2.",
    "decode.": "model.stream1_up.",
}


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Everything needed to rebuild a generator; the defaults are the paper's for Market-1501.

    ``width`` counts the channels after the first convolution; each of the ``downsamplings`` halves
    the picture and doubles them. ``norm`` is "batch" for Market-1501, "instance" for DeepFashion.
    ``cameras`` is how many cameras the generator is told apart, camids 1 to this; 0: none, as in
    the paper. ``limbs`` says whether it is shown the source's limbs in the target pose.
    """

    joints: int = 18
    width: int = 64
    downsamplings: int = 2
    blocks: int = 9
    norm: str = "batch"
    dropout: float = 0.5
    cameras: int = 0
    limbs: bool = False

    def __post_init__(self) -> None:
        check_norm(self.norm)
        require_at_least(self, 1, "joints", "width", "downsamplings", "blocks")
        require_at_least(self, 0, "cameras")
        check_dropout(self.dropout)


def check_norm(norm: str) -> None:
    """Raise a UserError unless ``norm`` is one that we build."""
    if norm not in NORMS:
        raise UserError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")


def check_dropout(dropout: float) -> None:
    """Raise a UserError unless ``dropout`` is a probability below 1."""
    if not 0 <= dropout < 1:
        raise UserError(f"dropout must be at least 0 and below 1, got {dropout}")


class Generator(nn.Module):
    """Map (image, source pose, target pose) to the image in the target pose."""

    def __init__(self, config: GeneratorConfig = GeneratorConfig()) -> None:
        super().__init__()
        self.config = config
        inner = config.width * 2**config.downsamplings
        self.encode_image = encoder(3, config.width, config.downsamplings, config.norm)
        self.encode_pose = encoder(
            2 * config.joints, config.width, config.downsamplings, config.norm
        )
        self.blocks = nn.ModuleList(
            PoseAttention(inner, inner if i == 0 else 2 * inner, config)
            for i in range(config.blocks)
        )
        self.decode = decoder(config)
        self.encode_limbs = nn.Sequential()
        if config.limbs:
            self.encode_limbs = encoder(4, config.width, config.downsamplings, config.norm)
        self.leave_camera = camera_styles(self.encode_image, config.cameras)
        self.leave_camera_limbs = camera_styles(self.encode_limbs, config.cameras)
        self.enter_camera = camera_styles(self.decode, config.cameras)

    def forward(
        self,
        image: Tensor,
        source: Tensor,
        target: Tensor,
        cameras: Tensor | None = None,
        limbs: Tensor | None = None,
    ) -> Tensor:
        """Redraw ``image`` in the ``target`` pose.

        Args:
            image: (B, 3, H, W) in [-1, 1]; H and W divisible by 2**downsamplings.
            source: (B, K, H, W) heatmaps of the pose that ``image`` shows.
            target: (B, K, H, W) heatmaps of the pose to draw.
            cameras: (B, 2) int64, the camid that took ``image`` and the one to draw for; for a
                generator that is told cameras only.
            limbs: (B, 4, H, W), the moved limbs and how much of a pixel they cover; for a
                generator that is shown limbs only.

        Returns:
            (B, 3, H, W) in [-1, 1].

        Raises:
            UserError: If the sides do not fit, or the camids, or the limbs are missing.
        """
        step = 2**self.config.downsamplings
        if image.shape[-2] % step or image.shape[-1] % step:
            size = f"{image.shape[-2]}x{image.shape[-1]}"
            raise UserError(f"image height and width must be multiples of {step}, got {size}")
        taken, drawn = self._camera_numbers(cameras)
        look = encode(self.encode_image, self.leave_camera, image, taken)[-1]  # (B, C, h, w)
        details = self._details(limbs, taken)
        if details:
            look = look + details.pop()
        pose = self.encode_pose(torch.cat([source, target], 1))  # (B, C, h, w)
        for block in self.blocks[:-1]:
            look, pose = block(look, pose)
            pose = torch.cat([pose, look], 1)  # (B, 2C, h, w)
        look, _ = self.blocks[-1](look, pose)
        picture = decode(self.decode, self.enter_camera, look, drawn, details)  # (B, 3 or 6, H, W)
        if limbs is not None and self.config.limbs:
            picture, gain = picture.chunk(2, 1)
            picture = picture + (1 + gain) * limbs[:, :3]
        return torch.tanh(picture)

    def redraw(
        self,
        image: Tensor,
        source: Tensor,
        target: Tensor,
        cameras: Tensor | None = None,
    ) -> Tensor:
        """As :meth:`forward`, from key points (B, 18, 2) in pixels, NaN where unseen."""
        size, limbs = image.shape[-2:], None
        with torch.autocast(image.device.type, enabled=False):  # places need whole precision
            maps = heatmaps(source, *size), heatmaps(target, *size)
            if self.config.limbs:
                limbs = torch.cat(warp_limbs(image, source, target), 1)
        return self(image, *maps, cameras, limbs)

    def _details(self, limbs: Tensor | None, taken: Tensor | None) -> list[Tensor]:
        """The code of the limbs at every size, fine to coarse; none for a generator without."""
        if not self.config.limbs:
            return []
        if limbs is None:
            raise UserError("this generator is shown limbs: it needs those of the source, moved")
        return encode(self.encode_limbs, self.leave_camera_limbs, limbs, taken)

    def _camera_numbers(self, cameras: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """The two cameras of each row, counted from 0; None where the generator is told none."""
        last = self.config.cameras
        if not last:
            return None, None
        if cameras is None:
            raise UserError("this generator is told cameras: it needs those of image and drawing")
        low, high = cameras.aminmax()
        if low < 1 or high > last:
            strange = int(low) if low < 1 else int(high)
            raise UserError(f"this generator knows the camids 1 to {last}, got {strange}")
        return cameras[:, 0] - 1, cameras[:, 1] - 1


class CameraStyle(nn.Module):
    """A scale and a shift of every channel for each camera; none at first."""

    def __init__(self, cameras: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Embedding(cameras, channels)
        self.shift = nn.Embedding(cameras, channels)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, code: Tensor, camera: Tensor) -> Tensor:
        """(B, C, h, w) and (B,) camera numbers from 0 to (B, C, h, w)."""
        scale, shift = self.scale(camera), self.shift(camera)
        return code * (1 + scale[:, :, None, None]) + shift[:, :, None, None]


def initialise(generator: Generator) -> None:
    """Convolutions N(0, 0.02), batch-norm scales N(1, 0.02): as published."""
    for module in generator.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)


def camera_styles(layers: nn.Sequential, cameras: int) -> nn.ModuleList:
    """One style behind every norm of ``layers``; none without cameras."""
    norms = (layer for layer in layers if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d))
    return nn.ModuleList(CameraStyle(cameras, norm.num_features) for norm in norms if cameras)


def encode(
    layers: nn.Sequential, styles: nn.ModuleList, picture: Tensor, camera: Tensor | None
) -> list[Tensor]:
    """The code of ``picture`` at every size, fine to coarse, each camera's style behind norms."""
    waiting, found = iter(styles), []
    for layer in layers:
        picture = styled(layer, waiting, picture, camera)
        if isinstance(layer, nn.ReLU):
            found.append(picture)
    return found


def decode(
    layers: nn.Sequential,
    styles: nn.ModuleList,
    code: Tensor,
    camera: Tensor | None,
    details: Iterable[Tensor] = (),
) -> Tensor:
    """The picture of a code; ``details``, fine to coarse, join it where their size is reached."""
    waiting, details = iter(styles), list(details)
    for layer in layers:
        code = styled(layer, waiting, code, camera)
        if isinstance(layer, nn.ConvTranspose2d) and details:
            code = code + details.pop()
    return code


def styled(
    layer: nn.Module, styles: Iterator[nn.Module], code: Tensor, camera: Tensor | None
) -> Tensor:
    """Run a layer; behind a norm the next style too, of each row's camera, if there are cameras."""
    code = layer(code)
    is_norm = isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d)
    return next(styles)(code, camera) if is_norm and camera is not None else code


class PoseAttention(nn.Module):
    """One step of the transfer (PATB): the pose code gates the change of the image."""

    def __init__(self, channels: int, pose_channels: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.image = nn.Sequential(
            *conv3(channels, channels, config.norm),
            nn.Dropout(config.dropout),
            *conv3(channels, channels, config.norm, activation=False),
        )
        biased = has_bias(config.norm)
        self.pose = nn.Sequential(
            *conv3(pose_channels, pose_channels, config.norm),
            nn.Dropout(config.dropout),
            nn.ReflectionPad2d(1),
            nn.Conv2d(pose_channels, channels, 3, bias=biased),
        )

    def forward(self, image: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) and (B, C or 2C, h, w) to the new image code and pose code, (B, C, h, w)."""
        pose = self.pose(pose)
        return image + torch.sigmoid(pose) * self.image(image), pose


def encoder(channels: int, width: int, downsamplings: int, norm: str) -> nn.Sequential:
    """(B, channels, H, W) -> (B, width * 2**n, H / 2**n, W / 2**n) for n downsamplings."""
    biased = has_bias(norm)
    layers: list[nn.Module] = [
        nn.ReflectionPad2d(3),
        nn.Conv2d(channels, width, 7, bias=biased),
        *norm_relu(width, norm),
    ]
    for _ in range(downsamplings):
        layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=biased)]
        layers += norm_relu(2 * width, norm)
        width *= 2
    return nn.Sequential(*layers)


def decoder(config: GeneratorConfig) -> nn.Sequential:
    """(B, C, h, w) -> (B, 3, H, W), a picture before its tanh; with limbs 3 more channels."""
    width, biased = config.width * 2**config.downsamplings, has_bias(config.norm)
    layers: list[nn.Module] = []
    for _ in range(config.downsamplings):
        layers += [
            nn.ConvTranspose2d(
                width, width // 2, 3, stride=2, padding=1, output_padding=1, bias=biased
            ),
            *norm_relu(width // 2, config.norm),
        ]
        width //= 2
    channels = 6 if config.limbs else 3
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7))


def conv3(channels: int, out: int, norm: str, activation: bool = True) -> list[nn.Module]:
    """3x3 convolution over a reflected border, norm, and ReLU where asked for."""
    layers = norm_relu(out, norm)
    return [
        nn.ReflectionPad2d(1),
        nn.Conv2d(channels, out, 3, bias=has_bias(norm)),
        *(layers if activation else layers[:1]),
    ]


def norm_relu(channels: int, norm: str) -> list[nn.Module]:
    """The norm by its name, then ReLU."""
    return [NORMS[norm](channels), nn.ReLU(inplace=True)]


def has_bias(norm: str) -> bool:
    """Batch norm has its own shift, so a bias before it would be dead weight."""
    return norm != "batch"


def to_signed(pixels: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 pixels to (B, 3, H, W) float in [-1, 1], channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(image: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1] to (B, H, W, 3) uint8 pixels, rounded."""
    return ((image.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)


def save_generator(
    generator: Generator, path: Path | str, notes: Mapping[str, Any] | None = None
) -> None:
    """Write a checkpoint that says what it is; ``notes`` join its metadata as JSON."""
    head = {"format": FORMAT, "config": asdict(generator.config)}
    write_tensors(path, generator.state_dict(), {**(notes or {}), **head})


def load_generator(path: Path | str) -> Generator:
    """Read a checkpoint: the generator, in eval mode, on the CPU.

    Raises:
        UserError: If the file is missing or is no generator checkpoint of ours.
    """
    return load_noted(path)[0]


def load_noted(path: Path | str) -> tuple[Generator, dict[str, Any]]:
    """Read a checkpoint and what is noted in its metadata."""
    if not Path(path).is_file():
        raise UserError(f"{path} is missing; make it with: reid-aug train-generator")
    tensors, notes = read_tensors(path)
    if notes.get("format") != FORMAT:
        raise UserError(
            f"{path}: must be a generator checkpoint ({FORMAT}), got {notes.get('format')!r}; "
            f"convert released weights with: reid-aug generator import"
        )
    try:
        generator = Generator(GeneratorConfig(**notes["config"]))
        generator.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError, UserError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: must hold a config and its tensors, got {reason}") from None
    return generator.eval(), notes


def import_official(path: Path | str) -> Generator:
    """Read a generator released by the PATN authors (``latest_net_netG.pth``), in eval mode.

    The config is inferred from the shapes. Files of PyTorch 0.3 carry running statistics under
    instance norm, which that version did not use; they are left out.

    Raises:
        UserError: If the tensors are not those of a PATN generator.
    """
    state = read_weights(path)
    config = _infer_config(state, path)
    generator = Generator(config)
    load_official(generator, state, OFFICIAL, path)
    return generator.eval()


def import_checkpoint(official: Path | str, path: Path) -> GeneratorConfig:
    """Write a released generator as a checkpoint of ours; what it is.

    Nobody noted which images it has seen, which counts as the worst.

    Raises:
        UserError: If it is no released generator, or ``path`` holds another one.
    """
    generator = import_official(official)
    notes = {"imported": {"file": Path(official).name, "sha256": sha256(official)}, "seen": ""}
    if path.exists():
        if load_noted(path)[1].get("imported") != notes["imported"]:
            raise UserError(
                f"{path}: is there already and is another generator; choose another folder with "
                f"--out, or remove the file"
            )
        return generator.config
    save_generator(generator, path, notes)
    return generator.config


def load_official(
    network: nn.Module, state: Mapping[str, Tensor], names: Mapping[str, str], path: Path | str
) -> None:
    """Copy ``state``, whose tensors have the authors' names, into ``network``."""
    renamed = {}
    for name in network.state_dict():
        official = name
        for ours, theirs in names.items():
            official = official.replace(ours, theirs)
        if official in state:
            renamed[name] = state[official]
    missing = [
        name
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
        and (name not in renamed or renamed[name].shape != tensor.shape)
    ]
    if missing:
        raise UserError(
            f"{path}: must hold the tensors of a released PATN network; "
            f"{len(missing)} are missing or of another shape, the first is {missing[0]}"
        )
    network.load_state_dict(renamed, strict=False)


def _infer_config(state: Mapping[str, Tensor], path: Path | str) -> GeneratorConfig:
    first, pose = "model.stream1_down.1.weight", "model.stream2_down.1.weight"
    if first not in state or pose not in state:
        raise UserError(f"{path}: must be a released PATN generator, got no tensor {first}")
    blocks = {name.split(".")[2] for name in state if name.startswith("model.att.")}
    downs = [
        name
        for name, tensor in state.items()
        if name.startswith("model.stream1_down.") and tensor.ndim == 4
    ]
    norm = "instance" if "model.stream1_down.1.bias" in state else "batch"
    return GeneratorConfig(
        joints=state[pose].shape[1] // 2,
        width=state[first].shape[0],
        downsamplings=len(downs) - 1,
        blocks=len(blocks),
        norm=norm,
    )
