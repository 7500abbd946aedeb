import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reid_aug.data.keypoints import heatmaps
from reid_aug.generator import (
    CameraStyle,
    Generator,
    GeneratorConfig,
    PoseAttention,
    import_checkpoint,
    import_official,
    load_generator,
    load_with_metadata,
    save_generator,
    to_pixels,
    to_signed,
)
from reid_aug.generator.limb_warp import warp_limbs
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.weights import write_tensors

State = dict[str, Tensor]
ROUNDING = 1e-4  # of an image in [-1, 1]: processors sum a convolution in different orders
SMALL = GeneratorConfig(joints=5, width=4, downsamplings=2, blocks=3)
CONFIGS = [
    SMALL,
    GeneratorConfig(joints=5, width=4, downsamplings=2, blocks=3, norm="instance"),
    GeneratorConfig(joints=18, width=3, downsamplings=1, blocks=1),
    GeneratorConfig(joints=2, width=2, downsamplings=3, blocks=11, norm="instance"),
]


def norm_keys(key: str, channels: int, norm: str) -> dict[str, tuple[int, ...]]:
    if norm == "instance":
        return {}
    kinds = ("weight", "bias", "running_mean", "running_var")
    return {f"{key}.{kind}": (channels,) for kind in kinds}


def conv_keys(key: str, shape: tuple[int, ...], out: int, norm: str) -> dict[str, tuple[int, ...]]:
    bias = {f"{key}.bias": (out,)} if norm == "instance" else {}
    return {f"{key}.weight": shape, **bias}


