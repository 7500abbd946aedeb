"""The public library: its names, and what an import of it loads."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import reid_aug as ra

PINNED = [
    "read_dataset",
    "PersonImage",
    "read_market1501",
    "kept",
    "read_keypoints",
    "Generator",
    "GeneratorConfig",
    "load_generator",
    "save_generator",
    "import_official",
    "generate",
    "Discriminator",
    "import_official_discriminator",
    "Bank",
    "Mix",
    "MixDataset",
    "register_torchreid",
    "evaluate",
    "rerank",
    "gains",
    "synthesize",
    "train_generator",
    "train_reid",
    "evaluate_reid",
    "export_reid",
    "extract_features",
    "register_backbone",
]


@pytest.mark.parametrize("name", PINNED)
def test_every_pinned_name_can_be_imported_and_is_documented(name):
    assert name in ra.__all__
    assert getattr(ra, name).__doc__
    assert name in dir(ra)


def test_every_public_name_exists():
    for name in ra.__all__:
        assert getattr(ra, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'artist'"):
        ra.artist  # noqa: B018


def test_the_import_loads_no_library_and_a_data_set_loads_no_torch():
    code = """
import sys
import reid_aug as ra
assert not {"torch", "torchreid", "numpy", "h5py"} & set(sys.modules)
assert ra.read_market1501 and ra.PersonImage
assert not {"torch", "torchreid"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_person_is_generated_in_another_pose_in_four_lines(people):
    dataset = ra.read_dataset(people)
    poses = ra.read_keypoints(people / "keypoints.csv")
    network = ra.Generator(ra.GeneratorConfig(width=4, blocks=1))
    one, other = dataset.train[:2]
    image = np.zeros((1, 128, 64, 3), np.uint8)

    found = ra.generate(network, image, poses[one.name].xy[None], poses[other.name].xy[None])

    assert (found.shape, found.dtype) == ((1, 128, 64, 3), np.uint8)


def test_a_mix_feeds_anybody_s_loader(people):
    dataset = ra.read_dataset(people)
    images = ra.MixDataset(ra.Mix(dataset.train))

    batch = next(iter(DataLoader(images, batch_size=3)))

    assert batch["img"].shape == (3, 3, 128, 64)
    wanted = [images.classes.index(image.pid) for image in images.mix.real[:3]]
    assert torch.equal(batch["pid"], torch.tensor(wanted))
    assert not batch["is_generated"].any()
