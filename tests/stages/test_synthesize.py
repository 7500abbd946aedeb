"""Generating a bank: rows are independent of each other, and a stopped run can be resumed."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from reid_aug.bank import Bank, opening, shards
from reid_aug.bank.card import has_own_card, images_on_card
from reid_aug.bank.contact_sheet import write_contact_sheet
from reid_aug.bank.methods import GeneratorMethod
from reid_aug.data.dataset import DataConfig, read_image, read_market1501
from reid_aug.data.keypoints import read_keypoints, write_keypoints
from reid_aug.data.provenance import fingerprints
from reid_aug.generator import Generator, GeneratorConfig, save_generator, to_pixels, to_signed
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.files import locked
from reid_aug.stages import synthesize as verb
from reid_aug.stages.synthesize import SynthesizeConfig, plan_bank, synthesize

DATA = DataConfig(height=32, width=16)
CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(3)
    path = tmp_path / "generator.safetensors"
    save_generator(Generator(GeneratorConfig(width=4, blocks=2)), path, {"trained_on": "0" * 12})
    return path


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 16)


def make(people, checkpoint, folder, ratio, seed=0, data=DATA, mode="supplement"):
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    settings = SynthesizeConfig(ratio=ratio, mode=mode, batch=8)
    job = plan_bank(dataset, poses, checkpoint, settings, data, seed)
    return synthesize(job, folder, CPU), job


def test_a_row_holds_the_image_of_the_generator(people, checkpoint, tmp_path):
    path, job = make(people, checkpoint, tmp_path / "run", 0.5)
    bank, poses = Bank(path), read_keypoints(people / "keypoints.csv")
    for row in (0, len(bank) - 1):
        entry, planned = bank[row], job.rows[row]
        pixels = torch.from_numpy(read_image(planned.source.path, 32, 16)[None].copy())
        maps = [
            torch.from_numpy(poses[image.name].resized((128, 64), (32, 16)).heatmaps(32, 16)[None])
            for image in (planned.source, planned.target)
        ]
        with torch.inference_mode():
            wanted = to_pixels(job.method.generator(to_signed(pixels), *maps))[0].numpy()
        assert np.abs(wanted.astype(int) - entry.image).max() <= 1
        assert (entry.source, entry.target) == (planned.source.name, planned.target.name)
        assert (entry.pid, entry.camid) == (planned.source.pid, planned.source.camid)


def test_the_same_command_gives_the_same_bytes(people, checkpoint, tmp_path):
    first, _ = make(people, checkpoint, tmp_path / "a", 1.0)
    second, _ = make(people, checkpoint, tmp_path / "b", 1.0)
    assert first.read_bytes() == second.read_bytes()


def test_a_new_bank_is_opened_once(people, checkpoint, tmp_path, monkeypatch):
    opened = []
    scan = opening.find_heaps
    monkeypatch.setattr(opening, "find_heaps", lambda path: opened.append(path) or scan(path))

    path, _ = make(people, checkpoint, tmp_path / "run", 0.5)

    assert opened == [path]  # for its card; every opening reads the whole file
    assert images_on_card(path) == len(Bank(path))


def test_a_smaller_bank_is_a_prefix_and_extending_it_gives_the_larger_bytes(
    people, checkpoint, tmp_path
):
    small, _ = make(people, checkpoint, tmp_path / "grown", 0.5)
    part = Bank(small)
    images, sources = part.images(0, len(part)), part.rows.source
    large, _ = make(people, checkpoint, tmp_path / "at_once", 1.5)
    whole = Bank(large)
    assert np.array_equal(whole.images(0, len(images)), images)
    assert np.array_equal(whole.rows.source[: len(images)], sources)
    grown, _ = make(people, checkpoint, tmp_path / "grown", 1.5)
    assert grown.read_bytes() == large.read_bytes()


def test_a_smaller_ratio_leaves_a_larger_bank_alone(people, checkpoint, tmp_path):
    path, _ = make(people, checkpoint, tmp_path, 1.0)
    before = path.stat().st_mtime_ns
    make(people, checkpoint, tmp_path, 0.5)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("calls", [0, 1, 2, 3])
def test_a_stopped_run_goes_on_to_the_same_bytes(people, checkpoint, tmp_path, monkeypatch, calls):
    whole, _ = make(people, checkpoint, tmp_path / "whole", 1.0)
    compute, count = GeneratorMethod.compute, iter(range(100))

    def stop(self, material):
        if next(count) == calls:
            raise KeyboardInterrupt
        return compute(self, material)

    with monkeypatch.context() as patch:
        patch.setattr(GeneratorMethod, "compute", stop)
        with pytest.raises(KeyboardInterrupt):
            make(people, checkpoint, tmp_path / "stopped", 1.0)
    assert not (tmp_path / "stopped/bank.h5").exists()
    path, _ = make(people, checkpoint, tmp_path / "stopped", 1.0)
    assert path.read_bytes() == whole.read_bytes()
    assert sorted(file.name for file in path.parent.iterdir()) == ["bank.h5", "bank.json"]


def test_a_bank_of_other_settings_is_not_overwritten(people, checkpoint, tmp_path):
    path, _ = make(people, checkpoint, tmp_path, 1.0)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"another seed \(0, this one would have 1\)"):
        make(people, checkpoint, tmp_path, 1.0, seed=1)
    with pytest.raises(UserError, match="keep"):
        make(people, checkpoint, tmp_path, 1.0, data=DataConfig(32, 16, keep=0.5))
    assert path.read_bytes() == before


def test_replace_fills_up_to_the_old_number(people, checkpoint, tmp_path):
    _, job = make(people, checkpoint, tmp_path, 0.5, mode="replace")
    assert len(job.real) + len(job.rows) == len(read_market1501(people).train)
    assert job.attributes.keep == 0.5


def test_a_kept_bank_uses_kept_images_only(people, checkpoint, tmp_path):
    path, job = make(people, checkpoint, tmp_path, 2.0, data=DataConfig(32, 16, keep=0.5))
    names = {image.name for image in job.real}
    rows = Bank(path).rows
    assert set(rows.source) | set(rows.target) <= names
    assert len(names) < len(read_market1501(people).train)


def test_a_generator_that_saw_test_images_is_refused(people, tmp_path):
    seen = fingerprints(read_market1501(people).query[:1])
    save_generator(
        Generator(GeneratorConfig(width=4, blocks=1)),
        tmp_path / "g.safetensors",
        {"trained_on": seen},
    )
    with pytest.raises(UserError, match="query or gallery"):
        make(people, tmp_path / "g.safetensors", tmp_path / "run", 1.0)


def test_a_bank_is_not_extended_under_other_keypoints(people, checkpoint, tmp_path):
    make(people, checkpoint, tmp_path / "run", 0.5)
    copy = shutil.copytree(people, tmp_path / "data")
    poses = read_keypoints(copy / "keypoints.csv")
    train = read_market1501(copy).train
    name = next(image.name for image in train if poses[image.name].seen.any())
    write_keypoints(copy / "keypoints.csv", {**poses, name: poses[name].mirrored(64)})
    with pytest.raises(UserError, match="another set of keypoints"):
        make(copy, checkpoint, tmp_path / "run", 1.0)


def test_a_lost_card_is_written_again(people, checkpoint, tmp_path):
    path, _ = make(people, checkpoint, tmp_path / "run", 0.5)
    path.with_suffix(".json").unlink()
    make(people, checkpoint, tmp_path / "run", 0.5)
    assert json.loads(path.with_suffix(".json").read_text())["synthetic"] is True


def test_a_card_of_a_larger_bank_has_no_coverage_of_the_smaller_plan(people, checkpoint, tmp_path):
    path, _ = make(people, checkpoint, tmp_path / "run", 1.0)
    card = path.with_suffix(".json")
    assert json.loads(card.read_text())["coverage"]
    card.unlink()

    make(people, checkpoint, tmp_path / "run", 0.5)

    assert json.loads(card.read_text())["images"] == len(Bank(path))
    assert json.loads(card.read_text())["coverage"] is None


@pytest.mark.parametrize("is_tidy", [True, False])
def test_a_card_that_a_killed_run_did_not_reach_is_written_again(
    people, checkpoint, tmp_path, monkeypatch, is_tidy
):
    path, _ = make(people, checkpoint, tmp_path / "run", 0.5)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(verb, "_write_card", killed)
        if not is_tidy:
            patch.setattr(shards.Shards, "_tidy_up", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            make(people, checkpoint, tmp_path / "run", 1.0)
    assert not has_own_card(path)
    make(people, checkpoint, tmp_path / "run", 1.0)

    assert has_own_card(path)
    assert json.loads(path.with_suffix(".json").read_text())["images"] == len(Bank(path))
    assert sorted(file.name for file in path.parent.iterdir()) == ["bank.h5", "bank.json"]


@pytest.mark.parametrize("left", [["door.lock"], []])
def test_what_a_kill_at_the_very_end_left_is_removed(people, checkpoint, tmp_path, left):
    path, job = make(people, checkpoint, tmp_path / "run", 0.5)
    assert verb.is_finished(job, path)
    before, folder = path.read_bytes(), path.parent / "shards"
    folder.mkdir()
    for name in left:
        (folder / name).touch()
    assert not verb.is_finished(job, path)

    make(people, checkpoint, tmp_path / "run", 0.5)

    assert path.read_bytes() == before
    assert not folder.exists()


def test_two_at_once_in_one_folder_are_refused(people, checkpoint, tmp_path):
    with locked(tmp_path / "run"), pytest.raises(UserError, match="another reid-aug command"):
        make(people, checkpoint, tmp_path / "run", 0.5)


def test_ratio_zero_is_refused(people, checkpoint, tmp_path):
    with pytest.raises(UserError, match="ratio must be above 0"):
        make(people, checkpoint, tmp_path / "run", 0.0)


def test_the_card_describes_the_bank(people, checkpoint, tmp_path):
    path, job = make(people, checkpoint, tmp_path / "run", 0.5)
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["synthetic"] is True
    assert card["images"] == len(job.rows)
    assert card["generator_data"] == "external"
    assert "licence" in card


def test_the_contact_sheet_shows_four_columns_of_the_built_in_people(people, checkpoint, tmp_path):
    data = DataConfig()
    path, job = make(people, checkpoint, tmp_path / "run", 0.25, data=data)
    write_contact_sheet(Bank(path), job.real, people, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 4 * (4 * 2 * 64 + 8) - 8


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ratio", float("nan")),
        ("ratio", float("inf")),
        ("ratio", -1.0),
        ("mode", "swap"),
        ("poses", "best"),
        ("cameras", "other"),
        ("method", "painter"),
        ("batch", 7),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(key, value):
    with pytest.raises(UserError, match=key):
        SynthesizeConfig(**{key: value})