def official_shapes(config: GeneratorConfig) -> dict[str, tuple[int, ...]]:
    norm, width, inner = config.norm, config.width, config.width * 2**config.downsamplings
    shapes: dict[str, tuple[int, ...]] = {}
    for stream, channels in (("stream1", 3), ("stream2", 2 * config.joints)):
        down = f"model.{stream}_down"
        shapes |= conv_keys(f"{down}.1", (width, channels, 7, 7), width, norm)
        shapes |= norm_keys(f"{down}.2", width, norm)
        for i in range(1, config.downsamplings + 1):
            out = width * 2**i
            shapes |= conv_keys(f"{down}.{3 * i + 1}", (out, out // 2, 3, 3), out, norm)
            shapes |= norm_keys(f"{down}.{3 * i + 2}", out, norm)
    for i in range(config.blocks):
        image, pose = f"model.att.{i}.conv_block_stream1", f"model.att.{i}.conv_block_stream2"
        wide = inner if i == 0 else 2 * inner
        shapes |= conv_keys(f"{image}.1", (inner, inner, 3, 3), inner, norm)
        shapes |= norm_keys(f"{image}.2", inner, norm)
        shapes |= conv_keys(f"{image}.6", (inner, inner, 3, 3), inner, norm)
        shapes |= norm_keys(f"{image}.7", inner, norm)
        shapes |= conv_keys(f"{pose}.1", (wide, wide, 3, 3), wide, norm)
        shapes |= norm_keys(f"{pose}.2", wide, norm)
        shapes |= conv_keys(f"{pose}.6", (inner, wide, 3, 3), inner, norm)
    for i in range(config.downsamplings):
        out = inner // 2 ** (i + 1)
        shapes |= conv_keys(f"model.stream1_up.{3 * i}", (2 * out, out, 3, 3), out, norm)
        shapes |= norm_keys(f"model.stream1_up.{3 * i + 1}", out, norm)
    last = f"model.stream1_up.{3 * config.downsamplings + 1}"
    return {**shapes, f"{last}.weight": (3, width, 7, 7), f"{last}.bias": (3,)}


def random_tensor(name: str, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    if name.endswith("running_var"):
        return torch.rand(shape, generator=rng) + 0.5
    fan_in = float(np.prod(shape[1:])) if len(shape) == 4 else 4.0
    return torch.randn(shape, generator=rng) * (2 / fan_in) ** 0.5


def random_official(config: GeneratorConfig) -> State:
    rng = torch.Generator().manual_seed(0)
    return {name: random_tensor(name, s, rng) for name, s in official_shapes(config).items()}


def published(config: GeneratorConfig) -> GeneratorConfig:
    """With instance norm, that of DeepFashion, the authors' heatmaps have one pixel per joint."""
    return replace(config, sigma=0.0) if config.norm == "instance" else config


def randomised(config: GeneratorConfig) -> Generator:
    rng = torch.Generator().manual_seed(1)
    generator = Generator(config).eval()
    for name, tensor in generator.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(random_tensor(name, tuple(tensor.shape), rng))
    return generator


def official_names(generator: Generator) -> State:
    renamed = {}
    for name, tensor in generator.state_dict().items():
        name = re.sub(r"^encode_image\.", "model.stream1_down.", name)
        name = re.sub(r"^encode_pose\.", "model.stream2_down.", name)
        name = re.sub(r"^blocks\.(\d+)\.image\.", r"model.att.\1.conv_block_stream1.", name)
        name = re.sub(r"^blocks\.(\d+)\.pose\.", r"model.att.\1.conv_block_stream2.", name)
        renamed[re.sub(r"^decode\.", "model.stream1_up.", name)] = tensor
    return renamed


def reflect(x: Tensor, pixels: int) -> Tensor:
    return F.pad(x, (pixels,) * 4, mode="reflect")


def conv(w: State, key: str, x: Tensor, **options: int) -> Tensor:
    return F.conv2d(x, w[f"{key}.weight"], w.get(f"{key}.bias"), **options)


def norm(w: State, key: str, x: Tensor, kind: str) -> Tensor:
    if kind == "instance":
        mean = x.mean((2, 3), keepdim=True)
        return (x - mean) / (((x - mean) ** 2).mean((2, 3), keepdim=True) + 1e-5).sqrt()
    kinds = ("weight", "bias", "running_mean", "running_var")
    gain, shift, mean, var = (w[f"{key}.{name}"][:, None, None] for name in kinds)
    return (x - mean) / (var + 1e-5).sqrt() * gain + shift


def naive_encoder(w: State, key: str, x: Tensor, config: GeneratorConfig) -> Tensor:
    x = norm(w, f"{key}.2", conv(w, f"{key}.1", reflect(x, 3)), config.norm).relu()
    for i in range(1, config.downsamplings + 1):
        x = conv(w, f"{key}.{3 * i + 1}", x, stride=2, padding=1)
        x = norm(w, f"{key}.{3 * i + 2}", x, config.norm).relu()
    return x


def naive_patn(
    w: State, config: GeneratorConfig, image: Tensor, source: Tensor, target: Tensor
) -> Tensor:
    appearance = naive_encoder(w, "model.stream1_down", image, config)
    pose = naive_encoder(w, "model.stream2_down", torch.cat([source, target], 1), config)
    for i in range(config.blocks):
        one, two = f"model.att.{i}.conv_block_stream1", f"model.att.{i}.conv_block_stream2"
        change = norm(
            w, f"{one}.2", conv(w, f"{one}.1", reflect(appearance, 1)), config.norm
        ).relu()
        change = norm(w, f"{one}.7", conv(w, f"{one}.6", reflect(change, 1)), config.norm)
        code = norm(w, f"{two}.2", conv(w, f"{two}.1", reflect(pose, 1)), config.norm).relu()
        code = conv(w, f"{two}.6", reflect(code, 1))
        appearance = appearance + change / (1 + torch.exp(-code))
        pose = torch.cat([code, appearance], 1)
    for i in range(config.downsamplings):
        up = f"model.stream1_up.{3 * i}"
        weight, bias = w[f"{up}.weight"], w.get(f"{up}.bias")
        appearance = F.conv_transpose2d(
            appearance, weight, bias, stride=2, padding=1, output_padding=1
        )
        appearance = norm(w, f"model.stream1_up.{3 * i + 1}", appearance, config.norm).relu()
    last = f"model.stream1_up.{3 * config.downsamplings + 1}"
    return torch.tanh(conv(w, last, reflect(appearance, 3)))


def inputs(config: GeneratorConfig, height: int = 32, width: int = 16) -> tuple[Tensor, ...]:
    rng = torch.Generator().manual_seed(2)
    image = torch.rand(2, 3, height, width, generator=rng) * 2 - 1
    source, target = torch.rand(2, 2, config.joints, height, width, generator=rng)
    return image, source, target


def assert_equals_naive(generator: Generator, state: State) -> None:
    batch = [part.double() for part in inputs(generator.config)]
    doubled = {name: tensor.double() for name, tensor in state.items()}

    with torch.no_grad():
        got = generator.double()(*batch)

    expected = naive_patn(doubled, generator.config, *batch)
    assert expected.std() > 0.05
    torch.testing.assert_close(got, expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    ("norm", "blocks", "expected"),
    [
        ("batch", 9, 41_365_763),
        ("instance", 9, 41_358_019),
        ("batch", 5, 22_483_203),
        ("batch", 13, 60_248_323),
    ],
)
def test_number_of_parameters_is_the_published_one(norm, blocks, expected):
    with torch.device("meta"):
        generator = Generator(GeneratorConfig(norm=norm, blocks=blocks))

    assert sum(parameter.numel() for parameter in generator.parameters()) == expected


def test_modules_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        generator = Generator()

    counts = {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in generator.named_children()
        if list(part.parameters())
    }
    expected = {"encode_image": 378_944, "encode_pose": 482_432}
    assert counts == {**expected, "blocks": 40_125_952, "decode": 378_435}


def test_default_config_is_that_of_the_paper_for_market1501():
    config = GeneratorConfig()

    assert config == GeneratorConfig(18, 64, 2, 9, "batch", 0.5)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_output_has_the_shape_of_the_image_and_lies_between_minus_one_and_one(config):
    image, source, target = inputs(config, 24, 40)

    output = randomised(config)(10 * image, source, target)

    assert output.shape == image.shape
    assert output.abs().max() <= 1


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_forward_is_that_of_a_naive_network_with_the_same_tensors(config):
    generator = randomised(config)

    assert_equals_naive(generator, official_names(generator))


def test_block_returns_the_raw_pose_code_and_gates_the_image_with_its_sigmoid():
    torch.manual_seed(0)
    block = PoseAttention(8, 16, SMALL).eval()
    appearance, pose = torch.randn(2, 8, 6, 6), 10 * torch.randn(2, 16, 6, 6)

    new_appearance, code = block(appearance, pose)

    assert code.min() < 0
    assert code.max() > 1
    torch.testing.assert_close(code, block.pose(pose))
    torch.testing.assert_close(
        new_appearance, appearance + code.sigmoid() * block.image(appearance)
    )


def test_dropout_is_active_in_training_mode_only():
    generator, batch = randomised(CONFIGS[1]), inputs(CONFIGS[1])

    assert torch.equal(generator(*batch), generator(*batch))
    generator.train()
    assert not torch.equal(generator(*batch), generator(*batch))


def test_source_pose_comes_before_target_pose():
    generator = randomised(SMALL)
    image, source, target = inputs(SMALL)
    with torch.no_grad():
        generator.encode_pose[1].weight[:, : SMALL.joints] = 0

    output = generator(image, source, target)

    assert torch.equal(generator(image, source + 1, target), output)
    assert not torch.allclose(generator(image, source, target + 1), output)


def camera_conditioned(limbs: bool = False) -> Generator:
    """A generator of three cameras that all differ."""
    generator = randomised(replace(SMALL, cameras=3, limbs=limbs))
    rng = torch.Generator().manual_seed(1)
    for name, parameter in generator.named_parameters():
        if "_camera" in name:
            parameter.data = torch.randn(parameter.shape, generator=rng)
    return generator


def test_initial_camera_styles_change_nothing():
    generator, plain = Generator(replace(SMALL, cameras=3)).eval(), Generator(SMALL).eval()
    plain.load_state_dict({k: v for k, v in generator.state_dict().items() if "_camera" not in k})

    batch = inputs(SMALL)

    cameras = torch.tensor([[1, 3]]).expand(len(batch[0]), 2)
    assert torch.equal(generator(*batch, cameras), plain(*batch))


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_every_norm_of_image_encoder_and_decoder_has_a_style(norm):
    generator = Generator(replace(SMALL, norm=norm, cameras=3, limbs=True))

    for styles in (generator.leave_camera, generator.leave_camera_limbs):
        assert [style.scale.weight.shape for style in styles] == [(3, 4), (3, 8), (3, 16)]
    assert [style.shift.weight.shape for style in generator.enter_camera] == [(3, 8), (3, 4)]


@pytest.mark.parametrize(
    ("part", "column"), [("leave_camera", 0), ("leave_camera_limbs", 0), ("enter_camera", 1)]
)
def test_a_style_changes_only_the_images_of_its_camera(part, column):
    generator, batch = camera_conditioned(limbs=True), inputs(SMALL)
    cameras = torch.ones(len(batch[0]), 2, dtype=torch.int64)
    cameras[0, column] = 2
    limbs = torch.randn(len(batch[0]), 4, *batch[0].shape[-2:])
    before = generator(*batch, cameras, limbs)

    for style in getattr(generator, part):
        style.scale.weight.data[1] += 1.0  # camid 2

    after = generator(*batch, cameras, limbs)
    assert not torch.allclose(after[0], before[0])
    assert torch.equal(after[1:], before[1:])


def test_a_style_scales_and_shifts_channels():
    style, code = CameraStyle(2, 3), torch.rand(2, 3, 4, 4)
    style.scale.weight.data[1], style.shift.weight.data[1] = torch.arange(3.0), torch.ones(3)

    out = style(code, torch.tensor([0, 1]))

    assert torch.equal(out[0], code[0])
    for channel in range(3):
        torch.testing.assert_close(out[1, channel], code[1, channel] * (1 + channel) + 1)


@pytest.mark.parametrize(
    ("camids", "message"),
    [
        (None, "cameras must be the camids of source and generated image"),
        ([[0, 1]], "camids must be in 1\\.\\.3, the cameras of this generator, got 0"),
        ([[1, 4]], "camids must be in 1\\.\\.3, the cameras of this generator, got 4"),
    ],
)
def test_cameras_outside_the_condition_of_a_generator_are_refused(camids, message):
    cameras = None if camids is None else torch.tensor(camids)

    with pytest.raises(UserError, match=message):
        camera_conditioned()(*inputs(SMALL), cameras)


LIMB_CONDITIONED = replace(SMALL, joints=18, cameras=3, limbs=True)


def poses(batch: int = 2, height: int = 16, width: int = 16) -> tuple[Tensor, Tensor]:
    """Keypoints of two poses with all joints seen, (B, 18, 2) each."""
    rng = torch.Generator().manual_seed(2)
    source, target = torch.rand(2, batch, 18, 2, generator=rng) * torch.tensor([width, height])
    return source, target


@pytest.mark.parametrize("sigma", [6.0, 2.0, 0.0])
def test_repose_equals_forward_from_keypoints(sigma):
    plain, image = randomised(replace(SMALL, joints=18, sigma=sigma)), inputs(SMALL)[0]
    size, (source, target) = image.shape[-2:], poses()

    generated = plain.repose(image, source, target)

    maps = [heatmaps(xy, *size, sigma) for xy in (source, target)]
    assert torch.equal(generated, plain(image, *maps))


def test_repose_passes_the_limbs_to_a_limb_conditioned_generator():
    generator, image = randomised(LIMB_CONDITIONED), inputs(SMALL)[0]
    size, (source, target), cameras = image.shape[-2:], poses(), torch.tensor([[1, 2], [3, 1]])
    maps = heatmaps(source, *size), heatmaps(target, *size)
    limbs = torch.cat(warp_limbs(image, source, target), 1)

    generated = generator.repose(image, source, target, cameras)

    assert torch.equal(generated, generator(image, *maps, cameras, limbs))
    assert not torch.allclose(generated, generator(image, *maps, cameras, limbs.flip(0)))
    with pytest.raises(UserError, match="limbs must be the moved limbs of the source"):
        generator(image, *maps, cameras)


def test_limbs_are_added_with_the_weight_that_the_decoder_returns():
    generator, (source, target) = randomised(LIMB_CONDITIONED), poses()
    image, cameras = inputs(SMALL)[0], torch.ones(2, 2, dtype=torch.int64)
    last = generator.decode[-1]
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor([0.1, 0.2, 0.3, -1.0, -0.5, 0.0]))
    moved = warp_limbs(image, source, target)[0]

    generated = generator.repose(image, source, target, cameras)

    kept = moved * torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1)
    assert torch.allclose(generated, (kept + torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)).tanh())


