import itertools
import json
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tfjs_graphs import write_movenet

from reid_aug.cli import main
from reid_aug.data.dataset import read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.data.pair_lists import sampled_pairs, write_pairs
from reid_aug.data.provenance import fingerprints
from reid_aug.generator import Generator, GeneratorConfig, save_generator
from reid_aug.image_quality import cut, ssim
from reid_aug.image_quality.declarations import BUILT_IN_METRICS, METRIC_GROUP
from reid_aug.image_quality.metrics import Metric
from reid_aug.runtime.weights import write_tensors
from reid_aug.stages.evaluate_generator import choose_pairs

FREE = ("SSIM", "mask-SSIM", "L1")
NAMES = {name for declaration in BUILT_IN_METRICS for name in declaration.names}
COUNT = 20


@pytest.fixture
def generator(tmp_path) -> Path:
    path = tmp_path / "g.safetensors"
    save_generator(Generator(GeneratorConfig(width=4, blocks=1)), path, {"trained_on": "0" * 16})
    return path


@pytest.fixture
def pairs(people) -> list[tuple[str, str]]:
    return choose_pairs(
        read_market1501(people), read_keypoints(people / "keypoints.csv"), None, COUNT
    )[0]


def evaluate(people, out, *words):
    command = ["generator", "evaluate", "--data", people, "--out", out, "--count", COUNT, *words]
    return CliRunner().invoke(main, [str(word) for word in command])


def quality(out) -> dict:
    return json.loads((out / "quality.json").read_text())


def generated_images(people, folder, pairs, suffix=".png"):
    """The real targets as generated images: the best that is possible."""
    folder.mkdir()
    for source, target in pairs:
        image = Image.open(people / "bounding_box_test" / target)
        image.save(folder / f"{source}___{target}_vis{suffix}")
    return folder


def test_the_pairs_are_the_published_ones_of_the_gallery(people, pairs):
    gallery = {image.name for image in read_market1501(people).gallery}
    poses = read_keypoints(people / "keypoints.csv")

    assert pairs == sampled_pairs({n: p for n, p in poses.items() if n in gallery}, COUNT)
    assert {name for pair in pairs for name in pair} <= gallery


def test_every_number_names_its_protocol_and_nothing_is_skipped(people, generator, tmp_path):
    result = evaluate(people, tmp_path / "run", "--generator", generator)

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(tmp_path / "run" / "quality.json")
    found = quality(tmp_path / "run")
    assert tuple(found["measures"]) == FREE
    assert all(set(values) == {"patn", "clean"} for values in found["measures"].values())
    assert set(found["missing"]) == NAMES - set(FREE)
    assert "not measured: needs alexnet-owt" in found["missing"]["LPIPS"]
    for name in found["missing"]:
        assert f"\n{name:<18}  not measured: needs " in result.stdout
    assert (found["pairs"], found["generator_data"]) == (COUNT, "external")


def test_pckh_is_measured_with_an_estimator(people, generator, tmp_path):
    weights = write_movenet(tmp_path / "m.json", np.full((17, 3), 0.5))

    result = evaluate(people, tmp_path / "run", "--generator", generator, "--movenet", weights)

    assert result.exit_code == 0, result.output
    found = quality(tmp_path / "run")
    assert 0 <= found["measures"]["PCKh"]["patn"] < 0.3  # all joints in the middle
    assert "PCKh" not in found["missing"]
    assert set(found["weights"]) == {"movenet"}


def test_the_real_targets_are_perfect_generated_images(people, pairs, tmp_path):
    folder = generated_images(people, tmp_path / "theirs", pairs)

    result = evaluate(people, tmp_path / "run", "--images", folder)

    assert result.exit_code == 0, result.output
    measures = quality(tmp_path / "run")["measures"]
    assert measures["SSIM"]["clean"] == measures["mask-SSIM"]["clean"] == 1
    assert measures["L1"]["clean"] == 0
    assert 0.97 < measures["SSIM"]["patn"] < 1  # through JPEG, and the target truncated first
    assert 0 < measures["L1"]["patn"] < 0.03


