"""The measurement of the shipped generator: its metrics, and the rival that cuts limbs out."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from reid_aug.grids import demo_generator, limb_warp
from reid_aug.grids.limb_warp import parts

from reid_aug.backbones import build_backbone
from reid_aug.bank import Bank
from reid_aug.dataset import DataConfig, read_market1501
from reid_aug.features import extract_features
from reid_aug.poses import read_keypoints
from reid_aug.synthesize import SynthesizeConfig, prepare, synthesize
from reid_aug.train_reid import MODEL_FORMAT, TrainReidConfig, _transforms
from reid_aug.weights import read_tensors, write_tensors

SIZE = (128, 64)
STANDING = np.array(
    [
        (32, 14), (32, 26), (22, 28), (18, 42), (16, 56), (42, 28), (46, 42), (48, 56),
        (26, 60), (25, 84), (24, 108), (38, 60), (39, 84), (40, 108),
        (30, 12), (34, 12), (28, 13), (36, 13),
    ],
    np.float32,
)  # fmt: skip
AWAY = np.array([6, 4], np.float32)
CPU = torch.device("cpu")


@pytest.fixture
def image():
    """Smooth noise, (128, 64, 3) uint8."""
    small = np.random.default_rng(0).integers(0, 256, (16, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize(SIZE[::-1], Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def bank(people, tmp_path_factory):
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    settings = SynthesizeConfig(ratio=0.3, artist="renderer", cameras="target")
    job = prepare(dataset, poses, None, settings, DataConfig(keep=0.5), 0)
    return synthesize(job, tmp_path_factory.mktemp("bank"), CPU)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("reid") / "model.safetensors"
    settings = TrainReidConfig("resnet18", height=64, width=32)
    torch.manual_seed(0)
    notes = {"format": MODEL_FORMAT, "recipe": asdict(settings)}
    write_tensors(path, build_backbone("resnet18", 4, 64, 32).state_dict(), notes)
    return path


def joined(found):
    return np.max([mask for mask, _ in found], axis=0)


def test_equal_poses_leave_the_picture_as_it_is(image):
    assert len(list(parts(STANDING, STANDING, SIZE))) == 10
    assert np.array_equal(limb_warp.limb_warp(image, STANDING, STANDING), image)


def test_a_translated_pose_takes_the_parts_along(image):
    moved = limb_warp.limb_warp(image, STANDING, STANDING + AWAY)

    inside = joined(parts(STANDING, STANDING, SIZE)) == 1
    assert np.array_equal(moved[4:, 6:][inside[:-4, :-6]], image[:-4, :-6][inside[:-4, :-6]])
    outside = joined(parts(STANDING, STANDING + AWAY, SIZE)) == 0
    assert np.array_equal(moved[outside], image[outside])


def test_a_torso_from_the_side_still_has_a_width():
    side = STANDING.copy()
    side[[2, 5, 8, 11], 0] = 32

    found = list(parts(STANDING, side, SIZE))

    mask, back = found[4]
    assert 5 < mask[45].sum() < 10
    assert abs(np.linalg.det(back[:, :2])) < 10
    assert all(np.isfinite(each).all() for pair in found for each in pair)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(("joint", "lost"), [(4, 1), (3, 2), (9, 2), (1, 1), (0, 0), (2, 10)])
def test_an_unseen_joint_leaves_its_parts_out(image, joint, lost, both):
    blind = STANDING.copy()
    blind[joint] = np.nan

    poses = (STANDING, blind) if both else (blind, STANDING)

    assert len(list(parts(*poses, SIZE))) == 10 - lost
    assert limb_warp.limb_warp(image, *poses).shape == image.shape


def test_the_truth_differs_from_itself_in_nothing(image):
    where = np.zeros(SIZE, bool)
    where[20:100, 10:50] = True

    assert demo_generator.difference(image, image, where) == 0
    assert demo_generator.similarity(image, image, where) == pytest.approx(1)
    assert demo_generator.difference(np.zeros_like(image), image * 0 + 255, where) == 2
    assert demo_generator.similarity(255 - image, image, where) < 0.5


def test_the_table_pairs_differences_by_row():
    found = np.zeros((3, 4, 3))
    found[:, 0, 0], found[:, 2, 0] = [1, 2, 3], [0, 1, 2]

    lines = demo_generator.table(found).splitlines()

    assert lines[2].startswith("| copy | 2.000 ± 0.577 |")
    assert lines[6].startswith("| generated - copy | -1.000 ± 0.000 |")


def test_a_margin_is_the_network_s_own(people, network):
    train = read_market1501(people).train
    margin = demo_generator.margin_of(network, train)
    model = build_backbone("resnet18", 4, 64, 32)
    model.load_state_dict(read_tensors(network)[0])
    transform = _transforms(TrainReidConfig(height=64, width=32))[1]
    features = extract_features(model, train, transform, CPU)
    pids = torch.tensor([image.pid for image in train])
    others = torch.arange(len(train)) > 0  # the source itself does not count
    means = torch.stack([features[others & (pids == pid)].mean(0) for pid in pids.unique()])
    near = torch.cosine_similarity(features[:1], means)

    image = np.asarray(Image.open(train[0].path))
    assert margin(image, train[0].name) == pytest.approx(float(near[0] - near[1:].max()), abs=1e-4)


def test_a_file_that_is_no_network_is_refused(people, bank, tmp_path, monkeypatch):
    write_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {})
    monkeypatch.setattr(demo_generator, "cached_people", lambda config: people)

    for name, message in (
        ("other", "must be a network that reid-aug train-reid wrote"),
        ("nowhere", "is missing"),
    ):
        with pytest.raises(SystemExit, match=f"error: .*{message}"):
            demo_generator.main([str(bank), "--model", str(tmp_path / f"{name}.safetensors")])


def test_the_script_prints_a_table_and_writes_a_picture(
    people, network, bank, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(demo_generator, "cached_people", lambda config: people)
    monkeypatch.setattr(demo_generator, "PICTURE", tmp_path / "demo.png")

    demo_generator.main([str(bank)])
    assert not (tmp_path / "demo.png").exists()
    demo_generator.main([str(bank), "--model", str(network), "--picture"])

    short, long = capsys.readouterr().out.split("rows, cameras target")[1:]
    assert "margin" not in short
    lines = {line.split(" | ")[0].strip("| "): line for line in long.splitlines() if line}
    perfect = "0.000 ± 0.000 | 0.000 ± 0.000 | 1.000 ± 0.000"
    assert perfect in lines["truth"]
    assert perfect in lines["generated"]  # the renderer drew this bank
    assert perfect not in lines["limb warp"]
    assert "nan" not in long
    assert len(Bank(bank)) >= 4
    with Image.open(tmp_path / "demo.png") as picture:
        assert picture.mode == "P"