def test_limbs_are_moved_in_full_precision(monkeypatch):
    generator, image, (source, target) = randomised(LIMB_CONDITIONED), inputs(SMALL)[0], poses()
    moved, cameras = [], torch.ones(2, 2, dtype=torch.int64)
    monkeypatch.setattr(generator, "forward", lambda *given: moved.append(given[-1]))

    generator.repose(image, source, target, cameras)
    with torch.autocast("cpu", torch.bfloat16):
        generator.repose(image, source, target, cameras)

    assert torch.equal(*moved)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_limbs_are_added_in_the_decoder_at_every_size(monkeypatch, level):
    generator, image, (source, target) = randomised(LIMB_CONDITIONED), inputs(SMALL)[0], poses()
    cameras, details = torch.ones(2, 2, dtype=torch.int64), generator._details
    before, sizes = generator.repose(image, source, target, cameras), []

    def disturbed(limbs, taken):
        codes = details(limbs, taken)
        sizes.append([code.shape[-1] for code in codes])
        codes[level] = codes[level] + torch.randn(codes[level].shape)
        return codes

    monkeypatch.setattr(generator, "_details", disturbed)

    assert not torch.allclose(generator.repose(image, source, target, cameras), before)
    assert sizes == [[image.shape[-1], image.shape[-1] // 2, image.shape[-1] // 4]]


def test_an_image_whose_sides_are_not_multiples_of_the_step_is_refused():
    with pytest.raises(UserError, match="multiples of 4, got 30x16"):
        Generator(SMALL)(*inputs(SMALL, 30, 16))
    with pytest.raises(UserError, match="multiples of 4, got 32x18"):
        Generator(SMALL)(*inputs(SMALL, 32, 18))


@pytest.mark.parametrize(
    "wrong",
    [
        {"norm": "layer"}, {"joints": 0}, {"width": 0}, {"downsamplings": 0}, {"blocks": 0},
        {"cameras": -1}, {"dropout": 1.0}, {"dropout": -0.1}, {"dropout": float("nan")},
        {"width": 1.5}, {"blocks": 10**9}, {"downsamplings": 70},
    ],
    ids=str,
)  # fmt: skip
def test_config_out_of_range_is_an_error_that_names_the_key(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))} must be"):
        GeneratorConfig(**wrong)


