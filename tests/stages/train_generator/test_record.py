"""What a training writes while it runs: held-out numbers, the best so far, TensorBoard."""

import json
import os

import numpy as np
import pytest

from reid_aug.generator import load_with_metadata
from reid_aug.image_quality import mean_difference, ssim
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import sha256
from reid_aug.runtime.weights import write_tensors
from reid_aug.stages.train_generator import describe_best, describe_losses, train_generator
from reid_aug.stages.train_generator.folder import TrainingFolder
from reid_aug.stages.train_generator.record import validate
from reid_aug.stages.train_generator.trainer import Trainer
from tests.stages.test_train_generator import CPU, config, job, run


def logged(folder):
    lines = (folder / "training/log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_held_out_identities_are_measured_whenever_a_state_is_saved(people, tmp_path):
    run(people, tmp_path, config(held_out=1))

    lines = logged(tmp_path)
    assert [line["step"] for line in lines if "held_out_ssim" in line] == [2, 4, 6]
    scores = {line["step"]: line["held_out_ssim"] for line in lines if "held_out_ssim" in line}
    best = max(scores, key=scores.get)
    generator, notes = load_with_metadata(tmp_path / "training/best.safetensors")
    assert (notes["step"], notes["held_out_ssim"]) == (best, scores[best])
    assert describe_best(tmp_path).endswith(f"step {best}, SSIM {scores[best]:.3f}")
    assert len(notes["trained_on"]) % 12 == 0
    assert generator.config.width == 4


def test_the_numbers_are_those_of_the_pairs_drawn(people):
    pairs, network, settings, _ = job(people, config(held_out=2))
    trainer = Trainer(network, settings, 0, CPU)
    truth, drawn = [], []
    for batch in pairs.validation():
        truth += list(batch.truth.numpy())
        drawn += list(trainer.generate(batch))

    found = validate(trainer, pairs.validation())

    assert len(truth) == 64
    both = list(zip(truth, drawn, strict=True))
    assert found["held_out_l1"] == pytest.approx(np.mean([mean_difference(*p) for p in both]))
    assert found["held_out_ssim"] == pytest.approx(np.mean([ssim(*p, "clean") for p in both]))


def test_the_log_is_on_the_disk_before_the_state_that_counts_its_lines(
    people, tmp_path, monkeypatch
):
    log, synced, saved = tmp_path / "training/log.jsonl", [0], []
    fsync, save = os.fsync, TrainingFolder.save_state

    def sync(descriptor):
        fsync(descriptor)
        if log.exists() and os.fstat(descriptor).st_ino == log.stat().st_ino:
            synced.append(len(log.read_text().splitlines()))

    def save_state(self, tensors, step):
        saved.append((step, synced[-1]))
        save(self, tensors, step)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(TrainingFolder, "save_state", save_state)
    run(people, tmp_path, config())

    assert saved == [(2, 2), (4, 4), (6, 6)]


def test_going_on_keeps_the_best_and_its_numbers(people, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = config(held_out=1)
    run(people, whole, settings)
    step = Trainer.step

    def stop_at_five(self, batch, number):
        if number == 5:
            raise KeyboardInterrupt
        return step(self, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stop_at_five)
        with pytest.raises(KeyboardInterrupt):
            run(people, parts, settings)
    run(people, parts, settings)

    for name in ("training/best.safetensors", "generator.safetensors", "training/log.jsonl"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_step_that_does_not_draw_better_leaves_the_best(people, tmp_path, monkeypatch):
    scores = iter([0.2, 0.5, 0.4])
    monkeypatch.setattr(
        "reid_aug.stages.train_generator.record.validate",
        lambda *_: {"held_out_l1": 0.1, "held_out_ssim": next(scores)},
    )
    run(people, tmp_path, config(held_out=1))

    assert load_with_metadata(tmp_path / "training/best.safetensors")[1]["step"] == 4


def test_without_identities_held_out_nothing_is_best(people, tmp_path):
    run(people, tmp_path, config(steps=1))

    assert not (tmp_path / "training/best.safetensors").exists()
    assert describe_best(tmp_path) == ""
    assert not any(key.startswith("held_out") for key in logged(tmp_path)[0])


def test_every_line_says_that_the_perceptual_term_is_off(people, tmp_path):
    run(people, tmp_path, config(steps=2))

    assert [line["perceptual"] for line in logged(tmp_path)] == [None, None]
    assert describe_losses(config()) == "no train_generator.vgg: the perceptual loss is off"


def test_vgg_is_named_by_its_bytes(people, tmp_path):
    from tests.generator.test_adversary import vgg

    path = tmp_path / "vgg19.safetensors"
    write_tensors(path, vgg(), {})
    settings = config(steps=2, vgg=str(path))
    run(people, tmp_path / "run", settings)

    assert all(line["perceptual"] > 0 for line in logged(tmp_path / "run"))
    notes = load_with_metadata(tmp_path / "run/generator.safetensors")[1]
    assert (notes["perceptual_term"], notes["vgg_sha256"]) == (True, sha256(path))
    assert sha256(path) in describe_losses(settings)
    with pytest.raises(UserError, match=r"gone\.pth is missing; train_generator\.vgg must be"):
        describe_losses(config(vgg="gone.pth"))


def test_tensorboard_shows_what_the_log_says_and_changes_nothing(people, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown, plain = tmp_path / "shown", tmp_path / "plain"
    settings = config(steps=3, held_out=1, tensorboard=True)
    pairs, network, _, notes = job(people, settings)
    train_generator(pairs, network, settings, shown, notes, CPU)
    run(people, plain, config(steps=3, held_out=1))

    board = EventAccumulator(str(shown / "training"))
    board.Reload()
    for key in ("l1", "lr", "fool_pose", "held_out_ssim"):
        wanted = [(line["step"], line[key]) for line in logged(shown) if key in line]
        found = [(event.step, event.value) for event in board.Scalars(key)]
        assert found == [(step, pytest.approx(value, abs=1e-5)) for step, value in wanted]
    assert {event.step for event in board.Images("generated")} == {2, 3}
    name = "generator.safetensors"
    assert (shown / name).read_bytes() == (plain / name).read_bytes()
