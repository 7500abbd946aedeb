"""Training: the published schedule, one step of all networks, and a resume that changes nothing."""

import json
import shutil
import threading
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image

from reid_aug.backbones import build_backbone
from reid_aug.backbones.checkpoint import MODEL_FORMAT
from reid_aug.data.dataset import DataConfig, read_market1501
from reid_aug.data.keypoints import heatmaps, read_keypoints
from reid_aug.data.provenance import joined_fingerprints
from reid_aug.generator import GeneratorConfig, load_generator, load_with_metadata
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.weights import read_tensors, write_tensors
from reid_aug.stages.train_generator import (
    TrainGeneratorConfig,
    pairs_of,
    seconds_per_step,
    train_generator,
    training_metadata,
)
from reid_aug.stages.train_generator.folder import TrainingFolder
from reid_aug.stages.train_generator.identity_model import IdentityModel
from reid_aug.stages.train_generator.pairs import Pairs
from reid_aug.stages.train_generator.trainer import Trainer
from reid_aug.stages.train_reid.settings import TrainReidConfig
from tests.stages.train_reid.test_reid_trainer import is_right_in_bfloat16

NETWORK = GeneratorConfig(width=4, blocks=2)
SHOWN = GeneratorConfig(width=4, blocks=2, cameras=6, limbs=True)
DATA = DataConfig(height=32, width=16)
CPU = torch.device("cpu")


def config(**changes) -> TrainGeneratorConfig:
    small = {"steps": 6, "batch": 2, "discriminator_width": 4, "pool": 2, "save_every": 2}
    return TrainGeneratorConfig(**{**small, "flip": True, "ema": 0.9, **changes})


def job(people, settings, seed=0, network=NETWORK):
    real = read_market1501(people).train
    poses = read_keypoints(people / "keypoints.csv")
    pairs = pairs_of(real, poses, DATA, settings, seed)
    return pairs, network, settings, training_metadata(pairs, network, settings, real, poses)


def run(people, folder, settings, seed=0, network=NETWORK):
    pairs, network, settings, notes = job(people, settings, seed, network)
    return train_generator(pairs, network, settings, folder, notes, CPU)


def test_the_published_learning_rate():
    published = TrainGeneratorConfig()

    def factor(epoch):
        return published.rate((epoch - 1) * 125) / 2e-4

    assert factor(1) == factor(499) == 1
    assert factor(500) == pytest.approx(0.995, abs=1e-3)
    assert factor(600) == pytest.approx(0.4975, abs=1e-4)
    assert factor(699) == pytest.approx(0.005, abs=1e-4)
    assert factor(700) == pytest.approx(0, abs=1e-12)


def batch_norms(network):
    return [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]


def test_a_constant_rate_without_decay():
    constant = config(decay=0.0)
    assert {constant.rate(step) for step in range(6)} == {constant.lr}


def test_networks_begin_as_published():
    trainer = Trainer(GeneratorConfig(width=16, blocks=1), config(), 0, CPU)
    weight = trainer.generator.encode_image[4].weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert trainer.networks["pose"].encode[4].weight.std().item() > 0.03
    scales = torch.cat([
        layer.weight
        for name in ("appearance", "pose")
        for layer in batch_norms(trainer.networks[name])
    ])  # fmt: skip
    assert scales.min() >= 0
    assert scales.max() <= 1
    assert scales.mean().item() == pytest.approx(0.5, abs=0.1)
    assert scales.std().item() == pytest.approx(12**-0.5, abs=0.05)
    assert torch.cat([layer.weight for layer in batch_norms(trainer.generator)]).std() < 0.03


