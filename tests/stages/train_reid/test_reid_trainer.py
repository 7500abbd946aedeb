"""One step of a re-ID training: torchreid's where it is plain, the same step again and again."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from reid_aug.backbones import build_backbone, torchreid_library
from reid_aug.data.dataset import read_market1501
from reid_aug.mixing import Mix
from reid_aug.runtime.distributed import ProcessGroup
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.optimizer_state import adam_tensors
from reid_aug.stages.train_reid import build_network, transforms_of
from reid_aug.stages.train_reid.batches import Batches, Training
from reid_aug.stages.train_reid.settings import PRESETS, TrainReidConfig
from reid_aug.stages.train_reid.trainer import ReidTrainer, check_precision
from tests.runtime.test_distributed import exit_codes, started

CPU = torch.device("cpu")
STRONG = TrainReidConfig(
    "resnet18", 6, 8, 32, 16, preset="strong", **{**PRESETS["strong"], "lr": 1e-3}
)
PLAIN = TrainReidConfig("resnet18", 6, 8, 32, 16, 1e-3)


def network(config, classes=4, seed=0):
    torch.manual_seed(seed)
    return build_backbone(
        config.backbone, classes, config.height, config.width, config.last_stride, config.bnneck,
        config.triplet_weight > 0,
    )  # fmt: skip


def batch(number, size=8, people=4):
    generator = torch.Generator().manual_seed(number)
    labels = torch.arange(people).repeat_interleave(size // people)
    images = labels.view(-1, 1, 1, 1) + torch.randn(size, 3, 32, 16, generator=generator)
    return {"img": images, "pid": labels, "is_generated": torch.arange(size) % 4 == 3}


def losses(trainer, steps):
    return [trainer.step(batch(number), number)["loss"].item() for number in steps]


def test_a_plain_step_is_that_of_the_stock_engine():
    # in double precision: Adam makes a step of the rounding of a gradient that should be 0
    model = network(PLAIN).double()
    optimiser = torchreid_library().optim.build_optimizer(
        model, optim="adam", lr=PLAIN.lr, weight_decay=PLAIN.weight_decay, adam_beta2=0.999
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, PLAIN.rate)
    manager = SimpleNamespace(train_loader=[], test_loader={}, sources=["a"], num_train_pids=4)
    stock = torchreid_library().engine.ImageSoftmaxEngine(
        manager, model, optimiser, schedule, False
    )
    stock.set_model_mode("train")
    trainer = ReidTrainer(network(PLAIN).double(), PLAIN, 0, CPU)

    theirs, ours = [], []
    for number in range(6):
        given = {**batch(number), "img": batch(number)["img"].double()}
        theirs.append(stock.forward_backward(given))
        stock.update_lr()
        ours.append({name: value.item() for name, value in trainer.step(given, number).items()})

    assert theirs[-1]["loss"] != pytest.approx(theirs[0]["loss"], rel=0.05)
    for mine, their in zip(ours, theirs, strict=True):
        assert {key: mine[key] for key in their} == pytest.approx(their, rel=1e-5)


@pytest.mark.parametrize("config", [PLAIN, STRONG], ids=["plain", "strong"])
def test_a_state_brings_back_every_tensor(config):
    first = ReidTrainer(network(config), config, 0, CPU)
    losses(first, range(3))
    state = {name: tensor.clone() for name, tensor in first.state().items()}
    expected = losses(first, range(3, 6))

    second = ReidTrainer(network(config, seed=1), config, 0, CPU)
    second.restore(state)

    assert losses(second, range(3, 6)) == expected
    assert all(torch.equal(value, second.state()[name]) for name, value in first.state().items())


def test_a_strong_training_learns():
    trainer = ReidTrainer(network(STRONG), STRONG, 0, CPU)

    first, *_, last = (trainer.step(batch(0), number) for number in range(6))

    assert last["loss"] < first["loss"]
    assert set(first) == {"loss", "identity", "triplet", "acc", "generated"}
    assert first["generated"] == 2
    torch.testing.assert_close(first["loss"], first["identity"] + first["triplet"])


def test_generated_images_can_be_kept_out_of_the_triplets():
    without = replace(STRONG, generated_triplet=False)
    both = [ReidTrainer(network(STRONG), config, 0, CPU) for config in (STRONG, without)]

    with_them, without_them = (trainer.step(batch(0), 0) for trainer in both)

    assert with_them["identity"] == without_them["identity"]
    assert with_them["triplet"] != without_them["triplet"]


def test_dropout_follows_the_seed_and_the_step():
    config = TrainReidConfig("inception_open_reid", 6, 8, 32, 16)

    def first_loss(seed, number):
        trainer = ReidTrainer(network(config), config, seed, CPU)
        return trainer.step(batch(0), number)["loss"].item()

    assert first_loss(0, 2) == first_loss(0, 2)
    assert len({first_loss(0, 2), first_loss(0, 3), first_loss(1, 2)}) == 3


def is_right_in_bfloat16(check):
    """Whether this processor passes a check; if not, its refusal must name the remedy."""
    try:
        check()
    except UserError as error:
        if "ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16" not in str(error):
            raise
        return False
    return True


def test_bfloat16_is_near_and_keeps_weights_in_full_precision():
    config = replace(STRONG, bf16=True)
    if not is_right_in_bfloat16(lambda: check_precision(network(config), config, CPU, 8)):
        return
    half = ReidTrainer(network(STRONG), config, 0, CPU)
    full = ReidTrainer(network(STRONG), STRONG, 0, CPU)

    ours, theirs = (trainer.step(batch(0), 0) for trainer in (half, full))

    assert ours["loss"].item() == pytest.approx(theirs["loss"].item(), rel=0.05)
    assert ours["loss"] != theirs["loss"]
    assert {t.dtype for t in half.model.parameters()} == {torch.float32}
    assert {t.dtype for t in adam_tensors(half.optimiser).values()} == {torch.float32}


def test_a_network_with_several_classifiers_shares_the_loss_among_them():
    config = TrainReidConfig("pcb_p4", 2, 4, 64, 32, 1e-3)
    trainer = ReidTrainer(network(config), config, 0, CPU)
    images, nobody = torch.randn(4, 3, 64, 32), torch.zeros(4, dtype=torch.bool)

    given = {"img": images, "pid": torch.arange(4), "is_generated": nobody}

    assert trainer.step(given, 0)["loss"].isfinite()


def train_as(group, people, config, out):
    """All steps of a training on real images, as one of several group."""
    mix = Mix(read_market1501(people).train)
    training = Training(mix, transforms_of(config)[0], 0)
    torch.manual_seed(0)
    trainer = ReidTrainer(build_network(config, len(training.labels)), config, 0, CPU, group)
    batches = Batches(mix, config, 0, part=group.part_of(config.batch))
    losses = []
    for number, one in enumerate(DataLoader(training, batch_sampler=batches)):
        losses.append({name: loss.item() for name, loss in trainer.step(one, number).items()})
    torch.save((losses, trainer.state()), out / f"{group.rank}-of-{group.size}.pt")


@pytest.mark.parametrize(
    "config", [replace(PLAIN, steps=3), replace(STRONG, steps=3)], ids=["plain", "strong"]
)
def test_two_ranks_train_what_one_process_trains(people, tmp_path, config):
    assert exit_codes(started(train_as, 2, people, config, tmp_path)) == [0, 0]
    train_as(ProcessGroup(), people, config, tmp_path)

    single, whole = torch.load(tmp_path / "0-of-1.pt")
    (left, one), (right, other) = (torch.load(tmp_path / f"{rank}-of-2.pt") for rank in (0, 1))
    assert left == right
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [list(step) for step in left] == [list(step) for step in single]
    assert left[0] == pytest.approx(single[0], rel=1e-4)
    for ours, theirs in zip(left, single, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=2e-2)
    assert one.keys() == whole.keys()
    for name in ("model/layer1.0.bn1.running_mean", "model/backbone.layer1.0.bn1.running_mean"):
        if name in whole:
            torch.testing.assert_close(one[name], whole[name], rtol=1e-2, atol=1e-3)