def test_every_pixel_value_survives_the_conversion_to_signed_and_back():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 16, 16, 3)

    signed = to_signed(pixels)

    assert signed.shape == (1, 3, 16, 16)
    assert (signed.min(), signed.max()) == (-1, 1)
    assert torch.equal(signed[0, 2, 3, 5], pixels[0, 3, 5, 2] / 127.5 - 1)
    assert torch.equal(to_pixels(signed), pixels)


def test_values_between_two_pixels_are_rounded():
    image = torch.tensor([0.4, 0.6, 254.6]).div(127.5).sub(1).reshape(1, 3, 1, 1)

    assert to_pixels(image).tolist() == [[[[0, 1, 255]]]]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_checkpoint_comes_back_bit_for_bit(tmp_path, config):
    generator = randomised(config)
    path = tmp_path / "generator.safetensors"

    save_generator(generator, path)
    loaded = load_generator(path)

    assert loaded.config == config
    assert not loaded.training
    assert torch.equal(loaded(*inputs(config)), generator(*inputs(config)))
    for name, tensor in generator.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_a_checkpoint_keeps_the_number_of_cameras(tmp_path):
    generator, cameras = camera_conditioned(), torch.tensor([[1, 2], [3, 1]])

    save_generator(generator, tmp_path / "g.safetensors")

    loaded = load_generator(tmp_path / "g.safetensors")
    assert loaded.config.cameras == 3
    batch = inputs(SMALL)
    assert torch.equal(loaded(*batch, cameras), generator(*batch, cameras))


