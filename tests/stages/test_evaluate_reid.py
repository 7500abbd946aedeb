"""reid-aug reid evaluate: the numbers of a training, rows that join a file, and what is refused."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from reid_aug.backbones.checkpoint import MODEL_FORMAT
from reid_aug.cli import main
from reid_aug.data.dataset import DataConfig, read_market1501
from reid_aug.data.provenance import fingerprints
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from reid_aug.runtime.errors import UserError
from reid_aug.runtime.weights import write_tensors
from reid_aug.stages.evaluate_reid import (
    EvaluatedNetwork,
    EvaluateReidJob,
    gain,
    name_of,
    read_rows,
)
from reid_aug.stages.train_reid import TrainReidConfig

CPU = torch.device("cpu")
SMALL_IMAGES = ("--set", "data.height=32", "--set", "data.width=16")
SCORES = ("mAP", "rank1", "rank5", "rank10", "mINP", "ap", "queries")


def call(*words, code=0):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def small_backbone(*_):
    """A small network in place of a backbone, to save time."""
    torch.manual_seed(0)
    pool = nn.AdaptiveAvgPool2d((4, 1))
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), pool, nn.Flatten())


@pytest.fixture(autouse=True)
def small_backbones(monkeypatch):
    monkeypatch.setattr("reid_aug.backbones.checkpoint.build_backbone", small_backbone)


def write_network(path, trained_on="0123456789ab"):
    model = small_backbone()
    recipe = asdict(TrainReidConfig("resnet18", height=32, width=16))
    metadata = {"format": MODEL_FORMAT, "recipe": recipe, "trained_on": trained_on}
    write_tensors(path, model.state_dict(), metadata)
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("network") / "model.safetensors")


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    path = tmp_path_factory.mktemp("generator") / "generator.safetensors"
    torch.manual_seed(0)
    save_generator(
        Generator(GeneratorConfig(width=4, blocks=1)), path, {"trained_on": "0123456789ab"}
    )
    return path


@pytest.fixture
def words(network, people, tmp_path):
    return "reid", "evaluate", network, "--data", people, "--out", tmp_path / "run"


def path_of(result):
    return Path(result.stdout.splitlines()[-1])


def rows_of(result):
    content = json.loads(path_of(result).read_text())
    return {row["row"]: row for row in content["rows"]}, content


def test_the_plain_row_is_the_result_of_the_training(people, tmp_path, monkeypatch):
    monkeypatch.undo()
    small = ("train_reid.steps=1", "train_reid.batch=4", "train_reid.height=32")
    settings = [word for one in (*small, "train_reid.width=16") for word in ("--set", one)]
    given = ("--data", people, "--out", tmp_path / "run")
    path = path_of(call("train-reid", *given, "--ratio", 0, *settings))
    result = json.loads(path.read_text())

    model = path.with_name("model.safetensors")
    rows, content = rows_of(call("reid", "evaluate", model, *given))

    assert {key: rows["plain"][key] for key in SCORES} == {key: result[key] for key in SCORES}
    assert content["ap_definition"] == result["ap_definition"]
    assert content["dataset_sha256"] == result["dataset_sha256"]
    assert content["model_data"] == "kept"


def test_every_row_is_there_and_the_table_defines_its_numbers(words, generator):
    result = call(*words, *SMALL_IMAGES, "--rerank", "--generator", generator, "--poses", 2)

    rows, content = rows_of(result)
    assert list(rows) == ["plain", "centralised", "rerank", "centralised + rerank"]
    assert rows["rerank"]["settings"] == {"rerank": {"k1": 20, "k2": 6, "own_weight": 0.3}}
    assert len(rows["centralised"]["settings"]["centralised"]["targets"]) == 2
    assert all(0 <= row["mAP"] <= 1 for row in rows.values())
    assert len({row["mAP"] for row in rows.values()}) > 1
    assert content["model_data"] == "external"
    lines = result.stdout.splitlines()
    assert "step (mean precision at the hits)" in lines[0]
    assert "pid 0 kept as distractor" in lines[0]
    assert [line.split("  ")[0] for line in lines[3:7]] == list(rows)
    assert f"{100 * rows['rerank']['mAP']:.2f}" in lines[5]


def test_the_same_command_finds_it_done_and_another_row_joins(words):
    first = call(*words)
    plain, _ = rows_of(first)
    before = path_of(first).read_bytes()

    again = call(*words)

    assert again.stdout == first.stdout
    assert "extract features" not in again.stderr
    assert path_of(first).read_bytes() == before
    rows, _ = rows_of(call(*words, "--rerank"))
    assert list(rows) == ["plain", "rerank"]
    assert rows["plain"] == plain["plain"]


def test_the_evaluation_of_another_network_is_not_overwritten(words, tmp_path):
    call(*words)
    other = tmp_path / words[2].parent.name / "model.safetensors"
    write_network(other, trained_on="ba9876543210")

    line = call(*words[:2], other, *words[3:], code=2).stderr

    assert "evaluation of something else, which differs in model_sha256" in line


def test_a_network_without_recorded_training_images_is_not_leak_free(words, tmp_path):
    other = write_network(tmp_path / "unknown" / "model.safetensors", trained_on="")

    result = call(*words[:2], other, *words[3:])

    assert "training images not all recorded" in result.stderr
    assert rows_of(result)[1]["model_data"] == "whole"


def test_a_network_or_generator_that_was_trained_on_test_images_is_refused(words, people, tmp_path):
    trained_on = fingerprints(read_market1501(people).query[:1])
    model = write_network(tmp_path / "leaky" / "model.safetensors", trained_on)
    unsafe = tmp_path / "leaky.safetensors"
    save_generator(
        Generator(GeneratorConfig(width=4, blocks=1)), unsafe, {"trained_on": trained_on}
    )

    assert (
        "network was trained on query or gallery images"
        in call(*words[:2], model, *words[3:], code=2).stderr
    )
    assert (
        "generator was trained on query or gallery images"
        in call(*words, "--generator", unsafe, code=2).stderr
    )
    assert not (tmp_path / "run").exists()


def test_every_mistake_of_a_user_is_one_sentence(words, people, generator, tmp_path):
    data = shutil.copytree(people, tmp_path / "data")
    absent = "reid", "evaluate", tmp_path / "absent.safetensors", "--data", people
    wrong = "reid", "evaluate", generator, "--data", people

    assert "absent.safetensors is missing" in call(*absent, code=2).stderr
    assert "must be a network that reid-aug train-reid wrote" in call(*wrong, code=2).stderr
    assert "must be given with --generator" in call(*words, "--poses", 3, code=2).stderr
    assert (
        "poses must be at least 1"
        in call(*words, "--generator", generator, "--poses", 0, code=2).stderr
    )
    assert "must be a generator checkpoint" in call(*words, "--generator", words[2], code=2).stderr
    for path in (data / "bounding_box_test").glob("[0-9]*"):
        path.rename(path.with_name(f"0000{path.name[4:]}"))
    line = call(*words, "--data", data, code=2).stderr
    assert f"{data / 'query'}: no query has a match in the gallery under another camera" in line
    assert not (tmp_path / "run").exists()


def write_images_of(images, folder, size=(64, 128)):
    folder.mkdir()
    for image in images:
        Image.new("RGB", size, (image.pid % 256, 9, 9)).save(folder / image.name)
    return folder


def test_images_of_another_generator_are_averaged(words, people, tmp_path):
    dataset = read_market1501(people)
    given = write_images_of((*dataset.query, *dataset.gallery), tmp_path / "pose1")

    result = call(*words, "--generated", given, "--trained-on", "external")

    rows, _ = rows_of(result)
    assert list(rows) == ["plain", "centralised"]
    settings = rows["centralised"]["settings"]["centralised"]
    assert settings["images"] == len(dataset.query) + len(dataset.gallery)
    assert settings["generator_data"] == "external"
    # the colour of a generated image is that of its pid
    assert rows["centralised"]["mAP"] > rows["plain"]["mAP"]
    assert "done already" in call(*words, "--generated", given, "--trained-on", "external").stderr


def test_images_that_cannot_be_averaged_are_one_sentence(words, people, tmp_path):
    dataset = read_market1501(people)
    train = write_images_of(dataset.train[:2], tmp_path / "train")
    wide = write_images_of(dataset.query[:1], tmp_path / "wide", (128, 64))
    good = write_images_of(dataset.query[:1], tmp_path / "good")
    broken = write_images_of(dataset.query[:1], tmp_path / "broken")
    (broken / dataset.query[0].name).write_bytes(b"no image")
    faults = {
        ("--generated", train): "must hold generated images that are named after query or gallery",
        ("--generated", wide): "got 64 high and 128 wide",
        ("--generated", broken): "must be an image that decodes",
        ("--generated", tmp_path / "absent"): "there is no such folder",
        ("--generated", good, "--generator", "demo"): "give one of them",
        ("--generated", good, "--trained-on", "me"): "--trained-on must be one of kept, external",
        ("--trained-on", "kept"): "must be given with --generated FOLDER",
    }
    for given, fault in faults.items():
        assert fault in call(*words, *given, code=2).stderr
    assert not (tmp_path / "run").exists()


def test_an_image_that_does_not_decode_leaves_nothing(words, people, tmp_path):
    data = shutil.copytree(people, tmp_path / "data")
    next((data / "bounding_box_test").glob("0000*")).write_bytes(b"no image")

    assert "must be an image that decodes" in call(*words, "--data", data, code=2).stderr
    assert not (tmp_path / "run").exists()


def test_keypoints_of_other_images_are_refused_with_a_generator(words, generator, tmp_path):
    keypoints = tmp_path / "none.csv"
    train = [image.name for image in read_market1501(words[4]).train]
    lines = (words[4] / "keypoints.csv").read_text().splitlines()
    mine = [line for line in lines[1:] if line.split(":")[0] in train]
    keypoints.write_text("\n".join([lines[0], *mine]) + "\n")

    given = (*words, "--generator", generator, "--keypoints", keypoints)

    assert "query and gallery images has keypoints" in call(*given, code=2).stderr


def test_a_file_that_is_no_evaluation_is_not_overwritten(words, people, tmp_path):
    path = tmp_path / "run/evaluations" / f"{name_of(words[2], people)}.json"
    path.parent.mkdir(parents=True)
    path.write_text("[]")

    assert "must be a result of reid evaluate, got" in call(*words, code=2).stderr
    assert path.read_text() == "[]"


def test_a_dry_run_prints_the_cost_and_writes_nothing(words, generator, tmp_path):
    given = (*SMALL_IMAGES, "--generator", generator, "--poses", 1)

    result = call(*words, *given, "--dry-run")

    assert "would write" in result.stdout
    assert ": about " in result.stdout
    assert not (tmp_path / "run").exists()


def test_the_ranking_is_what_is_scored(network, people, tmp_path):
    tested = EvaluatedNetwork(network, read_market1501(people), DataConfig(), CPU)
    job = EvaluateReidJob(tested, tmp_path / "a.json")

    distances, scores = tested.ranking()

    assert distances.shape == (len(tested.dataset.query), len(tested.dataset.gallery))
    assert scores.mAP == job.scores(job.rows()[0]).mAP


def test_rows_are_computed_once(network, people, tmp_path, monkeypatch):
    tested = EvaluatedNetwork(network, read_market1501(people), DataConfig(), CPU)
    job = EvaluateReidJob(tested, tmp_path / "a.json")
    assert job.run() == job.path
    rows = job.results()
    monkeypatch.setattr(EvaluateReidJob, "scores", None)

    assert job.run() == job.path
    assert [row["row"] for row in rows] == ["plain"]
    assert job.results() == rows


def test_a_gain_is_over_queries_that_both_count():
    own, plain = {"a": 0.5, "b": 0.7, "c": None}, {"a": 0.4, "b": 0.4, "c": None}

    mean, width = gain(own, plain)

    assert mean == pytest.approx(0.2)
    assert width == pytest.approx(12.706 * np.std([0.1, 0.3], ddof=1) / np.sqrt(2), rel=1e-4)
    assert np.isnan(gain({"a": 1.0}, {"a": 0.5})[1])


def test_the_name_of_an_evaluation(tmp_path):
    assert name_of(tmp_path / "cell" / "model.safetensors", tmp_path / "m") == "cell-on-m"
    assert name_of(tmp_path / "nets" / "mine.safetensors", tmp_path / "m") == "mine-on-m"


def test_an_evaluation_without_rows_is_refused(tmp_path):
    path = tmp_path / "e.json"
    path.write_text(json.dumps({"format": "reid_aug.evaluation/1", "rows": []}))

    with pytest.raises(UserError, match=r"e\.json: rows must be at least one row, got \[\]"):
        read_rows(path, {})