def test_published_sheets_are_used_as_they_are(people, pairs, tmp_path):
    folder, rng = tmp_path / "theirs", np.random.default_rng(0)
    folder.mkdir()
    expected = []
    for source, target in pairs:
        path = folder / f"{source}___{target}_vis.jpg"
        Image.fromarray(rng.integers(0, 256, (128, 320, 3)).astype(np.uint8)).save(path)
        view = cut(np.asarray(Image.open(path)))
        expected.append(ssim(view.target, view.generated, "patn"))

    result = evaluate(people, tmp_path / "run", "--images", folder)

    assert result.exit_code == 0, result.output
    found = quality(tmp_path / "run")["measures"]["SSIM"]
    assert found["patn"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert found["clean"] < 0.2  # against the data set's own target


def test_a_pair_without_a_generated_image_is_one_sentence(people, pairs, tmp_path):
    folder = generated_images(people, tmp_path / "theirs", pairs)
    next(folder.iterdir()).unlink()

    result = evaluate(people, tmp_path / "run", "--images", folder)

    assert result.exit_code == 2
    assert (
        f"must hold a generated image of every pair, got none for 1 of {COUNT}; the"
        in result.stderr
    )
    assert not (tmp_path / "run").exists()


def test_a_generated_image_of_another_size_is_one_sentence(people, pairs, tmp_path):
    folder = generated_images(people, tmp_path / "theirs", pairs)
    path = sorted(folder.iterdir())[0]
    Image.new("RGB", (65, 128)).save(path)

    result = evaluate(people, tmp_path / "run", "--images", folder)

    assert result.exit_code == 2
    assert f"{path}: must be 64 or, with five panels, 320 pixels wide and 128 high" in result.stderr
    assert not (tmp_path / "run" / "quality.json").exists()


def test_any_pairs_can_be_measured(people, generator, tmp_path):
    train = [image.name for image in read_market1501(people).train]
    write_pairs(tmp_path / "p.csv", [*itertools.pairwise(train[:6])])

    result = evaluate(
        people, tmp_path / "run", "--generator", generator, "--pairs", tmp_path / "p.csv"
    )

    assert result.exit_code == 0, result.output
    assert quality(tmp_path / "run")["pairs"] == 5


def test_a_pair_of_unknown_images_is_one_sentence_with_the_line(people, generator, tmp_path):
    train = [image.name for image in read_market1501(people).train]
    write_pairs(tmp_path / "p.csv", [(train[0], train[1]), (train[0], "gone.jpg")])

    result = evaluate(
        people, tmp_path / "run", "--generator", generator, "--pairs", tmp_path / "p.csv"
    )

    assert result.exit_code == 2
    assert "p.csv: line 3: gone.jpg must be the name of an image of the data set" in result.stderr


def test_the_same_command_again_reads_the_result(people, generator, tmp_path):
    first = evaluate(people, tmp_path / "run", "--generator", generator)
    written = (tmp_path / "run" / "quality.json").stat().st_mtime_ns

    again = evaluate(people, tmp_path / "run", "--generator", generator)

    assert again.stdout == first.stdout
    assert (tmp_path / "run" / "quality.json").stat().st_mtime_ns == written


def test_the_quality_of_something_else_is_not_overwritten(people, generator, tmp_path):
    evaluate(people, tmp_path / "run", "--generator", generator)
    save_generator(
        Generator(GeneratorConfig(width=4, blocks=1)), generator, {"trained_on": "0" * 16}
    )

    result = evaluate(people, tmp_path / "run", "--generator", generator)

    assert result.exit_code == 2
    assert "holds the quality of something else, which differs in generator_sha256" in result.stderr


def test_a_generator_that_was_trained_on_test_images_is_refused(people, tmp_path):
    path = tmp_path / "g.safetensors"
    trained_on = fingerprints(read_market1501(people).gallery)
    save_generator(Generator(GeneratorConfig(width=4, blocks=1)), path, {"trained_on": trained_on})

    result = evaluate(people, tmp_path / "run", "--generator", path)

    assert result.exit_code == 2
    assert "was trained on query or gallery images" in result.stderr


def test_a_re_id_network_that_was_trained_on_test_images_is_no_metric(people, generator, tmp_path):
    path = tmp_path / "model.safetensors"
    trained_on = fingerprints(read_market1501(people).query)
    write_tensors(path, {"a": torch.zeros(1)}, {"trained_on": trained_on})

    result = evaluate(people, tmp_path / "run", "--generator", generator, "--reid", path)

    assert result.exit_code == 2
    assert "the re-ID network was trained on query or gallery images" in result.stderr


def test_a_camera_conditioned_generator_gets_the_cameras(people, tmp_path):
    path = tmp_path / "g.safetensors"
    save_generator(Generator(GeneratorConfig(width=4, blocks=1, cameras=6, limbs=True)), path)

    result = evaluate(people, tmp_path / "run", "--generator", path)

    assert result.exit_code == 0, result.output


def test_missing_weights_are_one_sentence(people, generator, tmp_path):
    result = evaluate(people, tmp_path / "run", "--generator", generator, "--ssd", "gone.pth")

    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: gone.pth is missing")


def test_a_dry_run_writes_nothing(people, generator, tmp_path):
    result = evaluate(people, tmp_path / "run", "--generator", generator, "--dry-run")

    assert result.exit_code == 0, result.output
    assert "not measured, for lack of weights: " in result.stderr
    assert re.search(r"quality.json: about \d+ s on cpu", result.stdout)
    assert not (tmp_path / "run").exists()


def test_a_generator_and_a_folder_exclude_each_other(people, generator, tmp_path):
    result = evaluate(people, tmp_path / "run", "--generator", generator, "--images", tmp_path)

    assert result.exit_code == 2
    assert "--generator must not be given with --images" in result.stderr


class Difference(Metric):
    """A metric of another package, without weights and under one protocol."""

    names, protocols = ("difference",), ("clean",)

    def __init__(self, protocol, network=None):
        super().__init__(protocol, network)
        self.found = []

    def update(self, views, targets):
        assert len(views) == len(targets)
        self.found += [np.ptp(view.target.astype(float) - view.generated) for view in views]

    def scores(self):
        return {"difference": float(np.mean(self.found))}


class FromFile(Difference):
    """A metric of another package that reads its one value from its weights."""

    names, needs, protocols = ("from file",), "number.txt", ("patn", "clean")

    @classmethod
    def open(cls, path, device):
        return float(Path(path).read_text())

    def scores(self):
        return {"from file": self.network}


@pytest.fixture
def extensions(monkeypatch):
    """Declare metrics as an installed package does."""

    def declare(**classes):
        entries = [
            EntryPoint(name, f"{__name__}:{kind}", METRIC_GROUP) for name, kind in classes.items()
        ]
        monkeypatch.setattr(
            "importlib.metadata.entry_points",
            lambda group: entries if group == METRIC_GROUP else [],
        )

    return declare


def test_a_metric_of_another_package_is_reached_without_a_change_of_the_command_line(
    extensions, people, pairs, tmp_path
):
    extensions(difference="Difference", number="FromFile")
    (tmp_path / "number.txt").write_text("0.25")
    words = ("--images", generated_images(people, tmp_path / "theirs", pairs))

    result = evaluate(people, tmp_path / "run", *words, "--number", tmp_path / "number.txt")

    assert result.exit_code == 0, result.output
    found = quality(tmp_path / "run")
    assert found["measures"]["difference"] == {"clean": 0}
    assert found["measures"]["from file"] == {"patn": 0.25, "clean": 0.25}
    assert set(found["weights"]) == {"number"}
    assert found["extensions"] == ["difference", "number"]
    assert re.search(r"^difference +- +0\.0000$", result.stdout, re.MULTILINE)
    assert "--number FILE" in CliRunner().invoke(main, ["generator", "evaluate", "--help"]).stdout


def test_a_metric_of_another_package_without_weights_is_listed(extensions, people, pairs, tmp_path):
    extensions(number="FromFile")
    words = ("--images", generated_images(people, tmp_path / "theirs", pairs))

    result = evaluate(people, tmp_path / "run", *words)

    missing = quality(tmp_path / "run")["missing"]
    assert missing["from file"] == "not measured: needs number.txt, --number FILE"
    assert result.exit_code == 0


def test_a_metric_with_a_name_that_is_taken_is_one_sentence(
    extensions, people, pairs, tmp_path, monkeypatch
):
    extensions(difference="Difference")
    monkeypatch.setattr(Difference, "names", ("SSIM",))

    words = ("--images", generated_images(people, tmp_path / "theirs", pairs))
    result = evaluate(people, tmp_path / "run", *words)

    assert result.exit_code == 2
    assert "the name of a metric must differ from those of others, got SSIM" in result.stderr


def test_the_help_of_the_command_loads_no_torch():
    code = """
import sys
from click.testing import CliRunner
from reid_aug.cli import main
result = CliRunner().invoke(main, ["generator", "evaluate", "--help"])
assert "--movenet FILE" in result.stdout and "torch" not in sys.modules, result.output
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_built_in_class_has_the_names_of_its_declaration():
    for declaration in BUILT_IN_METRICS:
        kind = declaration.load()
        assert (kind.names, kind.needs) == (declaration.names, declaration.needs)