def test_a_step_moves_all_three_networks_and_reports_every_loss(people):
    pairs, network, settings, _ = job(people, config())
    trainer = Trainer(network, settings, 0, CPU)
    before = {k: v.clone() for k, v in trainer.state().items() if k.endswith("weight")}
    losses = trainer.step(pairs[0], 0)
    moved = {
        k.split("/")[0]
        for k, v in trainer.state().items()
        if k in before and not v.equal(before[k])
    }
    assert moved == {"generator", "appearance", "pose", "average"}
    assert losses.keys() == {"l1", "fool_appearance", "fool_pose", "appearance", "pose"}
    assert all(np.isfinite(value) for value in losses.values())


def test_the_losses_of_a_step_are_the_published_ones(people):
    pairs, _, settings, _ = job(people, config(pool=0))
    trainer, twin = (
        Trainer(GeneratorConfig(width=4, blocks=2, dropout=0.0), settings, 0, CPU) for _ in "ab"
    )
    image, truth, *xy, _ = twin._inputs(pairs[0])
    source, target = (heatmaps(one, *image.shape[-2:]) for one in xy)
    generated = twin.generator(image, source, target)
    losses = trainer.step(pairs[0], 0)
    label = torch.nn.BCELoss()
    score = torch.sigmoid(twin.networks["pose"](torch.cat([generated, target], 1)))
    assert losses["l1"] == pytest.approx((generated - truth).abs().mean().item(), rel=1e-5)
    assert losses["fool_pose"] == pytest.approx(
        label(score, torch.ones_like(score)).item(), rel=1e-4
    )
    fresh = Trainer(GeneratorConfig(width=4, blocks=2, dropout=0.0), settings, 0, CPU).networks[
        "pose"
    ]
    real = torch.sigmoid(fresh(torch.cat([truth, target], 1)))
    fake = torch.sigmoid(fresh(torch.cat([generated.detach(), target], 1)))
    wanted = 2.5 * label(real, torch.ones_like(real)) + 2.5 * label(fake, torch.zeros_like(fake))
    assert losses["pose"] == pytest.approx(wanted.item(), rel=1e-4)


def test_cameras_are_told_and_learned(people):
    pairs, _, settings, _ = job(people, config(pool=0))
    trainer = Trainer(GeneratorConfig(width=4, blocks=2, cameras=6), settings, 0, CPU)

    trainer.step(pairs[0], 0)

    taken, drawn = (set(column.tolist()) for column in (pairs[0].cameras - 1).T)
    for style, met in (
        (trainer.generator.leave_camera[0], taken),
        (trainer.generator.enter_camera[0], drawn),
    ):
        moved = style.shift.weight.detach().abs().sum(1) > 0
        assert set(moved.nonzero().flatten().tolist()) == met


def test_a_camera_beyond_those_told_is_refused_before_anything_is_written(people, tmp_path):
    pairs, _, settings, notes = job(people, config())
    last = max(image.camid for image in pairs.images)
    network = GeneratorConfig(width=4, blocks=2, cameras=last - 1)

    with pytest.raises(UserError, match=f"the largest camid, {last}, got {last - 1}; try --set"):
        train_generator(pairs, network, settings, tmp_path / "run", notes, CPU)

    assert not (tmp_path / "run").exists()


def test_a_stopped_training_ends_in_the_same_weights(people, tmp_path, monkeypatch):
    whole = load_generator(run(people, tmp_path / "whole", config())).state_dict()
    step = Trainer.step

    def stop_at_five(self, batch, number):
        if number == 5:
            raise KeyboardInterrupt
        return step(self, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stop_at_five)
        with pytest.raises(KeyboardInterrupt):
            run(people, tmp_path / "stopped", config())
    assert not (tmp_path / "stopped/generator.safetensors").exists()
    resumed = load_generator(run(people, tmp_path / "stopped", config())).state_dict()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    logs = [(tmp_path / name / "training/log.jsonl").read_text() for name in ("whole", "stopped")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0].splitlines()] == [1, 2, 3, 4, 5, 6]


