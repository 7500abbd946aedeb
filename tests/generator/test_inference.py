"""Inference: the images of a prepared generator, and images from arrays."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from reid_aug.bank.methods import GeneratorMethod
from reid_aug.generator import (
    Generator,
    GeneratorConfig,
    generate,
    ready_to_generate,
    to_pixels,
    to_signed,
)
from reid_aug.generator.inference import InferenceWinograd
from reid_aug.generator.winograd import Workspace
from reid_aug.runtime.errors import UserError
from tests.generator.test_generator import ROUNDING, inputs, randomised

CPU = torch.device("cpu")
SMALL = GeneratorConfig(width=4, blocks=2)
CONDITIONED = replace(SMALL, cameras=3, limbs=True)
SIZE = (32, 16)


def plain(channels: int, out: int, bias: bool = True) -> torch.nn.Conv2d:
    torch.manual_seed(0)
    return torch.nn.Conv2d(channels, out, 3, bias=bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(6, 6), (10, 18), (34, 18)])
def test_a_convolution_equals_the_direct_sum_to_single_precision(size, bias):
    layer = plain(64, 48, bias)
    features = torch.randn(3, 64, *size)

    with torch.no_grad():
        found = InferenceWinograd(layer, Workspace())(features)
        direct = layer(features)
        exact = copy.deepcopy(layer).double()(features.double())

    assert found.shape == exact.shape
    assert (found - exact).abs().max() < 5e-6
    assert (found - exact).std() < 6 * (direct - exact).std()


def test_the_direct_sum_computes_a_size_that_tiles_do_not_fill():
    layer = plain(8, 8)
    features = torch.randn(2, 8, 9, 18)

    with torch.no_grad():
        assert torch.equal(InferenceWinograd(layer, Workspace())(features), layer(features))


@pytest.mark.parametrize(("batch", "side"), [(1, 6), (2, 14)])
def test_layers_share_memory_and_keep_each_others_results(batch, side):
    workspace, layer = Workspace(), plain(32, 64, bias=False)
    first, second = InferenceWinograd(layer, workspace), InferenceWinograd(plain(64, 32), workspace)
    features = torch.randn(batch, 32, side, side)

    with torch.no_grad():
        before = first(features)
        kept = before.clone()
        second(torch.nn.functional.pad(before, (1, 1, 1, 1)))

    assert torch.equal(before, kept)


def test_a_layer_works_with_and_without_inference_mode():
    layer, features = InferenceWinograd(plain(32, 32), Workspace()), torch.randn(1, 32, 10, 10)

    with torch.inference_mode():
        expected = layer(features)

    with torch.no_grad():
        assert torch.equal(layer(features), expected)


@pytest.mark.parametrize(
    "config",
    [
        GeneratorConfig(joints=5, width=24, blocks=3),
        GeneratorConfig(joints=5, width=24, blocks=3, norm="instance"),
        GeneratorConfig(joints=5, width=12, blocks=2, downsamplings=3, limbs=True),
    ],
    ids=lambda config: f"{config.norm}-{config.downsamplings}",
)
def test_a_prepared_generator_generates_the_same_images(config):
    generator = randomised(config)
    limbs = torch.rand(2, 4, 64, 32) if config.limbs else None
    batch = (*inputs(config, 64, 32), None, limbs)
    with torch.no_grad():
        before = generator(*batch)

    ready = ready_to_generate(generator, CPU)

    with torch.inference_mode():
        after = ready(*batch)
    assert any(isinstance(module, InferenceWinograd) for module in ready.modules())
    torch.testing.assert_close(after, before, atol=ROUNDING, rtol=0)


def test_the_direct_sum_computes_layers_of_few_channels():
    ready = ready_to_generate(randomised(GeneratorConfig(joints=5, width=8, blocks=2)), CPU)

    assert not any(isinstance(module, InferenceWinograd) for module in ready.modules())


def arrays(count: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images and two poses; one joint per pose is unseen."""
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(count, *SIZE, 3), dtype=np.uint8)
    keypoints = (rng.random((2, count, 18, 2)) * SIZE[::-1]).astype(np.float32)
    keypoints[0, :, 4], keypoints[1, :, 7] = np.nan, np.nan
    return images, *keypoints


CAMERAS = np.array([1, 3, 2]), np.array([2, 1, 2])


@pytest.mark.parametrize("config", [SMALL, CONDITIONED], ids=["plain", "conditioned"])
def test_generate_gives_the_bytes_of_repose(config):
    generator, (images, source, target) = randomised(config), arrays()
    given = CAMERAS if config.cameras else ()

    generated = generate(generator, images, source, target, *given)

    camids = torch.from_numpy(np.stack(CAMERAS, 1))
    xy = torch.from_numpy(source), torch.from_numpy(target)
    with torch.inference_mode():
        expected = to_pixels(generator.repose(to_signed(torch.from_numpy(images)), *xy, camids))
    assert (generated.dtype, generated.shape) == (np.uint8, images.shape)
    assert np.array_equal(generated, expected.numpy())
    assert len(np.unique(generated)) > 10


