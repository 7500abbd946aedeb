"""Any backbone through every stage: training, checkpoint, evaluation, ranked lists, export."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from command_line import refused, run
from torch import nn

import reid_aug as ra
from reid_aug.backbones import build_backbone, feature_networks
from reid_aug.backbones.checkpoint import MODEL_FORMAT, load_reid_network
from reid_aug.data.dataset import open_image
from reid_aug.evaluation.features import evaluation_transform
from reid_aug.runtime.weights import write_tensors
from reid_aug.stages import export_reid, extract_features
from reid_aug.stages.stage import open_stage

CPU = torch.device("cpu")
SIZE = (64, 32)
SMALL = {
    "train_reid.steps": 2, "train_reid.batch": 4, "train_reid.height": 64, "train_reid.width": 32,
}  # fmt: skip


class Pooled(nn.Module):
    """Features of 8 channels."""

    def __init__(self, height, width):
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, images):
        return self.maps(images).mean((2, 3))


@pytest.fixture(autouse=True)
def pooled(monkeypatch):
    monkeypatch.setattr(feature_networks, "_REGISTERED", {})
    ra.register_backbone("pooled", Pooled)


def stage_of(people, folder, backbone, **more):
    options = {**SMALL, "train_reid.backbone": backbone, **more}
    return open_stage(data=str(people), out=str(folder), device="cpu", options=options)


@pytest.mark.parametrize("backbone", ["pooled", "timm:test_resnet", "timm:test_vit"])
def test_a_network_is_trained_evaluated_and_ranked(people, tmp_path, backbone):
    is_timm = backbone.startswith("timm:")
    if is_timm:
        pytest.importorskip("timm")
    stage = stage_of(people, tmp_path / "run", backbone)

    path = ra.train_reid.prepare(stage, ratio=0).run()
    model = path.with_name("model.safetensors")
    rows = ra.evaluate_reid.prepare(stage, model)
    rows.run()
    picture = ra.evaluate_reid.prepare_ranking(stage, model, count=2, top=2).run()

    result = json.loads(path.read_text())
    assert path.parent.name == f"{backbone.replace(':', '-')}-baseline-keep1-seed0"
    assert result["backbone"] == backbone
    assert ("timm" in result["versions"]) == is_timm
    (row,) = rows.results()
    assert (row["mAP"], row["ap"]) == (result["mAP"], result["ap"])
    assert picture.is_file()
    assert "done already" in ra.train_reid.prepare(stage, ratio=0).describe()


def test_weights_of_a_ready_network_are_recorded(people, tmp_path):
    torch.manual_seed(5)
    ready = Pooled(*SIZE)
    torch.save(ready.state_dict(), tmp_path / "ready.pth")
    more = {
        "train_reid.weights": str(tmp_path / "ready.pth"), "train_reid.weights_data": "external",
        "train_reid.lr": 1e-12,
    }  # fmt: skip

    path = ra.train_reid.prepare(stage_of(people, tmp_path / "run", "pooled", **more), 0).run()

    result = json.loads(path.read_text())
    assert (result["starting_data"], result["leak_free"]) == ("external", True)
    assert len(result["starting_weights"]) == 64
    trained = load_reid_network(path.with_name("model.safetensors")).model
    torch.testing.assert_close(trained.body.maps[0].weight, ready.maps[0].weight)


def test_a_ready_network_starts_from_its_own_weights_and_they_are_recorded(people, tmp_path):
    torch.manual_seed(5)
    ready = Pooled(*SIZE)
    ra.register_backbone("ready", ready)
    more = {
        "train_reid.weights": "own", "train_reid.weights_data": "external", "train_reid.lr": 1e-12,
    }  # fmt: skip
    job = ra.train_reid.prepare(stage_of(people, tmp_path / "run", "ready", **more), 0)

    path = job.run()

    assert "starting weights: those of the registered network ready" in job.describe()
    result = json.loads(path.read_text())
    assert (result["starting_data"], result["leak_free"]) == ("external", True)
    assert result["starting_weights"] == feature_networks.own_weights_sha256("ready", *SIZE)
    trained = load_reid_network(path.with_name("model.safetensors")).model
    torch.testing.assert_close(trained.body.maps[0].weight, ready.maps[0].weight)
    ra.register_backbone("ready", Pooled(*SIZE))  # other weights: another experiment
    with pytest.raises(ra.UserError, match="starting_weights"):
        ra.train_reid.prepare(stage_of(people, tmp_path / "run", "ready", **more), 0)


def test_own_weights_without_a_declaration_count_as_a_possible_leak(people, tmp_path):
    ra.register_backbone("ready", Pooled(*SIZE))
    stage = stage_of(people, tmp_path / "run", "ready", **{"train_reid.weights": "own"})

    result = json.loads(ra.train_reid.prepare(stage, 0).run().read_text())

    assert (result["starting_data"], result["leak_free"]) == ("whole", False)


def test_a_network_with_fixed_weights_is_refused_before_the_training(people, tmp_path):
    ready = Pooled(*SIZE)
    ra.register_backbone("ready", lambda height, width: ready)

    with pytest.raises(ra.UserError, match="backbone ready must start from random weights"):
        ra.train_reid.prepare(stage_of(people, tmp_path / "run", "ready"), ratio=0)

    assert not (tmp_path / "run").exists()


def test_the_preset_strong_is_refused_where_it_has_no_meaning(people, tmp_path):
    pytest.importorskip("timm")
    small = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    given = ("--data", people, "--out", tmp_path / "run", "--ratio", 0, *small)
    strong = ("--preset", "strong", "--set", "train_reid.batch=8")

    assert refused("train-reid", *given, *strong, "--backbone", "timm:test_vit").endswith(
        "train_reid.last_stride must be 0 for timm:test_vit, which has no ResNet stages; "
        "--set train_reid.last_stride=0, or choose a backbone such as resnet50"
    )


def write_network(path, backbone, bnneck=False):
    torch.manual_seed(0)
    model = build_backbone(backbone, 2, *SIZE, 0, bnneck)
    recipe = {"backbone": backbone, "height": 64, "width": 32, "last_stride": 0, "bnneck": bnneck}
    notes = {"format": MODEL_FORMAT, "recipe": recipe, "trained_on": "0123456789ab"}
    write_tensors(path, model.state_dict(), notes)
    return path


ALONE = """
import sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
images = numpy.load(sys.argv[2])
(features,) = session.run(None, {session.get_inputs()[0].name: images})
numpy.save(sys.argv[3], features)
assert not {"torch", "reid_aug", "onnx"} & set(sys.modules)
print(session.get_modelmeta().custom_metadata_map["normalisation"])
"""


@pytest.mark.parametrize(
    ("backbone", "normalisation", "bnneck"),
    [("timm:test_resnet", "inside", False), ("squeezenet1_1", "outside", True)],
)
def test_an_exported_file_runs_with_onnxruntime_alone(tmp_path, backbone, normalisation, bnneck):
    for package in ("onnx", "onnxruntime", "onnxscript", *backbone.split(":")[:-1]):
        pytest.importorskip(package)
    model = write_network(tmp_path / "model.safetensors", backbone, bnneck)
    file, words = tmp_path / "out/net.onnx", ("--normalisation", normalisation)

    assert run("reid", "export", model, "--onnx", file, *words).stdout == f"{file}\n"

    images, network = torch.rand(4, 3, *SIZE), load_reid_network(model).model
    normal = (images - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
        [0.229, 0.224, 0.225]
    )[:, None, None]
    np.save(tmp_path / "in.npy", (images if normalisation == "inside" else normal).numpy())
    script = [sys.executable, "-c", ALONE, file, tmp_path / "in.npy", tmp_path / "out.npy"]
    printed = subprocess.run(script, check=True, capture_output=True, text=True).stdout
    with torch.inference_mode():
        expected = network(normal).numpy()
    found = np.load(tmp_path / "out.npy")
    assert json.loads(printed) == normalisation
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    assert str(sys.prefix).encode() not in file.read_bytes()
    assert b"site-packages" not in file.read_bytes()
    written = file.stat().st_mtime_ns
    again = run("reid", "export", model, "--onnx", file, *words)
    assert f"done already: {file}" in again.stderr
    assert file.stat().st_mtime_ns == written
    others = {"inside": "outside", "outside": "inside"}
    assert refused(
        "reid", "export", model, "--onnx", file, "--normalisation", others[normalisation]
    ).endswith(
        f"{file}: holds something else, which differs in normalisation; choose another file with "
        f"--onnx, or remove it"
    )


def test_a_dry_run_of_an_export_writes_nothing(tmp_path):
    pytest.importorskip("onnxscript")
    model, file = write_network(tmp_path / "model.safetensors", "pooled"), tmp_path / "net.onnx"

    assert (
        f"would write {file}: about"
        in run("reid", "export", model, "--onnx", file, "--dry-run").stdout
    )
    assert not file.exists()


class Traced:
    """A session that computes other features than PyTorch."""

    def __init__(self, *_, **__):
        pass

    def run(self, _, feeds):
        (images,) = feeds.values()
        return [np.full((len(images), 8), 3.0, np.float32)]


def test_other_features_than_pytorchs_are_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(pytest.importorskip("onnxruntime"), "InferenceSession", Traced)
    pytest.importorskip("onnxscript")
    model = write_network(tmp_path / "model.safetensors", "pooled")

    with pytest.raises(ra.UserError, match=r"must compute the features of PyTorch within 0\.0001"):
        export_reid.prepare(model, tmp_path / "out/net.onnx").run()

    assert list((tmp_path / "out").iterdir()) == []


def test_a_missing_package_is_one_sentence_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    model = write_network(tmp_path / "model.safetensors", "pooled")

    onnx = refused("reid", "export", model, "--onnx", tmp_path / "net.onnx")
    parquet = refused("reid", "features", model, tmp_path, "--to", tmp_path / "f.parquet")

    assert "the export to ONNX needs the package onnx (" in onnx
    assert onnx.endswith('; install it with: pip install "reid-aug[onnx]"')
    assert "a file .parquet needs the package pyarrow (" in parquet
    assert parquet.endswith('; write .npz, or install it with: pip install "reid-aug[parquet]"')


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("export", "--onnx", "net.pt"), "--onnx must be a file that ends in .onnx, got net.pt"),
        (
            ("export", "--onnx", "net.onnx", "--normalisation", "insid"),
            "--normalisation must be inside or outside, got 'insid'; did you mean inside?",
        ),
        (("features", ".", "--to", "f.csv"), "--to must be a file that ends in .npz or .parquet"),
        (
            ("features", "gone", "--to", "f.npz"),
            "gone: there is no such folder; give a data",
        ),
        (
            ("features", "empty", "--to", "f.npz"),
            "empty: must hold images (.jpg, .jpeg, .png)",
        ),
    ],
)
def test_wrong_options_are_refused(tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_network(tmp_path / "model.safetensors", "pooled")

    assert sentence in refused("reid", words[0], "model.safetensors", *words[1:])

    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "model.safetensors"]


@pytest.mark.parametrize("name", ["net.onnx", "f.npz"])
def test_a_file_of_others_is_kept(people, tmp_path, name):
    model, file = write_network(tmp_path / "model.safetensors", "pooled"), tmp_path / name
    file.write_text("mine")
    if name == "net.onnx":
        pytest.importorskip("onnx")
        job = export_reid.ExportReidJob(model, load_reid_network(model), file, "inside")
    else:
        job = extract_features.prepare(model, people, file, "cpu")

    with pytest.raises(ra.UserError, match=r"must be (an ONNX file|a file of features), got "):
        job.run()

    assert file.read_text() == "mine"


def test_features_of_a_data_set_are_those_of_the_network(people, tmp_path):
    model, file = write_network(tmp_path / "model.safetensors", "pooled"), tmp_path / "out/f.npz"
    given = ("reid", "features", model, people, "--to", file)
    assert "would write" in run(*given, "--dry-run").stdout
    assert not file.parent.exists()

    assert run(*given).stdout == f"{file}\n"

    dataset, network = ra.read_dataset(people), load_reid_network(model).model
    images = (*dataset.train, *dataset.query, *dataset.gallery)
    with np.load(file) as found:
        columns = dict(found)
    assert columns["names"].tolist() == [image.name for image in images]
    assert columns["pids"].tolist() == [image.pid for image in images]
    assert columns["camids"].tolist() == [image.camid for image in images]
    assert columns["splits"].tolist().count("query") == len(dataset.query)
    assert (columns["features"].shape, columns["features"].dtype) == ((len(images), 8), np.float32)
    pixels = open_image(images[-1].path)
    with torch.inference_mode():
        last = network(evaluation_transform(SIZE)(torch_image(pixels))[None]).numpy()
    np.testing.assert_allclose(columns["features"][-1:], last, rtol=1e-4, atol=1e-6)
    written, content = file.stat().st_mtime_ns, file.read_bytes()
    assert f"done already: {file}" in run(*given).stderr
    assert file.stat().st_mtime_ns == written
    file.unlink()
    run(*given)
    assert file.read_bytes() == content
    other = write_network(tmp_path / "other.safetensors", "pooled", bnneck=True)
    assert "holds other features, which differ in model_sha256" in refused(
        "reid", "features", other, people, "--to", file
    )


def torch_image(pixels):
    from PIL import Image

    return Image.fromarray(pixels)


def test_a_folder_of_images_is_read_with_the_folders_below_it(people, tmp_path):
    model, folder = write_network(tmp_path / "model.safetensors", "pooled"), tmp_path / "crops"
    names = ["b/0002_c1s1_000001_00.jpg", "a.jpg", "b/c/0001_c1s1_000001_00.jpg"]
    for place, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(ra.read_dataset(people).train[place].path.read_bytes())

    unnamed = extract_features.prepare(model, folder, tmp_path / "unnamed.npz", "cpu")
    named = extract_features.prepare(model, folder / "b", tmp_path / "named.npz", "cpu")

    with np.load(unnamed.run()) as found:
        assert sorted(found) == ["about", "features", "names"]
        assert found["names"].tolist() == sorted(names, key=lambda name: name.split("/"))
    with np.load(named.run()) as found:
        assert found["names"].tolist() == [
            "0002_c1s1_000001_00.jpg", "c/0001_c1s1_000001_00.jpg",
        ]  # fmt: skip
        assert (found["pids"].tolist(), found["camids"].tolist()) == ([2, 1], [1, 1])


def test_parquet_holds_the_same(people, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    model = write_network(tmp_path / "model.safetensors", "pooled")
    for name in ("f.npz", "f.parquet"):
        run("reid", "features", model, people, "--to", tmp_path / name)

    table = parquet.read_table(tmp_path / "f.parquet")

    with np.load(tmp_path / "f.npz") as found:
        assert table.column("names").to_pylist() == found["names"].tolist()
        features = np.array(table.column("features").to_pylist(), np.float32)
        np.testing.assert_array_equal(features, found["features"])
    again = run("reid", "features", model, people, "--to", tmp_path / "f.parquet")
    assert "done already" in again.stderr