def test_a_batch_is_read_while_the_step_before_it_is_made(people, tmp_path, monkeypatch):
    read, step, made = Pairs.__getitem__, Trainer.step, []
    begun = {number: threading.Event() for number in range(6)}

    def noted(self, number):
        begun[number].set()
        return read(self, number)

    def slow(self, batch, number):
        made.append((number, number == 5 or begun[number + 1].wait(30)))
        return step(self, batch, number)

    monkeypatch.setattr(Pairs, "__getitem__", noted)
    monkeypatch.setattr(Trainer, "step", slow)
    run(people, tmp_path, config())

    assert made == [(number, True) for number in range(6)]


@pytest.mark.parametrize("error", [UserError("no such image"), KeyboardInterrupt()], ids=repr)
def test_who_reads_ahead_fails_and_ends_with_the_training(people, tmp_path, monkeypatch, error):
    read, step, threads = Pairs.__getitem__, Trainer.step, threading.active_count()

    def fails(self, number):
        if number == 3:
            raise error
        return read(self, number)

    def interrupted(self, batch, number):
        if number == 3:
            raise error
        return step(self, batch, number)

    if isinstance(error, UserError):
        monkeypatch.setattr(Pairs, "__getitem__", fails)
    else:
        monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(type(error)):
        run(people, tmp_path, config())

    assert threading.active_count() == threads
    assert len((tmp_path / "training/log.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("network", [NETWORK, SHOWN], ids=["plain", "shown limbs"])
@pytest.mark.parametrize("stopped_at", [2, 3, 4])
def test_a_training_that_begins_alone_and_is_stopped_ends_alike(
    people, tmp_path, stopped_at, network
):
    settings = config(steps=5, discriminator_start=0.6, save_every=5)
    pairs, _, _, notes = job(people, settings, network=network)
    early = Trainer(network, settings, 0, CPU)
    for number in range(stopped_at):
        early.step(pairs[number], number)
    whole = run(people, tmp_path / "whole", settings, network=network)
    TrainingFolder(tmp_path / "parts", notes).save_state(early.state(), stopped_at)
    shutil.copy(tmp_path / "whole/training/log.jsonl", tmp_path / "parts/training/log.jsonl")

    parts = run(people, tmp_path / "parts", settings, network=network)

    assert parts.read_bytes() == whole.read_bytes()
    log = (tmp_path / "whole/training/log.jsonl").read_text().splitlines()
    assert ["appearance" in json.loads(line) for line in log] == [False] * 3 + [True] * 2


@pytest.mark.parametrize("number", [0, 1])
def test_discriminators_rest_as_long_as_the_generator_is_alone(people, number):
    pairs, network, settings, _ = job(people, config(steps=2, discriminator_start=0.5))
    trainer = Trainer(network, settings, 0, CPU)
    before = {name: tensor.clone() for name, tensor in trainer.state().items()}

    losses = trainer.step(pairs[number], number)

    moved = {
        name.partition("/")[0]
        for name, tensor in before.items()
        if not torch.equal(tensor, trainer.state()[name])
    }
    discriminators = {"appearance", "pose"} if number else set()
    assert moved == {"generator", "average"} | discriminators
    assert set(losses) == {"l1"} | discriminators | {f"fool_{name}" for name in discriminators}


def test_a_generator_that_stays_alone_has_no_discriminators(people, tmp_path):
    _, network, settings, _ = job(people, config(steps=2, discriminator_start=1.0))

    assert set(Trainer(network, settings, 0, CPU).networks) == {"generator"}
    assert load_generator(run(people, tmp_path, settings)).config == network


def test_what_reads_the_limbs_learns(people):
    pairs, _, settings, _ = job(people, config(steps=2, discriminator_start=1.0))
    trainer = Trainer(SHOWN, settings, 0, CPU)
    before = [one.detach().clone() for one in trainer.generator.encode_limbs.parameters()]

    trainer.step(pairs[0], 0)

    after = list(trainer.generator.encode_limbs.parameters())
    assert len(after) > 6
    assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))