@pytest.mark.parametrize("config", [SMALL, CONDITIONED], ids=["plain", "conditioned"])
def test_generate_gives_the_bytes_of_the_generator_method(config):
    method = GeneratorMethod.__new__(GeneratorMethod)
    method.generator, (images, source, target) = randomised(config), arrays()
    method.to(CPU)
    given = CAMERAS if config.cameras else ()

    painted = method.compute((images, np.stack([source, target]), np.stack(CAMERAS, 1)))

    assert np.array_equal(generate(method.generator, images, source, target, *given), painted)


def test_generate_accepts_tensors_and_arrays_that_are_not_contiguous_or_writable():
    generator, (images, source, target) = randomised(CONDITIONED), arrays()
    expected = generate(generator, images, source, target, *CAMERAS)
    mirrored = np.ascontiguousarray(images[:, :, ::-1])[:, :, ::-1]
    mirrored.flags.writeable = False
    tensors = [torch.from_numpy(one) for one in (images, source, target, *CAMERAS)]

    assert np.array_equal(generate(generator, *tensors), expected)
    assert np.array_equal(generate(generator, mirrored, source, target, *CAMERAS), expected)
    narrow = (one.astype(np.int32) for one in CAMERAS)
    assert np.array_equal(generate(generator, images, source, target, *narrow), expected)


def test_an_image_is_generated_in_eval_mode_and_the_training_mode_stays():
    generator, batch = Generator(SMALL), arrays()
    generator.train()
    generator.blocks[0].eval()
    modes = [module.training for module in generator.modules()]

    first, second = generate(generator, *batch), generate(generator, *batch)

    assert np.array_equal(first, second)
    assert [module.training for module in generator.modules()] == modes
    assert generator.blocks[1].training
    assert all(parameter.requires_grad for parameter in generator.parameters())


def test_the_training_mode_stays_after_an_error():
    generator, batch = Generator(CONDITIONED).train(), arrays()

    with pytest.raises(UserError, match=r"camids must be in 1\.\.3"):
        generate(generator, *batch, np.array([1, 2, 4]), np.array([1, 1, 1]))

    assert all(module.training for module in generator.modules())


def test_no_images_give_no_images():
    assert generate(Generator(SMALL), *arrays(0)).shape == (0, *SIZE, 3)


WRONG = {
    "images must be .* uint8 and shape .*, got float32": {0: lambda x: x.astype(np.float32)},
    r"images must be .*, got uint8 of shape \(32, 16, 3\)": {0: lambda x: x[0]},
    r"images must be .*, got uint8 of shape \(3, 3, 32, 16\)": {
        0: lambda x: x.transpose(0, 3, 1, 2)
    },
    "images must be .*, got list": {0: lambda x: x.tolist()},
    "multiples of 4, got 30x16; resize": {0: lambda x: x[:, :30]},
    "multiples of 4, got 32x15": {0: lambda x: x[:, :, :15]},
    "source_keypoints must be .* float32 .*, got float64": {1: lambda x: x.astype(np.float64)},
    r"source_keypoints must be .*, got float32 of shape \(3, 17, 2\)": {1: lambda x: x[:, :17]},
    r"target_keypoints must be .*\(3, 18, 2\), got .*\(2, 18, 2\)": {2: lambda x: x[:2]},
    "target_keypoints must be pixels.* infinite": {2: lambda x: x + np.float32(np.inf)},
}


@pytest.mark.parametrize("message", WRONG)
def test_arrays_of_another_type_or_shape_are_refused(message):
    ((place, spoil),) = WRONG[message].items()
    batch = list(arrays())
    batch[place] = spoil(batch[place])

    with pytest.raises(UserError, match=message):
        generate(Generator(SMALL), *batch)


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        ((), r"must be given for a camera-conditioned generator \(camids 1 to 3\), got neither"),
        ((CAMERAS[0], None), "must be given .*, got source_cameras"),
        ((None, CAMERAS[1]), "must be given .*, got target_cameras"),
        ((CAMERAS[0] / 2, CAMERAS[1]), "source_cameras must be .* int64 .*, got float64"),
        ((CAMERAS[0] > 1, CAMERAS[1]), "source_cameras must be .* int64 .*, got bool"),
        ((CAMERAS[0], CAMERAS[1][:2]), r"target_cameras must be .*\(3\), got int64 of shape \(2,"),
        ((CAMERAS[0] - 1, CAMERAS[1]), r"camids must be in 1\.\.3, .*, got 0"),
    ],
)
def test_cameras_that_are_missing_or_wrong_are_refused(cameras, message):
    with pytest.raises(UserError, match=message):
        generate(Generator(CONDITIONED), *arrays(), *cameras)


@pytest.mark.parametrize("cameras", [CAMERAS, (None, CAMERAS[1])], ids=["both", "target"])
def test_cameras_are_refused_by_a_generator_without_cameras(cameras):
    with pytest.raises(UserError, match=r"must be left out .* not camera-conditioned"):
        generate(Generator(SMALL), *arrays(), *cameras)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_generate_runs_on_the_device_of_the_generator():
    generator = randomised(CONDITIONED)
    expected = generate(generator, *arrays(), *CAMERAS)

    generated = generate(generator.to("cuda"), *arrays(), *CAMERAS)

    assert np.abs(generated.astype(int) - expected).max() <= 2
