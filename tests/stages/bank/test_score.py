"""Scores of a bank by a network: identity and margin, and what the scorer has seen."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from tfjs_graphs import write_movenet
from torch.nn import functional as F

from reid_aug.backbones import build_backbone
from reid_aug.backbones.checkpoint import MODEL_FORMAT
from reid_aug.backbones.inceptions import IMAGENET_MEAN, IMAGENET_STD
from reid_aug.bank import Bank
from reid_aug.data.dataset import DataConfig, kept, read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.data.provenance import fingerprints
from reid_aug.mixing import Mix, parse_min_score
from reid_aug.pose_estimators import MoveNet
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import write_tensors
from reid_aug.stages.bank.score import score_bank
from reid_aug.stages.synthesize import SynthesizeConfig, plan_bank, synthesize
from reid_aug.stages.train_reid import train_reid
from reid_aug.stages.train_reid.settings import TrainReidConfig

CPU = torch.device("cpu")
SIZE = (64, 32)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_backbone("resnet18", 4, *SIZE).eval()


@pytest.fixture
def scorer(network, tmp_path):
    """Write the network as train-reid does; it says that it has seen what it is told."""

    def write(seen):
        path = tmp_path / "model.safetensors"
        recipe = asdict(TrainReidConfig("resnet18", height=SIZE[0], width=SIZE[1]))
        notes = {"format": MODEL_FORMAT, "recipe": recipe, "trained_on": seen}
        write_tensors(path, network.state_dict(), notes)
        return path

    return write


@pytest.fixture
def bank(people, tmp_path):
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    settings = SynthesizeConfig(ratio=1.0, method="copies")
    job = plan_bank(dataset, poses, None, settings, DataConfig(*SIZE, keep=0.5), 0)
    return Bank(synthesize(job, tmp_path / "run", CPU))


def features(network, pictures):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    small = [Image.fromarray(p).resize(SIZE[::-1], Image.Resampling.BILINEAR) for p in pictures]
    batch = torch.from_numpy(np.stack([np.asarray(p) for p in small])).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        return F.normalize(network((batch - mean) / std), dim=1)


def test_identity_and_margin_are_those_of_a_direct_computation(people, network, scorer, bank):
    dataset = read_market1501(people)
    real = kept(dataset.train, 0.5)
    known = features(network, [np.asarray(Image.open(image.path)) for image in real])
    pids = np.array([image.pid for image in real])
    means = {p: F.normalize(known[pids == p].mean(0), dim=0) for p in sorted(set(pids.tolist()))}
    drawn = features(network, [bank.image(row) for row in range(len(bank))])

    found = score_bank(bank, dataset, {"scorer": scorer(fingerprints(real))}, CPU)

    again = Bank(bank.path)
    for row, pid in enumerate(bank.rows.pid.tolist()):
        near = {p: float(drawn[row] @ mean) for p, mean in means.items()}
        own = near.pop(pid)
        assert found["identity"][row] == pytest.approx(own, abs=1e-4)
        assert found["margin"][row] == pytest.approx(own - max(near.values()), abs=1e-4)
        assert again.scores["margin"][row] == found["margin"][row]


@pytest.mark.parametrize(
    ("seen", "least", "is_free"),
    [
        ("kept", "margin=-1", True),
        ("left out", "margin=-1", False),
        ("nobody noted it", "margin=-1", False),
        ("left out", "sharpness=0", True),
    ],
)
def test_the_leak_status_of_the_scorer_counts_for_a_mix_that_it_filters(
    people, scorer, bank, tmp_path, seen, least, is_free
):
    dataset = read_market1501(people)
    known = {"kept": kept(dataset.train, 0.5), "left out": dataset.train}.get(seen, ())
    score_bank(bank, dataset, {"scorer": scorer(fingerprints(known))}, CPU)
    mix = Mix(dataset.train, Bank(bank.path), 0.5, keep=0.5, min_score=parse_min_score((least,)))

    path = train_reid(
        mix, dataset, TrainReidConfig("resnet18", 1, 2, *SIZE), tmp_path / "cell", 0, CPU
    )

    assert json.loads(path.read_text())["leak_free"] is is_free


def test_the_score_pose_is_the_part_of_the_target_joints_that_are_found(people, bank, tmp_path):
    joints = np.random.default_rng(0).uniform(0.3, 0.7, (17, 3))  # y, x, score of the square
    scored = write_movenet(tmp_path / "movenet.json", joints)
    seen = MoveNet(str(scored)).estimate(bank.image(0))[:, :2]

    found = score_bank(bank, read_market1501(people), {"movenet": scored}, CPU)

    for row in range(len(bank)):
        asked = bank.rows.keypoints[row]
        is_asked = ~np.isnan(asked[:, 0])
        near = [np.hypot(*(a - b)) < SIZE[0] / 16 for a, b in zip(asked, seen, strict=True)]
        expected = np.sum(near) / max(1, is_asked.sum())
        assert found["pose"][row] == pytest.approx(expected, abs=1e-6)
    assert found["pose"].std() > 0
    assert Bank(bank.path).about_scores["pose"]["data"] == "external"


def test_a_scorer_trained_on_test_images_is_refused(people, scorer, bank):
    dataset = read_market1501(people)

    with pytest.raises(UserError, match="scorer was trained on query or gallery images"):
        score_bank(bank, dataset, {"scorer": scorer(fingerprints(dataset.query))}, CPU)
    assert not Bank(bank.path).scores
