"""The measurement of the generator in the package: metrics, baselines and the re-ID network."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import demo_generator
from reid_aug.backbones import build_backbone
from reid_aug.backbones.checkpoint import MODEL_FORMAT
from reid_aug.bank import Bank
from reid_aug.data.dataset import DataConfig, read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from reid_aug.people import read_people
from reid_aug.runtime.weights import read_tensors, write_tensors
from reid_aug.stages.synthesize import SynthesizeConfig, plan_bank, synthesize
from reid_aug.stages.train_reid import transforms_of
from reid_aug.stages.train_reid.settings import TrainReidConfig

SIZE = (128, 64)
CPU = torch.device("cpu")


@pytest.fixture
def image():
    """Smooth noise, (128, 64, 3) uint8."""
    small = np.random.default_rng(0).integers(0, 256, (16, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize(SIZE[::-1], Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def bank(people, tmp_path_factory):
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    settings = SynthesizeConfig(ratio=0.3, method="renderer", cameras="target")
    job = plan_bank(dataset, poses, None, settings, DataConfig(keep=0.5), 0)
    return synthesize(job, tmp_path_factory.mktemp("bank"), CPU)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("reid") / "model.safetensors"
    settings = TrainReidConfig("resnet18", height=64, width=32)
    torch.manual_seed(0)
    metadata = {"format": MODEL_FORMAT, "recipe": asdict(settings)}
    write_tensors(path, build_backbone("resnet18", 4, 64, 32).state_dict(), metadata)
    return path


def test_the_limb_warp_moves_the_limbs_and_keeps_the_background(image):
    pose = np.stack([np.linspace(20, 44, 18), np.linspace(20, 100, 18)], 1).astype(np.float32)
    pose[[2, 5, 8, 11]] = [(22, 28), (42, 28), (26, 60), (38, 60)]

    still = demo_generator.limb_warp(image, pose, pose)
    moved = demo_generator.limb_warp(image, pose, pose + np.float32(6))

    assert np.abs(still.astype(int) - image).max() <= 1
    torso = (slice(40, 56), slice(34, 40))
    before = (slice(34, 50), slice(28, 34))
    assert np.abs(moved[torso].astype(int) - image[before]).max() <= 1
    assert np.array_equal(moved[:, :4], image[:, :4])


def test_the_truth_has_no_difference_from_itself(image):
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


def test_another_generator_is_compared_row_by_row():
    found, beside = np.zeros((3, 4, 3)), np.zeros((3, 4, 3))
    found[:, 2, 0], beside[:, 2, 0] = [5, 6, 8], [1, 2, 3]

    lines = demo_generator.table(found, beside).splitlines()

    assert lines[6].startswith("| beside | 2.000 ± 0.577 |")
    assert lines[9].startswith("| generated - beside | +4.333 ± 0.333 |")


def test_a_score_is_written_into_the_metadata_and_the_weights_stay_the_same(tmp_path):
    path, found = tmp_path / "generator.safetensors", np.arange(24.0).reshape(2, 4, 3)
    save_generator(Generator(GeneratorConfig(width=4, blocks=1)), path, {"seed": 7})
    tensors = read_tensors(path)[0]

    demo_generator.write_score(path, "source", found)
    demo_generator.write_score(path, "target", found[:1])

    again, metadata = read_tensors(path)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in again.items())
    assert metadata["seed"] == 7
    assert metadata["score"]["source"]["rows"] == 2
    assert metadata["score"]["source"]["generated"] == {
        "L1, person": 12.0, "L1, picture": 13.0, "SSIM, person": 14.0
    }  # fmt: skip
    assert metadata["score"]["target"]["truth"]["L1, person"] == 9.0


def features_of(network, images):
    model = build_backbone("resnet18", 4, 64, 32).eval()
    model.load_state_dict(read_tensors(network)[0])
    transform = transforms_of(TrainReidConfig(height=64, width=32))[1]
    with torch.no_grad():
        return model(torch.stack([transform(Image.fromarray(image)) for image in images]))


@pytest.fixture(scope="module")
def row(bank, people):
    return next(iter(demo_generator.rows_of(Bank(bank), people)))


def test_the_margin_is_that_of_a_line_up_in_the_pose_and_camera_of_the_image(people, network, row):
    train, known = read_market1501(people).train, read_people(people)
    pid = next(image.pid for image in train if image.name == row.source)
    first = {image.pid: image.name for image in reversed(train)}
    rendered = [known.truth(first[p], row.target, row.camid) for p in sorted(first)]
    near = torch.cosine_similarity(
        features_of(network, [row.images["copy"]]), features_of(network, rendered)
    )
    own = sorted(first).index(pid)
    margin = float(near[own] - torch.cat([near[:own], near[own + 1 :]]).max())

    values = demo_generator.IdentityMetric(network, people).values(row)

    assert values.shape == (4, 3)
    assert values[0, 0] == pytest.approx(margin, abs=1e-4)
    assert values[:, 1].tolist() == (values[:, 0] > 0).tolist()


def test_the_album_is_the_mean_of_a_person_s_other_images(people, network, row):
    train = read_market1501(people).train
    features = extract_features_of(network, train)
    pids = torch.tensor([image.pid for image in train])
    others = torch.tensor([image.name != row.source for image in train])
    means = torch.stack([features[others & (pids == pid)].mean(0) for pid in pids.unique()])
    near = torch.cosine_similarity(features_of(network, [row.images["copy"]]), means)
    is_own = pids.unique() == pids[~others]

    values = demo_generator.IdentityMetric(network, people).values(row)

    expected = float(near[is_own] - near[~is_own].max())
    assert values[0, 2] == pytest.approx(expected, abs=1e-4)


def extract_features_of(network, train):
    return torch.cat([features_of(network, [np.asarray(Image.open(i.path))]) for i in train])


def test_a_file_without_a_re_id_network_is_refused(people, bank, tmp_path, monkeypatch):
    write_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(1)}, {})
    monkeypatch.setattr(demo_generator, "cached_people", lambda config: people)

    for name, message in (
        ("other", "must be a network that reid-aug train-reid wrote"),
        ("nowhere", "is missing"),
    ):
        with pytest.raises(SystemExit, match=f"error: .*{message}"):
            demo_generator.main([str(bank), "--model", str(tmp_path / f"{name}.safetensors")])


def test_only_a_bank_of_the_same_rows_is_compared(people, bank, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo_generator, "cached_people", lambda config: people)
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    settings = SynthesizeConfig(ratio=0.3, method="renderer", cameras="target")
    job = plan_bank(dataset, poses, None, settings, DataConfig(keep=0.5), 1)
    other = synthesize(job, tmp_path / "other", CPU)

    demo_generator.main([str(bank), "--beside", str(bank)])

    assert "| generated - beside | +0.000 ± 0.000 |" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="must hold the rows of the first bank"):
        demo_generator.main([str(bank), "--beside", str(other)])


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
    assert "| margin | found | album |" in long
    lines = {line.split(" | ")[0].strip("| "): line for line in long.splitlines() if line}
    perfect = "0.000 ± 0.000 | 0.000 ± 0.000 | 1.000 ± 0.000"
    assert perfect in lines["truth"]
    assert perfect in lines["generated"]  # this bank contains true renders
    assert perfect not in lines["limb warp"]
    assert "nan" not in long
    assert len(Bank(bank)) >= 4
    with Image.open(tmp_path / "demo.png") as picture:
        assert picture.mode == "P"
