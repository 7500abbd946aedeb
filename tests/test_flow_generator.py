"""The example of a generator outside the package: trained, loaded by its tag, and deterministic."""

import shutil
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import refused, run

from reid_aug.bank import Bank
from reid_aug.data.dataset import read_market1501
from reid_aug.data.provenance import fingerprints
from reid_aug.generator import load_with_metadata, to_signed
from reid_aug.study.grid import load_grid

EXAMPLE = Path(__file__).parents[1] / "examples" / "flow-generator"
TAG = "flow_generator/1"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The example, installed as pip does it."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    about = tmp_path / "site" / "flow_generator-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: flow-generator\nVersion: 0.1.0\n")
    lines = [
        f"{tag} = {value}" for tag, value in project["entry-points"]["reid_aug.generators"].items()
    ]
    (about / "entry_points.txt").write_text("\n".join(["[reid_aug.generators]", *lines]))
    monkeypatch.syspath_prepend(about.parent)
    monkeypatch.syspath_prepend(EXAMPLE)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "flow_generator"]:
        del sys.modules[name]


@pytest.fixture
def trained(people, tmp_path, monkeypatch, installed):
    """A data set, and a checkpoint of three steps on half of its training images."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(people, "data")
    from flow_generator import training

    training.main(
        ["data", "--steps", "3", "--batch", "2", "--keep", "0.5", "--out", "flow.safetensors",
         "--height", "32", "--width", "16"]
    )  # fmt: skip
    return Path("flow.safetensors")


def test_a_training_records_its_images_and_gives_the_same_bytes_again(trained, capsys):
    from flow_generator import FlowGenerator, training

    from reid_aug.data.dataset import kept

    network, about = load_with_metadata(trained)

    assert isinstance(network, FlowGenerator)
    assert about["trained_on"] == fingerprints(kept(read_market1501("data").train, 0.5))
    words = [
        "data",
        "--steps",
        "3",
        "--batch",
        "2",
        "--keep",
        "0.5",
        "--height",
        "32",
        "--width",
        "16",
    ]
    training.main([*words, "--out", "again.safetensors"])
    assert Path("again.safetensors").read_bytes() == trained.read_bytes()
    with pytest.raises(SystemExit):
        training.main([*words, "--out", "again.safetensors"])
    assert "again.safetensors exists; name another file" in capsys.readouterr().err


def test_a_bank_is_filled_by_it(trained):
    words = ("--data", "data", "--keep", 0.5, "--generator", trained, "--ratio", 1,
             "--set", "data.height=32", "--set", "data.width=16")  # fmt: skip
    for out in ("a", "b"):
        run("synthesize", *words, "--out", out)

    banks = Bank("a/bank.h5"), Bank("b/bank.h5")
    assert banks[0].attributes.generator_data == "kept"
    images = [np.stack([bank.image(row) for row in range(len(bank))]) for bank in banks]
    assert np.array_equal(*images)
    assert images[0].std() > 10


def test_one_image_does_not_depend_on_the_others_of_its_batch(installed):
    from flow_generator import FlowConfig, FlowGenerator

    torch.manual_seed(0)
    network = FlowGenerator(FlowConfig(width=16, cameras=2, steps=2)).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    images, poses = torch.rand(3, 3, 32, 16), 16 * torch.rand(2, 3, 18, 2)
    cameras = torch.tensor([[1, 2], [2, 1], [1, 1]])

    with torch.inference_mode():
        together = network.repose(images, *poses, cameras)
        single = [
            network.repose(*(part[i : i + 1] for part in (images, *poses, cameras)))
            for i in range(3)
        ]

    assert torch.allclose(together, torch.cat(single), atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_the_loss_is_that_of_the_predicted_image(installed):
    from flow_generator import FlowConfig, FlowGenerator
    from flow_generator.training import flow_loss

    from reid_aug.stages.train_generator.pairs import PairBatch

    class Known(FlowGenerator):
        def forward(self, noisy, time, known, cameras=None):
            return truth + 0.5

    pixels = torch.randint(256, (2, 32, 16, 3), dtype=torch.uint8)
    truth = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    pose, cameras = torch.full((2, 18, 2), 8.0), torch.ones(2, 2, dtype=torch.int64)
    batch = PairBatch(pixels, pixels, pose, pose, cameras)

    loss = flow_loss(Known(FlowConfig(width=16)), batch, torch.Generator().manual_seed(0))

    assert loss == pytest.approx(0.25)


def test_a_trained_network_removes_the_noise(installed):
    """Trained on one pair only, it must come near the target: the noise itself is 0.95 away."""
    from flow_generator import FlowConfig, FlowGenerator
    from flow_generator.training import train

    from reid_aug.stages.train_generator.pairs import PairBatch

    rows = torch.linspace(0, 255, 32).byte()[:, None, None].expand(32, 16, 3)
    pose, cameras = torch.full((4, 18, 2), 8.0), torch.ones(4, 2, dtype=torch.int64)
    batch = PairBatch(
        255 - rows.expand(4, -1, -1, -1), rows.expand(4, -1, -1, -1), pose, pose, cameras
    )

    torch.manual_seed(0)
    network = train([batch] * 120, FlowGenerator(FlowConfig(width=16)), 3e-3, 0)

    with torch.inference_mode():
        image = network.repose(to_signed(batch.image[:1]), pose[:1], pose[:1], cameras[:1])
    truth = rows.permute(2, 0, 1).float() / 127.5 - 1
    assert (image[0] - truth).abs().mean() < 0.15


def test_without_the_example_the_tag_is_refused_by_name(trained, monkeypatch):
    monkeypatch.setattr(
        sys, "path", [p for p in sys.path if "site" not in Path(p).name or "packages" in p]
    )

    text = refused("synthesize", "--data", "data", "--generator", trained, "--ratio", 1)

    assert TAG in text


@pytest.mark.parametrize(
    "change", [{"width": 1 << 40}, {"steps": 0}, {"width": 40}, {"cameras": 1.5}]
)
def test_a_wrong_config_is_refused(trained, change):
    from reid_aug.runtime.errors import UserError
    from reid_aug.runtime.weights import read_tensors, write_tensors

    tensors, about = read_tensors(trained)
    write_tensors("wrong.safetensors", tensors, about | {"config": about["config"] | change})

    with pytest.raises(UserError, match=r"wrong\.safetensors"):
        load_with_metadata("wrong.safetensors")


def test_its_grid_differs_from_that_of_real_people_in_the_generator_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("flow.safetensors").touch()
    grid, real = load_grid(str(EXAMPLE / "market1501.toml")), load_grid("market1501-small")

    of_real = [cell for cell in real.cells() if cell.keep == 0.2 and cell.ratio in (0, 2)]
    generated = [cell for cell in grid.cells() if cell.ratio]
    assert grid.recipe == real.recipe
    assert {cell.generator for cell in generated} == {"flow.safetensors"}
    assert all(replace(cell, generator="kept") in of_real for cell in generated)
    assert all(cell in of_real for cell in grid.cells() if not cell.ratio)
