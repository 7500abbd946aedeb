import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reid_aug.generator import import_official
from reid_aug.generator.adversary import (
    Discriminator,
    ImagePool,
    Perceptual,
    gan_loss,
    import_official_discriminator,
)
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import write_tensors

State = dict[str, Tensor]


def official(channels: int, width: int, blocks: int, norm: str) -> State:
    rng = torch.Generator().manual_seed(0)
    state: State = {}

    def conv(key: str, out: int, into: int, size: int) -> None:
        scale = (2 / (into * size * size)) ** 0.5
        state[f"{key}.weight"] = scale * torch.randn(out, into, size, size, generator=rng)
        if norm == "instance":
            state[f"{key}.bias"] = torch.randn(out, generator=rng)

    def batch_norm(key: str, out: int) -> None:
        if norm == "batch":
            for kind in ("weight", "bias", "running_mean"):
                state[f"{key}.{kind}"] = torch.randn(out, generator=rng) / 2
            state[f"{key}.running_var"] = torch.rand(out, generator=rng) + 0.5

    conv("model.1", width, channels, 7)
    batch_norm("model.2", width)
    conv("model.4", 2 * width, width, 3)
    batch_norm("model.5", 2 * width)
    conv("model.7", 4 * width, 2 * width, 3)
    batch_norm("model.8", 4 * width)
    for i in range(10, 10 + blocks):
        for place in (1, 6):
            conv(f"model.{i}.conv_block.{place}", 4 * width, 4 * width, 3)
            batch_norm(f"model.{i}.conv_block.{place + 1}", 4 * width)
    return state


def naive_discriminator(w: State, x: Tensor, blocks: int, norm: str) -> Tensor:
    def layer(key: str, place: int, x: Tensor, pad: int = 0, **options: int) -> Tensor:
        x = F.pad(x, (pad,) * 4, mode="reflect") if pad else x
        conv, after = f"{key}.{place}", f"{key}.{place + 1}"
        x = F.conv2d(x, w[f"{conv}.weight"], w.get(f"{conv}.bias"), **options)
        if norm == "instance":
            mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
            return (x - mean) / (var + 1e-5).sqrt()
        kinds = ("weight", "bias", "running_mean", "running_var")
        gain, shift, mean, var = (w[f"{after}.{kind}"][:, None, None] for kind in kinds)
        return (x - mean) / (var + 1e-5).sqrt() * gain + shift

    x = layer("model", 1, x, pad=3).relu()
    x = layer("model", 4, x, stride=2, padding=1).relu()
    x = layer("model", 7, x, stride=2, padding=1).relu()
    for i in range(10, 10 + blocks):
        change = layer(f"model.{i}.conv_block", 1, x, pad=1).relu()
        x = x + layer(f"model.{i}.conv_block", 6, change, pad=1)
    return x


def vgg(seed: int = 0) -> State:
    rng = torch.Generator().manual_seed(seed)
    shapes = {
        "features.0.weight": (64, 3, 3, 3),
        "features.0.bias": (64,),
        "features.2.weight": (64, 64, 3, 3),
        "features.2.bias": (64,),
        "features.5.weight": (8, 64, 3, 3),
        "classifier.6.bias": (10,),
    }
    return {name: 0.1 * torch.randn(shape, generator=rng) for name, shape in shapes.items()}


def naive_relu1_2(w: State, image: Tensor) -> Tensor:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    planes = [((image[:, c] + 1) / 2 - mean[c]) / std[c] for c in range(3)]
    x = torch.stack(planes, dim=1)
    x = F.conv2d(x, w["features.0.weight"], w["features.0.bias"], padding=1).relu()
    return F.conv2d(x, w["features.2.weight"], w["features.2.bias"], padding=1).relu()


def images(seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, 16, 8, generator=rng) * 2 - 1


@pytest.mark.parametrize(
    ("channels", "norm", "expected"),
    [
        (6, "batch", 3_930_368),
        (6, "instance", 3_928_384),
        (21, "batch", 3_977_408),
        (21, "instance", 3_975_424),
    ],
)
def test_number_of_parameters_is_the_published_one(channels, norm, expected):
    with torch.device("meta"):
        network = Discriminator(channels, norm=norm)

    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_output_is_a_map_of_logits_at_a_quarter_of_the_size(norm):
    torch.manual_seed(0)
    network = Discriminator(6, width=4, norm=norm)

    logits = network(torch.randn(2, 6, 32, 16))

    assert logits.shape == (2, 16, 8, 4)
    assert logits.min() < 0
    assert logits.max() > 1