@pytest.fixture(scope="module")
def identity_model(people, tmp_path_factory):
    """A fresh re-ID network that says what it has seen: one made-up image."""
    path = tmp_path_factory.mktemp("identity_model") / "model.safetensors"
    torch.manual_seed(0)
    recipe = asdict(TrainReidConfig("resnet18", height=32, width=16))
    notes = {"format": MODEL_FORMAT, "recipe": recipe, "trained_on": "0123456789ab"}
    write_tensors(path, build_backbone("resnet18", 3, 32, 16).state_dict(), notes)
    return path


def test_the_identity_loss_trains_the_generator_only(people, identity_model):
    pairs, network, settings, _ = job(
        people, config(identity_model=str(identity_model), identity_weight=3.0)
    )
    taught = Trainer(network, settings, 0, CPU)
    plain = Trainer(network, replace(settings, identity_model=""), 0, CPU)
    inputs, conditions_of = taught._inputs(pairs[0]), {}
    totals = {}
    for trainer in (plain, taught):
        torch.manual_seed(0)
        drawn, losses = trainer._step_generator(inputs, conditions_of)
        totals[trainer] = float(trainer._total(losses).detach())

    apart = IdentityModel(identity_model)(drawn, inputs.truth)

    assert float(losses["identity"].detach()) == pytest.approx(float(apart), rel=1e-4)
    assert totals[taught] == pytest.approx(totals[plain] + 3 * float(apart), rel=1e-4)
    assert set(taught.networks) == set(plain.networks)


def test_the_images_of_the_identity_model_count_as_images_of_the_generator(
    people, identity_model, tmp_path
):
    plain = job(people, config())[-1]
    taught = job(people, config(identity_model=str(identity_model)))[-1]
    tensors, notes = read_tensors(identity_model)
    write_tensors(
        tmp_path / "silent.safetensors",
        tensors,
        {"format": MODEL_FORMAT, "recipe": notes["recipe"]},
    )
    silent = job(people, config(identity_model=str(tmp_path / "silent.safetensors")))[-1]

    assert taught["trained_on"] == joined_fingerprints([plain["trained_on"], "0123456789ab"])
    assert "0123456789ab" in taught["trained_on"]
    assert silent["trained_on"] == ""
    assert (plain["identity_model_sha256"], taught["identity_model_sha256"]) == (
        None,
        sha256(identity_model),
    )
    assert taught["recipe"]["train_generator"]["identity_model"] == "model.safetensors"


def test_half_precision_is_about_the_same_step(people):
    pairs, _, settings, _ = job(people, config())
    half = Trainer(SHOWN, replace(settings, bf16=True), 0, CPU)
    if not is_right_in_bfloat16(lambda: half.check_precision(DATA.height, DATA.width)):
        return
    losses = {
        bf16: Trainer(SHOWN, replace(settings, bf16=bf16), 0, CPU).step(pairs[0], 0)
        for bf16 in (False, True)
    }

    assert losses[True] != losses[False]
    assert losses[True] == pytest.approx(losses[False], rel=0.05)


@pytest.mark.parametrize(
    ("steps", "start", "mean"),
    [(2, 0.0, 4.0), (2, 0.1, 4.0), (4, 0.5, 2.5), (4, 1.0, 1.0)],
)
def test_the_time_of_a_step_counts_both_kinds(people, monkeypatch, steps, start, mean):
    pairs, network, settings, _ = job(people, config(steps=steps, discriminator_start=start))
    clock = [0.0]

    def work(self, batch, number):
        clock[0] += 1.0 if number < settings.steps_before_discriminators else 4.0

    monkeypatch.setattr(Trainer, "step", work)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    assert seconds_per_step(pairs, network, settings, CPU) == pytest.approx(mean)