def test_saving_what_was_loaded_gives_the_same_bytes(tmp_path):
    save_generator(randomised(SMALL), tmp_path / "a.safetensors", {"seed": 1})

    generator, notes = load_with_metadata(tmp_path / "a.safetensors")
    save_generator(generator, tmp_path / "b.safetensors", notes)

    assert sorted_header(tmp_path / "b.safetensors") == sorted_header(tmp_path / "a.safetensors")


def sorted_header(path) -> tuple[list[int], bytes]:
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    return sorted(content[:start]), content[start:]


def test_notes_are_added_to_format_and_config(tmp_path):
    save_generator(Generator(SMALL), tmp_path / "g.safetensors", {"step": 5, "recipe": {"a": [1]}})

    _, notes = load_with_metadata(tmp_path / "g.safetensors")

    assert notes == {
        "format": "reid_aug.generator/1",
        "config": {
            "joints": 5, "width": 4, "downsamplings": 2, "blocks": 3, "norm": "batch",
            "dropout": 0.5, "cameras": 0, "limbs": False, "sigma": 6.0,
        },
        "step": 5,
        "recipe": {"a": [1]},
    }  # fmt: skip


def test_missing_checkpoint_is_an_error_that_names_the_command(tmp_path):
    with pytest.raises(UserError, match=r"g\.safetensors is missing.*reid-aug train-generator"):
        load_generator(tmp_path / "g.safetensors")


