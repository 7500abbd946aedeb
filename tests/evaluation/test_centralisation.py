"""Centralised features: means over drawings of test images, without a look at identities."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from reid_aug.data.dataset import DISTRACTOR, DataConfig, open_image, read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.evaluation.centralisation import (
    CentraliseConfig,
    GivenImages,
    PosedFeatures,
    centralised,
)
from reid_aug.evaluation.features import extract_features
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from reid_aug.runtime.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("generator") / "generator.safetensors"
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(width=4, blocks=1, cameras=6))
    save_generator(generator, path, {"trained_on": "0123456789ab"})
    return path


def posed_features(checkpoint, people, dataset=None, poses=None, **config):
    dataset = dataset or read_market1501(people)
    poses = read_keypoints(people / "keypoints.csv") if poses is None else poses
    return PosedFeatures(
        checkpoint, dataset, poses, DataConfig(32, 16), CentraliseConfig(**config), 0, CPU
    )


def to_tensor(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float()


class MeanColour(nn.Module):
    def forward(self, image):
        return image.mean((2, 3))


def test_a_feature_is_the_mean_over_the_image_and_its_generated_images(
    checkpoint, people, monkeypatch
):
    monkeypatch.setattr("reid_aug.evaluation.centralisation.POSED_BATCH", 7)
    images = read_market1501(people).query[:5]
    own = extract_features(MeanColour(), images, to_tensor, CPU)
    posed = posed_features(checkpoint, people)

    found = centralised(own, images, posed, MeanColour(), to_tensor, CPU)

    for image, feature in zip(images, found, strict=True):
        pictures = [open_image(image.path), *posed.generate([image])]
        means = np.stack([picture.mean((0, 1)) for picture in pictures])
        np.testing.assert_allclose(feature, means.mean(0), atol=0.05)


def test_identities_are_not_used(checkpoint, people):
    dataset = read_market1501(people)
    others = replace(
        dataset,
        query=tuple(replace(image, pid=99) for image in dataset.query),
        gallery=tuple(replace(image, pid=98) for image in dataset.gallery),
    )

    known, unknown = (posed_features(checkpoint, people, each) for each in (dataset, others))

    assert known.settings == unknown.settings
    np.testing.assert_array_equal(
        known.generate(dataset.query[:2]), unknown.generate(others.query[:2])
    )


def test_poses_are_of_training_images_and_differ(checkpoint, people):
    posed = posed_features(checkpoint, people)

    assert posed.per_image == len(set(posed.targets)) == 8
    assert set(posed.targets) <= set(read_market1501(people).train)
    assert posed.targets == posed_features(checkpoint, people).targets


def test_cameras_are_the_image_s_own_or_the_target_s(checkpoint, people, monkeypatch):
    asked = []
    image = read_market1501(people).query[0]
    for cameras in ("source", "target"):
        posed = posed_features(checkpoint, people, cameras=cameras)
        monkeypatch.setattr(posed.method, "generate", asked.append)
        posed.generate([image])

    own, theirs = ([row.camid for row in rows] for rows in asked)
    assert own == [image.camid] * 8
    assert theirs == [target.camid for target in posed.targets]


def test_images_without_a_pose_are_counted_and_not_left_out(checkpoint, people):
    poses = read_keypoints(people / "keypoints.csv")
    dataset = read_market1501(people)
    before = posed_features(checkpoint, people).poseless
    lost = next(i for i in dataset.gallery if poses[i.name].has_torso)
    del poses[lost.name]

    posed = posed_features(checkpoint, people, poses=poses)

    assert posed.poseless == before + 1
    assert f"{before + 1} images have no whole torso" in posed.words
    assert posed.generate([lost]).shape == (8, 32, 16, 3)


def test_no_pose_at_all_is_refused(checkpoint, people):
    poses = read_keypoints(people / "keypoints.csv")
    train = {image.name for image in read_market1501(people).train}

    with pytest.raises(UserError, match="give keypoints with --keypoints"):
        posed_features(checkpoint, people, poses={k: v for k, v in poses.items() if k in train})
    with pytest.raises(UserError, match="poses must be at least 1"):
        CentraliseConfig(0)


@pytest.fixture
def dump(people, tmp_path):
    """Two generated images of the first two queries, one of a gallery image, one of another."""
    dataset = read_market1501(people)
    names = {"pose1": [*dataset.query[:2], dataset.gallery[0]], "pose2": dataset.query[:2]}
    for level, (pose, images) in enumerate(names.items()):
        for image in (*images, dataset.train[0]):
            path = tmp_path / "dump" / pose / f"{image.path.stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            colour = (len(image.name), 40 * level, image.camid)
            Image.new("RGB", (64, 128), colour).save(path)
    (tmp_path / "dump/pose1/notes.txt").touch()
    return tmp_path / "dump"


def test_a_feature_is_the_mean_over_the_image_and_its_files(dump, people, monkeypatch):
    monkeypatch.setattr("reid_aug.evaluation.centralisation.POSED_BATCH", 4)
    dataset = read_market1501(people)
    images = [dataset.query[0], dataset.query[2], dataset.query[1]]
    own = extract_features(MeanColour(), images, to_tensor, CPU)
    given = GivenImages(dump, dataset, "external")

    found = centralised(own, images, given, MeanColour(), to_tensor, CPU)

    for image, feature in zip(images, found, strict=True):
        files = [dump / pose / f"{image.path.stem}.png" for pose in ("pose1", "pose2")]
        pictures = [image.path, *(path for path in files if path.exists())]
        means = np.stack([open_image(path).mean((0, 1)) for path in pictures])
        np.testing.assert_allclose(feature, means.mean(0), atol=0.05)
    assert torch.equal(found[1], own[1])  # it has no file


def test_files_of_test_images_are_counted(dump, people):
    dataset = read_market1501(people)
    given = GivenImages(dump, dataset, "external")

    assert f"5 generated images of 2 of {len(dataset.query)} query images" in given.words
    assert f"and 1 of {len(dataset.gallery)} gallery images" in given.words
    assert "2 of no query or gallery image left out" in given.words
    assert "1 ignored beside the images: 1 .txt (notes.txt)" in given.words
    assert given.words.endswith("their generator was trained on: external")
    assert given.per_image == 2
    before = given.settings["files_sha256"]
    Image.new("RGB", (64, 128)).save(dump / "pose1" / f"{dataset.query[0].path.stem}.png")
    assert GivenImages(dump, dataset, "external").settings["files_sha256"] != before


def test_distractors_without_files_are_counted(dump, people):
    dataset = read_market1501(people)
    first, second, *rest = dataset.gallery
    lists = replace(first, pid=DISTRACTOR), replace(second, pid=DISTRACTOR), *rest
    known = sum(image.pid == DISTRACTOR for image in rest)

    words = GivenImages(dump, replace(dataset, gallery=lists), "external").words

    assert f"; {known + 1} distractors have none" in words
