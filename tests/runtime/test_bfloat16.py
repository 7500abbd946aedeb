"""Before a training in bfloat16 a processor must show that it computes its layers right."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reid_aug.data.dataset import DataConfig, read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.generator import GeneratorConfig
from reid_aug.mixing import Mix
from reid_aug.runtime.bfloat16 import require_right_bfloat16
from reid_aug.runtime.errors import UserError
from reid_aug.stages.train_generator import (
    pairs_of,
    seconds_per_step,
    train_generator,
    training_metadata,
)
from reid_aug.stages.train_generator.settings import TrainGeneratorConfig
from reid_aug.stages.train_generator.trainer import Trainer
from reid_aug.stages.train_reid import seconds_per_step as seconds_per_reid_step
from reid_aug.stages.train_reid import train_reid
from reid_aug.stages.train_reid.trainer import ReidTrainer, check_precision
from tests.stages.train_reid.test_reid_trainer import PLAIN, batch, network

CPU = torch.device("cpu")
BFLOAT16_IS_RIGHT = "reid_aug.runtime.bfloat16._is_right"
HALF = replace(PLAIN, bf16=True)
TRAINING = TrainGeneratorConfig(
    steps=2, batch=2, discriminator_width=4, pool=2, save_every=2, bf16=True
)
SHOWN = GeneratorConfig(width=4, blocks=2, cameras=6, limbs=True)
REFUSAL = (
    r"compute the layer Conv2d\(\d+, .* wrong in bfloat16 for an input of \d+x\d+x\d+x\d+; set the "
    r"environment variable ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 before the command, or train "
    r"without bfloat16 \({}\.bf16=false\); reid-aug doctor checks all networks of a recipe"
)


class TwiceTheGradient(torch.autograd.Function):
    """The same values, and a gradient that is wrong."""

    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    def backward(context, gradient):
        return 2 * gradient


FAULTS = {
    "nan": lambda sums: sums * float("nan"),
    "twice": lambda sums: 2 * sums,
    "backward": TwiceTheGradient.apply,
}
RIGHT = F.conv2d


@pytest.fixture
def right(monkeypatch):
    """A processor that is right in bfloat16, whichever runs the test."""

    def rounded(images, weight, bias=None, *given, **named):
        if not torch.is_autocast_enabled("cpu"):
            return RIGHT(images, weight, bias, *given, **named)
        with torch.autocast("cpu", enabled=False):
            tensors = (None if t is None else t.bfloat16().float() for t in (images, weight, bias))
            return RIGHT(*tensors, *given, **named).bfloat16()

    monkeypatch.setattr(F, "conv2d", rounded)


@pytest.fixture(params=FAULTS)
def fault(request, monkeypatch):
    """A processor that is wrong in bfloat16 for convolutions of stride 2."""
    spoil = FAULTS[request.param]

    def wrong(images, weight, bias=None, stride=1, *given, **named):
        sums = RIGHT(images, weight, bias, stride, *given, **named)
        is_hit = torch.is_autocast_enabled("cpu") and stride in (2, (2, 2))
        return spoil(sums) if is_hit else sums

    monkeypatch.setattr(F, "conv2d", wrong)


def generator_job(people):
    real = read_market1501(people).train
    poses = read_keypoints(people / "keypoints.csv")
    pairs = pairs_of(real, poses, DataConfig(32, 16), TRAINING, 0)
    return pairs, SHOWN, TRAINING, training_metadata(pairs, SHOWN, TRAINING, real, poses)


def test_a_right_network_passes_and_stays_as_it_was(right):
    model = network(replace(HALF, backbone="inception_open_reid"))  # with dropout
    model(batch(0)["img"]).sum().backward()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    state = torch.get_rng_state()

    check_precision(model, HALF, CPU, 8)

    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(w.grad, gradients[name]) for name, w in model.named_parameters())
    assert all(weight.requires_grad for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_a_training_is_the_same_with_and_without_the_check(right):
    checked, unchecked = network(HALF), network(HALF)
    check_precision(checked, HALF, CPU, 8)
    trainers = [ReidTrainer(model, HALF, 0, CPU) for model in (checked, unchecked)]

    for trainer in trainers:
        for number in range(2):
            trainer.step(batch(0), number)

    ours, theirs = (trainer.state() for trainer in trainers)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_generator_training_is_untouched_by_the_check(right):
    trainer = Trainer(SHOWN, TRAINING, 0, CPU)
    before = {name: tensor.clone() for name, tensor in trainer.state().items()}
    state = torch.get_rng_state()

    trainer.check_precision(32, 16)

    after = trainer.state()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(w.grad is None for net in trainer.networks.values() for w in net.parameters())


def test_layers_alike_are_checked_once(right, monkeypatch):
    checked = []
    monkeypatch.setattr(BFLOAT16_IS_RIGHT, lambda *given: checked.append(given) or True)
    alike = [nn.Conv2d(4, 4, 3, padding=1) for _ in range(3)]
    model = nn.Sequential(*alike, nn.Conv2d(4, 4, 3, stride=2), nn.Flatten(), nn.Linear(36, 2))

    require_right_bfloat16(lambda: model(torch.ones(2, 4, 8, 8)), [model], CPU, "a.bf16")

    assert [str(layer).split("(")[0] for layer, _ in checked] == ["Conv2d", "Conv2d", "Linear"]
    assert [layer.shape for layer, _ in checked] == [(2, 4, 8, 8), (2, 4, 8, 8), (2, 36)]


def test_weights_that_are_no_numbers_are_not_blamed_on_the_processor(right):
    layer = nn.Conv2d(3, 4, 3)
    nn.init.constant_(layer.weight, float("nan"))

    require_right_bfloat16(lambda: layer(torch.ones(2, 3, 8, 8)), [layer], CPU, "a.bf16")


def test_on_a_gpu_nothing_is_checked():
    def run():
        raise AssertionError

    require_right_bfloat16(run, [nn.Linear(2, 2)], torch.device("cuda"), "a.bf16")


def test_single_precision_is_not_checked(fault):
    check_precision(network(PLAIN), PLAIN, CPU, 8)
    Trainer(SHOWN, replace(TRAINING, bf16=False), 0, CPU).check_precision(32, 16)


def test_a_wrong_processor_is_refused_before_a_re_id_training(people, fault, tmp_path):
    dataset, folder = read_market1501(people), tmp_path / "cell"

    with pytest.raises(UserError, match=REFUSAL.format("train_reid")):
        train_reid(Mix(dataset.train), dataset, HALF, folder, 0, CPU)

    assert not folder.exists()


def test_a_wrong_processor_is_refused_before_a_generator_training(people, fault, tmp_path):
    *job, notes = generator_job(people)

    with pytest.raises(UserError, match=REFUSAL.format("train_generator")):
        train_generator(*job, tmp_path / "run", notes, CPU)

    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fault", ["nan"], indirect=True)
def test_a_wrong_processor_is_refused_before_a_step_is_timed(people, fault):
    with pytest.raises(UserError, match=REFUSAL.format("train_reid")):
        seconds_per_reid_step(Mix(read_market1501(people).train), HALF, CPU)
    with pytest.raises(UserError, match=REFUSAL.format("train_generator")):
        seconds_per_step(*generator_job(people)[:-1], CPU)


@pytest.mark.parametrize("fault", ["nan"], indirect=True)
def test_a_fault_of_the_discriminators_alone_is_found(fault, monkeypatch):
    trainer = Trainer(SHOWN, TRAINING, 0, CPU)
    alone = Trainer(SHOWN, replace(TRAINING, discriminator_start=1.0), 0, CPU)
    drawing = torch.zeros(2, 3, 32, 16)
    for one in (trainer, alone):
        monkeypatch.setattr(one.generator, "repose", lambda *given: drawing)

    alone.check_precision(32, 16)
    with pytest.raises(UserError, match=REFUSAL.format("train_generator")):
        trainer.check_precision(32, 16)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_diverged_training_in_bfloat16_says_that_it_can_be_turned_off(
    people, tmp_path, right, bf16
):
    dataset, config = read_market1501(people), replace(HALF, lr=1e30, steps=20, bf16=bf16)
    with pytest.raises(UserError, match=r"lower train_reid\.lr") as caught:
        train_reid(Mix(dataset.train), dataset, config, tmp_path, 0, CPU)

    assert ("train_reid.bf16=false" in str(caught.value)) == bf16