def test_checkpoint_of_another_format_is_refused(tmp_path):
    tensors = Generator(SMALL).state_dict()
    write_tensors(tmp_path / "g.safetensors", tensors, {"format": "somebody.else/1"})

    with pytest.raises(UserError, match=r"g\.safetensors: must be a generator checkpoint"):
        load_generator(tmp_path / "g.safetensors")


def test_checkpoint_without_notes_is_refused(tmp_path):
    write_tensors(tmp_path / "g.safetensors", Generator(SMALL).state_dict(), {})

    with pytest.raises(UserError, match=r"g\.safetensors: must be a generator checkpoint"):
        load_generator(tmp_path / "g.safetensors")


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {"config": {"width": 4, "heads": 8}},
        {"config": {"joints": 5, "width": 8, "blocks": 3}},
        {"config": {"joints": 5, "width": 4, "blocks": 4}},
    ],
    ids=["no config", "unknown key", "other shapes", "missing tensors"],
)
def test_checkpoint_whose_config_does_not_fit_is_an_error_that_names_it(tmp_path, notes):
    tensors = Generator(SMALL).state_dict()
    notes = {"format": "reid_aug.generator/1", **notes}
    write_tensors(tmp_path / "g.safetensors", tensors, notes)

    with pytest.raises(UserError, match=r"g\.safetensors"):
        load_generator(tmp_path / "g.safetensors")


@pytest.mark.parametrize(
    "huge",
    [
        {"blocks": 10**9}, {"blocks": 250}, {"width": 2048}, {"width": 2**40}, {"width": 1.5},
        {"downsamplings": 11}, {"downsamplings": 70}, {"joints": 2**64}, {"cameras": 2**30},
    ],
    ids=str,
)  # fmt: skip
def test_a_small_file_with_the_config_of_a_huge_network_is_refused_without_building_it(
    tmp_path, monkeypatch, huge
):
    notes = {"format": "reid_aug.generator/1", "config": {**asdict(SMALL), **huge}}
    write_tensors(tmp_path / "g.safetensors", {"x": torch.zeros(1)}, notes)
    devices = []

    def record_device(self, config):
        devices.append(torch.empty(0).device.type)
        build(self, config)

    build = Generator.__init__
    monkeypatch.setattr(Generator, "__init__", record_device)
    with pytest.raises(UserError, match=r"g\.safetensors: must hold a config and its tensors") as e:
        load_generator(tmp_path / "g.safetensors")

    assert "\n" not in str(e.value)
    assert "cpu" not in devices


def test_a_checkpoint_with_other_shapes_is_an_error_that_names_the_first(tmp_path):
    tensors = Generator(SMALL).state_dict()
    config = asdict(replace(SMALL, cameras=2))
    write_tensors(
        tmp_path / "g.safetensors", tensors, {"format": "reid_aug.generator/1", "config": config}
    )

    with pytest.raises(UserError, match=r"got enter_camera.0.scale.weight missing, where .*\(2, 8"):
        load_generator(tmp_path / "g.safetensors")


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_official_weights_give_the_naive_network(tmp_path, config, prefix):
    state = random_official(config)
    torch.save({prefix + name: t for name, t in state.items()}, tmp_path / "latest_net_netG.pth")

    generator = import_official(tmp_path / "latest_net_netG.pth")

    assert generator.config == published(config)
    assert not generator.training
    assert_equals_naive(generator, state)


def test_running_statistics_of_old_instance_norm_files_are_dropped(tmp_path):
    state = random_official(CONFIGS[1])
    stray = {
        "model.stream1_down.2.running_mean": torch.ones(4),
        "model.stream1_down.2.running_var": torch.ones(4),
        "model.att.0.conv_block_stream1.2.running_mean": torch.ones(16),
        "model.stream1_up.1.running_var": torch.ones(8),
    }
    torch.save({**state, **stray}, tmp_path / "g.pth")

    generator = import_official(tmp_path / "g.pth")

    assert generator.config == published(CONFIGS[1])
    assert_equals_naive(generator, state)


