"""The methods: generators with and without cameras, and the references beside them."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from reid_aug.bank import Bank, shards
from reid_aug.bank.contact_sheet import write_contact_sheet
from reid_aug.bank.methods import GeneratorMethod, relit
from reid_aug.bank.methods.copies import COPY_JITTER
from reid_aug.data.dataset import DataConfig, read_image, read_market1501, resize
from reid_aug.data.keypoints import read_keypoints
from reid_aug.generator import Generator, GeneratorConfig, load_with_metadata, save_generator
from reid_aug.people import read_people
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.random_streams import BankStream
from reid_aug.stages.synthesize import SynthesizeConfig, describe, plan_bank, synthesize

LOAD = "reid_aug.bank.methods.generator.load_with_metadata"
DATA = DataConfig(height=32, width=16)
CPU = torch.device("cpu")
OTHERS = ("copies", "limb-warp", "renderer")


class CameraConditioned(nn.Module):
    """Stands in for a camera-conditioned generator: its images hold both cameras as grey values."""

    def __init__(self, cameras: int = 6) -> None:
        super().__init__()
        self.config = SimpleNamespace(cameras=cameras)

    def repose(self, image, source, target, cameras):
        assert source.shape == target.shape == (len(image), 18, 2)
        generated = torch.full_like(image, -1.0)
        if self.config.cameras:
            assert cameras.dtype == torch.int64
            generated[:, :2] = (cameras.float() / 127.5 - 1)[:, :, None, None]
        return generated


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("generator") / "generator.safetensors"
    save_generator(Generator(GeneratorConfig(width=4, blocks=1)), path, {"trained_on": "0" * 12})
    return path


@pytest.fixture
def camera_conditioned(monkeypatch):
    monkeypatch.setattr(
        LOAD,
        lambda path: (CameraConditioned(), {"trained_on": "0" * 12}),
    )


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 16)


def job_of(people, checkpoint, method, ratio=1.0, data=DATA, seed=0, **more):
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    settings = SynthesizeConfig(ratio=ratio, method=method, batch=8, **more)
    return plan_bank(dataset, poses, checkpoint, settings, data, seed)


@pytest.mark.parametrize("cameras", ["source", "target"])
def test_a_camera_conditioned_generator_receives_both_cameras(
    people, checkpoint, tmp_path, camera_conditioned, cameras
):
    job = job_of(people, checkpoint, "generator", 0.5, cameras=cameras)

    bank = Bank(synthesize(job, tmp_path, CPU))

    for number, row in enumerate(job.rows):
        wanted = (row.target if cameras == "target" else row.source).camid
        assert bank.image(number)[0, 0, :2].tolist() == [row.source.camid, wanted]
        assert bank.rows.camid[number] == wanted
    assert len({row.target.camid == row.source.camid for row in job.rows}) == 2


def test_a_generator_without_cameras_receives_none(people, checkpoint, monkeypatch):
    monkeypatch.setattr(LOAD, lambda path: (CameraConditioned(0), {}))
    job = job_of(people, checkpoint, "generator", 0.5)

    assert not job.method.generate(job.rows[:2]).any()


def test_the_target_s_camera_needs_a_camera_conditioned_generator(people, checkpoint):
    with pytest.raises(UserError, match=r"must be camera-conditioned.*generator\.cameras above 0"):
        job_of(people, checkpoint, "generator", cameras="target")


def test_the_method_generator_needs_a_checkpoint(people):
    with pytest.raises(UserError, match="--generator"):
        job_of(people, None, "generator")


def test_a_copy_is_its_source_mirrored_in_other_colours(people):
    job = job_of(people, None, "copies", 0.5)
    poses = read_keypoints(people / "keypoints.csv")

    generated = job.method.generate(job.rows)

    for row, image in zip(job.rows, generated, strict=True):
        assert row.target == row.source
        source = read_image(row.source.path, 32, 16)
        flipped, straight = (
            np.corrcoef(image.mean(2).ravel(), other.mean(2).ravel())[0, 1]
            for other in (source[:, ::-1], source)
        )
        assert flipped > 0.97
        assert flipped > straight
        change = image.mean() / source.mean()
        assert (1 - COPY_JITTER) ** 2 < change < (1 + COPY_JITTER) ** 2
        wanted = poses[row.source.name].resized((128, 64), (32, 16)).mirrored(16).xy
        assert np.array_equal(job.method.keypoints(row), wanted, equal_nan=True)


def test_copies_of_one_source_differ_and_follow_from_seed_identity_and_seat(people):
    job, other = (job_of(people, None, "copies", 4.0, seed=seed) for seed in (0, 1))
    name = job.rows[0].source.name
    same = [row for row in job.rows if row.source.name == name]
    assert len(same) >= 4

    generated = job.method.generate(same)

    assert len({image.tobytes() for image in generated}) == len(same)
    assert np.array_equal(job.method.generate(same[2:3])[0], generated[2])
    assert not np.array_equal(other.method.generate(same[2:3])[0], generated[2])


def test_jitter_changes_the_light_of_each_image_separately(people, checkpoint):
    plain, lit = (job_of(people, checkpoint, "generator", 0.5, jitter=j) for j in (0.0, 0.4))

    before, after = (job.method.generate(job.rows) for job in (plain, lit))

    for row, one, two in zip(lit.rows, before, after, strict=True):
        rng = np.random.default_rng([0, BankStream.JITTER, row.source.pid, row.seat])
        assert np.array_equal(two, relit(one, rng, 0.4))
        assert not np.array_equal(two, one)
    assert plain.attributes.plan != lit.attributes.plan


def test_the_light_changes_by_no_more_than_the_jitter():
    image = np.random.default_rng(0).integers(60, 120, (8, 4, 3), np.uint8)

    changes = [relit(image, np.random.default_rng(i), 0.2).mean() / image.mean() for i in range(99)]

    assert 0.78 < min(changes) < 0.85
    assert 1.15 < max(changes) < 1.22
    assert np.array_equal(relit(image, np.random.default_rng(0), 0.0), image)


def test_a_jitter_outside_its_range_is_refused():
    with pytest.raises(UserError, match="jitter must be at least 0 and below 1, got 1"):
        SynthesizeConfig(jitter=1.0)


def test_copies_have_no_other_camera(people):
    with pytest.raises(
        UserError,
        match=r"for method copies, got 'target'; set synthesize.cameras to source",
    ):
        SynthesizeConfig(method="copies", cameras="target")


def test_the_renderer_makes_the_true_images(people, tmp_path):
    job = job_of(people, None, "renderer", 0.25)

    bank = Bank(synthesize(job, tmp_path, CPU))

    known = read_people(people)
    for row in (0, len(bank) - 1):
        entry = bank[row]
        names, camid = (entry.source, entry.target), job.rows[row].source.camid
        assert entry.camid == camid
        assert np.array_equal(entry.image, resize(known.truth(*names, camid), 32, 16))
        in_the_light_of_its_source = resize(known.truth(*names), 32, 16)
        assert not np.array_equal(entry.image, in_the_light_of_its_source)


def test_the_renderer_shows_the_target_s_camera(people, tmp_path):
    job = job_of(people, None, "renderer", 0.25, cameras="target")
    number, row = next((i, r) for i, r in enumerate(job.rows) if r.camid != r.source.camid)

    bank = Bank(synthesize(job, tmp_path, CPU))

    names = row.source.name, row.target.name
    known = read_people(people)
    assert np.array_equal(bank.image(number), resize(known.truth(*names, row.camid), 32, 16))
    assert not np.array_equal(bank.image(number), resize(known.truth(*names), 32, 16))
    assert bank.rows.camid[number] == row.target.camid


@pytest.mark.parametrize("cameras", ["source", "target"])
def test_the_contact_sheet_shows_the_truth_under_the_camera_of_the_row(
    people, tmp_path, monkeypatch, cameras
):
    job = job_of(people, None, "renderer", 0.25, DataConfig(), cameras=cameras)
    shown = []
    monkeypatch.setattr("reid_aug.bank.contact_sheet.SHEET_ROWS", 4)
    monkeypatch.setattr("reid_aug.bank.contact_sheet.write_picture", lambda *_: None)
    monkeypatch.setattr(
        "reid_aug.bank.contact_sheet.sheet", lambda rows, *_, **__: shown.extend(rows)
    )

    write_contact_sheet(Bank(synthesize(job, tmp_path, CPU)), job.real, people, tmp_path)

    assert len(shown) == 4
    assert all(np.array_equal(generated, truth) for _, _, generated, truth in shown)


def test_the_renderer_works_on_the_built_in_people_only(people, tmp_path):
    copy = shutil.copytree(people, tmp_path / "data")
    (copy / "people.json").unlink()

    with pytest.raises(UserError, match="built-in people only"):
        job_of(copy, None, "renderer")


@pytest.mark.parametrize(
    ("method", "data"), [("copies", "kept"), ("limb-warp", "kept"), ("renderer", "whole")]
)
def test_a_bank_records_its_method_and_the_leak_status(people, tmp_path, method, data):
    job = job_of(people, None, method, 0.25)

    bank = Bank(synthesize(job, tmp_path, CPU))

    assert (bank.plan.method, bank.plan.cameras) == (method, "source")
    assert bank.attributes.generator_data == data
    assert job.method.description in describe(job)
    card = json.loads((tmp_path / "bank.json").read_text())
    assert (card["plan"]["method"], card["generator"]) == (method, None)


@pytest.mark.parametrize("method", OTHERS)
def test_a_bank_grows_to_the_bytes_of_one_generated_at_once(people, tmp_path, method):
    small = synthesize(job_of(people, None, method, 0.3), tmp_path / "grown", CPU)
    images, count = Bank(small).images(0, 10), len(Bank(small))
    assert count % 8  # the last batch was filled up
    whole = synthesize(job_of(people, None, method, 0.6), tmp_path / "whole", CPU)

    grown = synthesize(job_of(people, None, method, 0.6), tmp_path / "grown", CPU)

    assert grown.read_bytes() == whole.read_bytes()
    assert np.array_equal(Bank(whole).images(0, 10), images)


def test_no_method_extends_the_bank_of_another(people, checkpoint, tmp_path):
    path = synthesize(job_of(people, None, "copies", 0.25), tmp_path, CPU)
    before = path.read_bytes()

    for method in ("generator", "limb-warp", "renderer"):
        with pytest.raises(UserError, match="another generator"):
            synthesize(job_of(people, checkpoint, method, 0.5), tmp_path, CPU)

    assert path.read_bytes() == before


def test_a_bank_under_other_cameras_is_another(people, checkpoint, tmp_path, camera_conditioned):
    synthesize(job_of(people, checkpoint, "generator", 0.25), tmp_path, CPU)

    with pytest.raises(UserError, match="another plan"):
        synthesize(job_of(people, checkpoint, "generator", 0.5, cameras="target"), tmp_path, CPU)


def test_the_contact_sheet_of_copies_has_no_truth(people, tmp_path):
    job = job_of(people, None, "copies", 0.25, DataConfig())
    bank = Bank(synthesize(job, tmp_path, CPU))

    write_contact_sheet(bank, job.real, people, tmp_path / "sheet.png")

    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 4 * (3 * 2 * 64 + 8) - 8


def test_the_method_generator_states_the_leak_status(people, checkpoint):
    method = job_of(people, checkpoint, "generator").method

    assert isinstance(method, GeneratorMethod)
    assert method.generator_data == "external"
    assert str(checkpoint) in method.description


@pytest.mark.parametrize(("weights", "is_off"), [(None, True), ("0" * 64, False)])
def test_the_method_generator_states_whether_the_perceptual_loss_was_off(
    people, checkpoint, tmp_path, weights, is_off
):
    generator, notes = load_with_metadata(checkpoint)
    save_generator(generator, tmp_path / "g.safetensors", {**notes, "vgg_sha256": weights})

    method = job_of(people, tmp_path / "g.safetensors", "generator").method

    assert ("perceptual loss off" in method.description) == is_off