@pytest.mark.parametrize("wrong", [{"norm": "layer"}, {"dropout": 1.0}], ids=str)
def test_an_option_out_of_range_is_an_error_that_names_it(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))} must be"):
        Discriminator(6, **wrong)


def test_dropout_is_active_in_training_and_can_be_zero():
    torch.manual_seed(0)
    stack = torch.randn(2, 6, 16, 16)
    with_dropout, without = Discriminator(6, width=4), Discriminator(6, width=4, dropout=0.0)

    assert not torch.equal(with_dropout(stack), with_dropout(stack))
    assert torch.equal(without(stack), without(stack))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize(("channels", "width", "blocks"), [(6, 4, 3), (21, 3, 2)])
def test_official_weights_give_the_naive_network(tmp_path, channels, width, blocks, norm, prefix):
    state = official(channels, width, blocks, norm)
    torch.save({prefix + name: t for name, t in state.items()}, tmp_path / "latest_net_netD_PP.pth")
    stack = torch.randn(2, channels, 24, 16, generator=torch.Generator().manual_seed(1)).double()

    network = import_official_discriminator(tmp_path / "latest_net_netD_PP.pth")
    with torch.no_grad():
        got = network.double().eval()(stack)

    doubled = {name: tensor.double() for name, tensor in state.items()}
    expected = naive_discriminator(doubled, stack, blocks, norm)
    torch.testing.assert_close(got, expected, atol=1e-8, rtol=0)


def test_running_statistics_of_old_instance_norm_files_are_dropped(tmp_path):
    state = official(6, 4, 3, "instance")
    stray = {"model.2.running_mean": torch.ones(4), "model.2.running_var": torch.ones(4)}
    torch.save({**state, **stray}, tmp_path / "d.pth")

    network = import_official_discriminator(tmp_path / "d.pth")

    assert torch.equal(network.state_dict()["encode.1.weight"], state["model.1.weight"])


def test_official_file_that_lacks_a_tensor_is_refused(tmp_path):
    state = official(6, 4, 3, "batch")
    del state["model.11.conv_block.6.weight"]
    torch.save(state, tmp_path / "d.pth")

    with pytest.raises(
        UserError, match=r"d\.pth: .* 1 are missing .* blocks\.1\.change\.6\.weight"
    ):
        import_official_discriminator(tmp_path / "d.pth")


@pytest.mark.parametrize("name", ["model.12.weight", "model.conv_block.weight"])
def test_official_file_with_an_unexpected_tensor_is_refused(tmp_path, name):
    torch.save({**official(6, 4, 2, "batch"), name: torch.zeros(1)}, tmp_path / "d.pth")

    with pytest.raises(UserError, match=rf"d\.pth: .* no others, got 1, the first is {name}"):
        import_official_discriminator(tmp_path / "d.pth")


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_official_file_in_the_format_of_old_torch_gives_the_published_logits(tmp_path, norm):
    state = official(21, 16, 3, norm)
    torch.save(state, tmp_path / "d.pth", _use_new_zipfile_serialization=False)
    stack = torch.randn(2, 21, 32, 16, generator=torch.Generator().manual_seed(1)).double()

    with torch.no_grad():
        got = import_official_discriminator(tmp_path / "d.pth").double().eval()(stack)

    doubled = {name: tensor.double() for name, tensor in state.items()}
    expected = naive_discriminator(doubled, stack, 3, norm)
    torch.testing.assert_close(got, expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    "state", [{"conv1.weight": torch.zeros(1)}, {"model.1.weight": torch.zeros(4)}], ids=str
)
def test_weights_of_another_network_are_refused(tmp_path, state):
    torch.save(state, tmp_path / "resnet.pth")

    with pytest.raises(UserError, match=r"resnet\.pth: must be a released PATN network"):
        import_official_discriminator(tmp_path / "resnet.pth")


@pytest.mark.parametrize("read", [import_official, import_official_discriminator])
def test_a_file_that_runs_code_is_refused_in_one_sentence(tmp_path, read):
    torch.save({"model.1.weight": Path("a path is no tensor")}, tmp_path / "d.pth")

    with pytest.raises(UserError, match=r"d\.pth: must be a PyTorch weight file of tensors only"):
        read(tmp_path / "d.pth")


@pytest.mark.parametrize("is_real", [True, False])
def test_bce_is_that_of_the_sigmoid(is_real):
    logits = torch.randn(2, 16, 8, 4, generator=torch.Generator().manual_seed(0)).double()

    loss = gan_loss(logits, is_real, "bce")

    label = torch.full_like(logits, float(is_real))
    torch.testing.assert_close(loss, torch.nn.BCELoss()(torch.sigmoid(logits), label))