def test_official_file_in_the_format_of_old_torch_gives_the_naive_network(tmp_path):
    state = random_official(SMALL)
    torch.save(state, tmp_path / "g.pth", _use_new_zipfile_serialization=False)

    assert_equals_naive(import_official(tmp_path / "g.pth"), state)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_official_weights_give_the_published_image_in_single_precision(tmp_path, norm):
    config = GeneratorConfig(width=16, norm=norm)
    state, batch = random_official(config), inputs(config, 64, 32)
    torch.save(state, tmp_path / "g.pth")

    with torch.no_grad():
        got = import_official(tmp_path / "g.pth")(*batch)

    wanted = naive_patn(state, config, *batch)
    torch.testing.assert_close(got, wanted, atol=ROUNDING, rtol=0)


def test_counters_of_newer_batch_norm_files_are_accepted(tmp_path):
    state = random_official(SMALL)
    means = [name for name in state if name.endswith("running_mean")]
    counters = {
        name.replace("running_mean", "num_batches_tracked"): torch.tensor(7) for name in means
    }
    torch.save({**state, **counters}, tmp_path / "g.pth")

    assert_equals_naive(import_official(tmp_path / "g.pth"), state)


def test_imported_network_is_saved_and_loaded_like_any_other(tmp_path):
    torch.save(random_official(SMALL), tmp_path / "g.pth")
    generator = import_official(tmp_path / "g.pth")

    save_generator(generator, tmp_path / "g.safetensors")

    loaded = load_generator(tmp_path / "g.safetensors")
    assert torch.equal(loaded(*inputs(SMALL)), generator(*inputs(SMALL)))


def test_an_imported_checkpoint_records_its_file_and_that_its_training_images_are_unknown(tmp_path):
    torch.save(random_official(SMALL), tmp_path / "latest_net_netG.pth")
    path = tmp_path / "run/generator.safetensors"

    config = import_checkpoint(tmp_path / "latest_net_netG.pth", path)

    generator, notes = load_with_metadata(path)
    assert generator.config == config
    assert notes["trained_on"] == ""
    assert notes["imported"] == {
        "file": "latest_net_netG.pth", "sha256": sha256(tmp_path / "latest_net_netG.pth")
    }  # fmt: skip


def test_a_repeated_import_changes_nothing_and_another_generator_is_not_overwritten(tmp_path):
    official, path = tmp_path / "latest_net_netG.pth", tmp_path / "generator.safetensors"
    torch.save(random_official(SMALL), official)
    import_checkpoint(official, path)
    before = path.stat().st_mtime_ns

    import_checkpoint(official, path)
    assert path.stat().st_mtime_ns == before
    save_generator(Generator(SMALL), path)
    with pytest.raises(UserError, match="must be missing or the same generator, got another one"):
        import_checkpoint(official, path)


def test_official_file_that_lacks_a_tensor_is_refused(tmp_path):
    state = random_official(SMALL)
    del state["model.att.1.conv_block_stream2.6.weight"]
    torch.save(state, tmp_path / "g.pth")

    with pytest.raises(UserError, match=r"g\.pth: .* 1 are missing .* blocks\.1\.pose\.6\.weight"):
        import_official(tmp_path / "g.pth")


def test_official_file_with_a_tensor_of_another_shape_is_refused(tmp_path):
    state = random_official(SMALL)
    state["model.stream1_up.7.weight"] = torch.zeros(1, 4, 7, 7)
    torch.save(state, tmp_path / "g.pth")

    with pytest.raises(UserError, match=r"g\.pth: .* decode\.7\.weight"):
        import_official(tmp_path / "g.pth")


def test_official_file_with_an_unexpected_tensor_is_refused(tmp_path):
    torch.save({**random_official(SMALL), "model.gate.weight": torch.zeros(1)}, tmp_path / "g.pth")

    with pytest.raises(UserError, match=r"g\.pth: .* no others, got 1, .* model\.gate\.weight"):
        import_official(tmp_path / "g.pth")


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({"conv1.weight": torch.zeros(1)}, "got none"),
        ({"model.stream1_down.1.weight": torch.zeros(4)}, r"got one of shape \(4,\)"),
        ({f"model.stream{i}_down.1.weight": torch.zeros(4, 4, 7, 7) for i in (1, 2)}, "got 0"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, state, found):
    torch.save(state, tmp_path / "resnet.pth")

    with pytest.raises(UserError, match=rf"resnet\.pth: must be a released PATN .*{found}"):
        import_official(tmp_path / "resnet.pth")