def test_what_a_training_leaves_behind(people, tmp_path):
    path = run(people, tmp_path, config())
    notes = load_with_metadata(path)[1]
    states = sorted(file.name for file in (tmp_path / "training").glob("*.safetensors"))
    assert states == ["00000004.safetensors", "00000006.safetensors"]
    assert notes["step"] == 6
    log = (tmp_path / "training/log.jsonl").read_text().splitlines()
    l1 = [json.loads(line)["l1"] for line in log]
    means = [pytest.approx(sum(l1[i : i + 2]) / 2, abs=1e-4) for i in (0, 2, 4)]
    assert notes["learning_curve"] == [[2, means[0]], [4, means[1]], [6, means[2]]]
    assert notes["perceptual_term"] is False
    assert len(notes["trained_on"]) == 12 * len(read_market1501(people).train)
    with Image.open(tmp_path / "training/samples/00000006.png") as sheet:
        assert sheet.width > 4 * 2 * DATA.width


def test_the_same_training_again_is_done_already(people, tmp_path):
    path = run(people, tmp_path, config())
    before = path.stat().st_mtime_ns
    assert run(people, tmp_path, config()) == path
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("leave", ["generator.safetensors", "training"])
def test_another_training_is_not_overwritten(people, tmp_path, leave):
    run(people, tmp_path, config())
    if leave == "training":
        (tmp_path / "generator.safetensors").unlink()
    with pytest.raises(UserError, match="other settings or data"):
        run(people, tmp_path, config(lr=1e-3))


def test_a_diverged_training_leaves_no_generator(people, tmp_path):
    with pytest.raises(UserError, match="no longer numbers"):
        run(people, tmp_path, config(lr=1e30))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="no longer numbers"):
        run(people, tmp_path / "new" / "run", config(lr=1e30))
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_training_ends_in_the_same_file(people, tmp_path):
    whole = run(people, tmp_path / "a", config()).read_bytes()
    assert run(people, tmp_path / "b", config()).read_bytes() == whole


def test_seeds_differ_and_repeat(people, tmp_path):
    weights = [
        load_generator(run(people, tmp_path / name, config(steps=2), seed)).state_dict()
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    key = "decode.7.weight"
    assert torch.equal(weights[0][key], weights[1][key])
    assert not torch.equal(weights[0][key], weights[2][key])


def test_training_does_not_touch_the_global_random_state(people):
    pairs, network, settings, _ = job(people, config())
    before = torch.get_rng_state()
    Trainer(network, settings, 0, CPU).step(pairs[0], 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", 0),
        ("lr", float("nan")),
        ("decay", 1.5),
        ("gan", "wgan"),
        ("pairs", "some"),
        ("held_out", -1),
        ("ema", 1.0),
        ("discriminator_start", 1.1),
        ("l1_weight", float("nan")),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(key, value):
    with pytest.raises(UserError, match=key):
        config(**{key: value})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # of the compiler
def test_a_compiled_step_is_about_the_same(people):
    pairs, _, settings, _ = job(people, config(pool=0, discriminator_blocks=1))
    network = GeneratorConfig(width=4, blocks=1, norm="instance", dropout=0.0)
    plain, compiled = (
        Trainer(network, replace(settings, compile=is_on), 0, CPU) for is_on in (False, True)
    )

    for number in range(2):
        losses = plain.step(pairs[number], number)
        assert compiled.step(pairs[number], number) == pytest.approx(losses, rel=1e-2)

    assert compiled.state().keys() == plain.state().keys()
    assert compiled.averaged().state_dict().keys() == plain.averaged().state_dict().keys()


def test_without_a_compiler_compile_is_refused_in_one_sentence(people, tmp_path, monkeypatch):
    def no_compiler(function):
        def fail(*_):
            raise RuntimeError("no C++ compiler found\nand many lines more")

        return fail

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(UserError, match=r"compile needs a compiler for cpu .* compiler found\)"):
        run(people, tmp_path / "run", config(compile=True))
    assert not (tmp_path / "run").exists()