@pytest.mark.parametrize("is_real", [True, False])
def test_bce_of_a_hand_worked_example(is_real):
    chances = [0.9, 0.2]
    logits = torch.tensor([math.log(p / (1 - p)) for p in chances])

    loss = gan_loss(logits, is_real, "bce")

    expected = [-math.log(p if is_real else 1 - p) for p in chances]
    assert loss.item() == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_lsgan_is_the_squared_distance_to_the_label():
    logits = torch.tensor([[0.5, -1.0, 3.0]])

    assert gan_loss(logits, True, "lsgan").item() == pytest.approx((0.25 + 4 + 4) / 3)
    assert gan_loss(logits, False, "lsgan").item() == pytest.approx((0.25 + 1 + 9) / 3)


def test_bce_of_extreme_logits_is_finite():
    assert gan_loss(torch.tensor([500.0]), False, "bce").item() == 500


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_perceptual_distance_is_that_of_a_direct_computation(tmp_path, suffix):
    path = save_vgg(tmp_path / f"vgg19{suffix}")
    generated, target = images(1), images(2)

    distance = Perceptual(path)(generated, target)

    difference = naive_relu1_2(vgg(), generated) - naive_relu1_2(vgg(), target)
    assert distance.item() == pytest.approx(difference.abs().mean().item(), rel=1e-5)
    assert distance > 0.01


def save_vgg(path: Path) -> Path:
    if path.suffix == ".pth":
        torch.save(vgg(), path)
    else:
        write_tensors(path, vgg(), {})
    return path


def test_only_the_generated_image_gets_a_gradient(tmp_path):
    perceptual = Perceptual(save_vgg(tmp_path / "vgg19.pth"))
    generated, target = images(1).requires_grad_(), images(2).requires_grad_()

    perceptual(generated, target).backward()

    assert generated.grad.abs().sum() > 0
    assert target.grad is None
    assert all(parameter.grad is None for parameter in perceptual.parameters())


@pytest.mark.parametrize("change", ["missing", "other shape"])
def test_weights_that_are_not_those_of_vgg_are_refused(tmp_path, change):
    state = vgg()
    if change == "missing":
        del state["features.2.bias"]
    else:
        state["features.2.bias"] = torch.zeros(128)
    torch.save(state, tmp_path / "vgg.pth")

    with pytest.raises(UserError, match=r"vgg\.pth: must be torchvision's VGG-19 weights"):
        Perceptual(tmp_path / "vgg.pth")


def test_pool_of_size_zero_returns_its_input():
    pool, rng = ImagePool(0), np.random.default_rng(0)
    batch = torch.arange(8.0).reshape(4, 2)

    for _ in range(10):
        assert torch.equal(pool.exchange(batch, rng), batch)
    assert pool.images == []


def test_pool_stores_the_first_samples_and_returns_them():
    pool, rng = ImagePool(6), np.random.default_rng(0)
    batches = torch.arange(12.0).reshape(2, 3, 2)

    assert torch.equal(pool.exchange(batches[0], rng), batches[0])
    assert torch.equal(pool.exchange(batches[1], rng), batches[1])
    assert torch.equal(torch.stack(pool.images), batches.flatten(0, 1))


def test_about_half_of_the_samples_of_a_full_pool_are_old():
    pool, rng = ImagePool(50), np.random.default_rng(0)
    given = torch.arange(2050.0)

    returned = torch.cat([pool.exchange(batch[:, None], rng)[:, 0] for batch in given.split(10)])

    old = returned[50:] != given[50:]
    assert 900 < old.sum() < 1100
    assert len(pool.images) == 50


def test_a_full_pool_returns_every_sample_at_most_once():
    pool, rng = ImagePool(5), np.random.default_rng(0)
    given = torch.arange(400.0)

    pool.exchange(given[:5, None], rng)
    returned = pool.exchange(given[5:, None], rng)[:, 0].tolist()

    left = torch.cat(pool.images).tolist()
    assert sorted(returned + left) == given.tolist()


def test_pool_stores_copies():
    pool, rng = ImagePool(2), np.random.default_rng(0)
    batch = torch.ones(2, 3)

    pool.exchange(batch, rng)
    batch.zero_()

    assert torch.equal(torch.stack(pool.images), torch.ones(2, 3))


def test_samples_of_a_full_pool_do_not_change_with_their_batch():
    pool, rng = ImagePool(4), np.random.default_rng(0)
    pool.exchange(torch.ones(4, 3), rng)
    batch = torch.full((64, 3), 2.0)

    pool.exchange(batch, rng)
    batch.zero_()

    assert {float(value) for image in pool.images for value in image} <= {1.0, 2.0}
    assert any((image == 2).all() for image in pool.images)
