"""The weights that the authors of PATN released, converted to this network.

Their files are state dicts with their own module names and without a config, which is inferred from
the names and shapes. Files of PyTorch 0.3 contain running statistics of instance norm, which that
version did not use even in eval mode; they are dropped. Files of DataParallel have a prefix, which
:mod:`reid_aug.runtime.weights` removes.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from reid_aug.data.keypoints import HEATMAP_SIGMA
from reid_aug.generator.checkpoint import load_with_metadata, save_generator
from reid_aug.generator.config import GeneratorConfig
from reid_aug.generator.network import Generator
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.weights import read_weights

OFFICIAL = {  # names of modules here: names in the authors' files
    "encode_image.": "model.stream1_down.",
    "encode_pose.": "model.stream2_down.",
    "blocks.": "model.att.",
    ".image.": ".conv_block_stream1.",
    ".pose.": ".conv_block_stream2.",
    "decode.": "model.stream1_up.",
}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def import_official(path: Path | str) -> Generator:
    """Return a generator that the PATN authors released (``latest_net_netG.pth``), in eval mode.

    The config is inferred from the shapes. A network with instance norm was trained on DeepFashion,
    whose published heatmaps have one pixel per joint.

    Raises:
        UserError: If the tensors are not those of a PATN generator.
    """
    state = read_weights(path)
    config = _infer_config(state, path)
    generator = Generator(config)
    load_official(generator, state, OFFICIAL, path)
    return generator.eval()


def import_checkpoint(official: Path | str, path: Path) -> GeneratorConfig:
    """Write a released generator as a checkpoint of this package; returns its config.

    Its training images are unknown, so ``trained_on`` is empty, which counts as the worst leak
    status. An equal checkpoint at ``path`` is kept.

    Raises:
        UserError: If the file is not a released generator, or ``path`` is another generator.
    """
    generator = import_official(official)
    notes = {
        "imported": {"file": Path(official).name, "sha256": sha256(official)},
        "trained_on": "",
    }
    if path.exists():
        if load_with_metadata(path)[1].get("imported") != notes["imported"]:
            raise UserError(
                f"{path}: must be missing or the same generator, got another one; choose another "
                f"folder with --out, or remove the file"
            )
        return generator.config
    save_generator(generator, path, notes)
    return generator.config


def load_official(
    network: nn.Module, state: Mapping[str, Tensor], names: Mapping[str, str], path: Path | str
) -> None:
    """Copy ``state``, whose tensors have the authors' names, into ``network``.

    Args:
        names: parts of tensor names here, and the authors' names for them.
        path: the file of ``state``, for error messages.

    Raises:
        UserError: If a tensor is missing, has another shape, or is unexpected.
    """
    official = {}
    for name in network.state_dict():
        official_name = name
        for part, their_part in names.items():
            official_name = official_name.replace(part, their_part)
        official[name] = official_name
    renamed = {name: state[theirs] for name, theirs in official.items() if theirs in state}
    missing = [
        name
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
        and (name not in renamed or renamed[name].shape != tensor.shape)
    ]
    unexpected = [
        name
        for name in sorted(state.keys() - set(official.values()))
        if not name.endswith(STATISTICS)
    ]
    rule = f"{path}: must hold the tensors of a released PATN network"
    if missing:
        count = len(missing)
        raise UserError(
            f"{rule}; {count} are missing or of another shape, the first is {missing[0]}"
        )
    if unexpected:
        raise UserError(
            f"{rule} and no others, got {len(unexpected)}, the first is {unexpected[0]}"
        )
    network.load_state_dict(renamed, strict=False)


def first_convolution(state: Mapping[str, Tensor], name: str, path: Path | str) -> tuple[int, int]:
    """Return (output channels, input channels) of a released network's first 7x7 convolution.

    Raises:
        UserError: If the tensor ``name`` is missing or is not the kernel of a 7x7 convolution.
    """
    shape = tuple(state[name].shape) if name in state else None
    if shape is None or len(shape) != 4 or shape[2:] != (7, 7):
        found = "none" if shape is None else f"one of shape {shape}"
        rule = f"must be a released PATN network, whose {name} is a 7x7 convolution"
        raise UserError(f"{path}: {rule}; got {found}")
    return shape[0], shape[1]


def released_norm(state: Mapping[str, Tensor], convolution: str) -> str:
    """Return the norm after a convolution: "instance" if it has a bias, else "batch"."""
    return "instance" if f"{convolution}.bias" in state else "batch"


def _infer_config(state: Mapping[str, Tensor], path: Path | str) -> GeneratorConfig:
    image, pose = "model.stream1_down.1", "model.stream2_down.1"
    width, _ = first_convolution(state, f"{image}.weight", path)
    _, maps = first_convolution(state, f"{pose}.weight", path)
    blocks = {name.split(".")[2] for name in state if name.startswith("model.att.")}
    downs = [
        name
        for name, tensor in state.items()
        if name.startswith("model.stream1_down.") and tensor.ndim == 4
    ]
    norm = released_norm(state, image)
    sigma = (
        0.0 if norm == "instance" else HEATMAP_SIGMA
    )  # DeepFashion's maps were stored as integers
    try:
        return GeneratorConfig(maps // 2, width, len(downs) - 1, len(blocks), norm, sigma=sigma)
    except UserError as error:
        raise UserError(f"{path}: must be a released PATN generator; {error}") from None
