"""The method limb-warp: moved limbs over a blurred background, without training."""

import numpy as np
import pytest
import torch

from reid_aug.bank import Bank
from reid_aug.bank.methods import LimbWarpMethod, Scene, method_named
from reid_aug.bank.methods.limb_warp import background, blurred
from reid_aug.bank.plan import PlannedRow
from reid_aug.data.dataset import DataConfig, read_image, read_market1501
from reid_aug.data.keypoints import NO_POSE, read_keypoints
from reid_aug.generator.limb_warp import warp_limbs
from reid_aug.stages.synthesize import SynthesizeConfig, plan_bank, synthesize

SIZE = (128, 64)


@pytest.fixture(scope="module")
def dataset(people):
    return read_market1501(people)


@pytest.fixture(scope="module")
def poses(people):
    return read_keypoints(people / "keypoints.csv")


@pytest.fixture(scope="module")
def whole(dataset, poses):
    """Training images with a complete torso."""
    return [image for image in dataset.train if poses.get(image.name, NO_POSE).has_torso]


def method_of(dataset, poses):
    return LimbWarpMethod(Scene(dataset, tuple(dataset.train), poses, SIZE, 0), "source", None)


def cover_of(source, target, poses):
    """Where the limbs of ``source`` lie in the pose of ``target``, (H, W) in [0, 1]."""
    xy = [torch.from_numpy(poses[image.name].xy)[None] for image in (source, target)]
    return warp_limbs(torch.zeros(1, 3, *SIZE), *xy)[1][0, 0].numpy()


def test_its_properties_need_nothing_but_the_kept_set():
    assert method_named("limb-warp") is LimbWarpMethod
    assert not LimbWarpMethod.needs_checkpoint
    assert not LimbWarpMethod.moves_cameras
    assert not LimbWarpMethod.built_in_people_only
    assert LimbWarpMethod.generator_data == "kept"


def test_an_unchanged_pose_gives_the_source_on_the_limbs_and_a_blur_elsewhere(
    dataset, poses, whole
):
    for image in whole[:6]:
        row = PlannedRow(image, image, image.camid, 0)

        generated = method_of(dataset, poses).generate([row])[0].astype(float)

        assert generated.shape == (*SIZE, 3)
        source, cover = read_image(image.path, *SIZE).astype(float), cover_of(image, image, poses)
        assert (cover == 1).mean() > 0.05
        assert np.abs(generated - source)[cover == 1].max() <= 1
        steps = np.abs(np.diff(generated, axis=1))[(cover[:, 1:] == 0) & (cover[:, :-1] == 0)]
        assert steps.max() < 16  # no edge of the source is left in the background


def test_another_pose_moves_the_limbs(dataset, poses, whole):
    source, target = whole[0], whole[-1]
    row = PlannedRow(source, target, source.camid, 0)
    method = method_of(dataset, poses)

    generated = method.generate([row])[0].astype(float)

    xy = [torch.from_numpy(poses[image.name].xy)[None] for image in (source, target)]
    pixels = torch.from_numpy(read_image(source.path, *SIZE).copy()).permute(2, 0, 1).float()[None]
    limbs, cover = warp_limbs(pixels, *xy)
    inside = cover[0, 0].numpy() == 1
    assert np.abs(generated - limbs[0].permute(1, 2, 0).numpy())[inside].max() <= 0.5
    still = method.generate([PlannedRow(source, source, source.camid, 0)])[0]
    assert np.abs(generated - still)[inside].mean() > 5
    assert np.array_equal(method.keypoints(row), poses[target.name].xy, equal_nan=True)


def test_a_row_depends_neither_on_its_batch_nor_on_the_run(dataset, poses, whole):
    rows = [PlannedRow(a, b, a.camid, 0) for a, b in zip(whole[:4], whole[4:8], strict=True)]

    first, second = (method_of(dataset, poses).generate(rows) for _ in range(2))

    assert np.array_equal(first, second)
    turned = method_of(dataset, poses).generate(rows[::-1])[::-1]
    assert np.array_equal(first, turned)


def test_the_person_is_removed_from_the_background():
    images = torch.full((1, 3, 32, 16), 100.0)
    person = torch.zeros(1, 1, 32, 16)
    images[..., 8:24, 6:10], person[..., 8:24, 6:10] = 250.0, 1.0

    found = background(images, person)

    torch.testing.assert_close(found, torch.full_like(found, 100.0))
    assert blurred(images).max() > 130


def test_without_any_background_the_blurred_source_is_taken():
    images = torch.rand(1, 3, 32, 16) * 255

    found = background(images, torch.ones(1, 1, 32, 16))

    torch.testing.assert_close(found, blurred(images))


def test_a_row_without_a_pose_is_the_blurred_source(dataset, whole):
    image = whole[0]

    generated = method_of(dataset, {}).generate([PlannedRow(image, image, image.camid, 0)])[0]

    pixels = torch.from_numpy(read_image(image.path, *SIZE).copy()).permute(2, 0, 1).float()[None]
    wanted = blurred(pixels)[0].permute(1, 2, 0).round().numpy()
    assert np.abs(generated - wanted).max() <= 1


def test_a_bank_is_made_without_a_generator(dataset, poses, tmp_path):
    config = SynthesizeConfig(ratio=0.5, method="limb-warp", batch=8)
    job = plan_bank(dataset, poses, None, config, DataConfig(height=32, width=16), 0)

    bank = Bank(synthesize(job, tmp_path, torch.device("cpu")))

    assert bank.plan.method == "limb-warp"
    assert bank.attributes.generator_data == "kept"
    assert np.array_equal(bank.images(0, 8), job.method.generate(job.rows[:8]))
    assert bank.rows.target[0] == job.rows[0].target.name
