"""A mix in stock torchreid: its data manager reads every image, one class per identity."""

import numpy as np
import pytest
import torch

from reid_aug.backbones import torchreid_library
from reid_aug.bank import Bank, BankAttributes, BankPlan, Rows, write_bank
from reid_aug.data.dataset import read_market1501
from reid_aug.mixing import Mix
from reid_aug.runtime.errors import UserError
from reid_aug.stages.train_reid.stock_torchreid import register_torchreid


@pytest.fixture
def mix(people, tmp_path, monkeypatch):
    """Each training image of the built-in people, and one generated image per identity."""
    monkeypatch.setattr(Mix, "_check_bank", lambda self, command: None)
    monkeypatch.setattr(
        "reid_aug.stages.train_reid.stock_torchreid.require_same_dataset", lambda *given: None
    )
    train = read_market1501(people).train
    pids = np.array(sorted({image.pid for image in train}))
    names = np.array([f"{pid}.jpg" for pid in pids])
    pixels = np.stack([np.full((128, 64, 3), 40 * n, np.uint8) for n in range(len(pids))])
    rows = Rows(pids, np.full(len(pids), 5), names, names, np.zeros((len(pids), 18, 2), np.float32))
    attributes = {
        "keep": 1.0, "keep_seed": 0, "kept_sha256": "0" * 64, "dataset_sha256": "0" * 64,
        "keypoints_sha256": "0" * 64, "generator_sha256": "0" * 64, "generator_data": "kept",
        "ratio": 1.0, "mode": "supplement", "seed": 0,
        "plan": BankPlan("random", "source", "generator"),
    }  # fmt: skip
    write_bank(tmp_path / "bank.h5", rows, iter([pixels]), BankAttributes(**attributes))
    return Mix(train, Bank(tmp_path / "bank.h5"), len(pids) / len(train))


def manager_of(name):
    return torchreid_library().data.ImageDataManager(
        sources=name, targets=name, height=32, width=16, transforms=None, use_gpu=False,
        batch_size_train=4, batch_size_test=4, workers=0,
    )  # fmt: skip


def test_the_data_manager_has_one_class_per_identity_and_reads_every_image(people, mix):
    dataset = read_market1501(people)
    register_torchreid("mix-whole", mix, dataset)

    manager = manager_of("mix-whole")
    images = manager.train_loader.dataset

    assert manager.num_train_pids == len({image.pid for image in dataset.train}) == mix.generated
    assert len(images) == len(mix) == len(dataset.train) + mix.generated
    labels = sorted({image.pid for image in dataset.train})
    for index in (0, len(mix.real), len(mix) - 1):
        item, (pid, camid) = images[index], mix.identity(index)
        assert (labels[item["pid"]], item["camid"]) == (pid, camid)
        assert item["impath"] == mix.name(index)
        assert item["img"].shape == (3, 32, 16)
    assert images[len(mix.real)]["impath"] == "bank:0"
    black, grey = (images[len(mix.real) + row]["img"] for row in (0, 1))
    step = 40 / 255 / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(grey - black, step[:, None, None].expand(3, 32, 16), atol=1e-5)


def test_query_and_gallery_keep_their_pids_and_files(people, mix):
    dataset = read_market1501(people)
    register_torchreid("mix-test", mix, dataset)

    tests = manager_of("mix-test").test_loader["mix-test"]

    for name, wanted in (("query", dataset.query), ("gallery", dataset.gallery)):
        found = [(i["pid"], i["camid"], i["impath"]) for i in tests[name].dataset]
        assert found == [(image.pid, image.camid, str(image.path)) for image in wanted]


def test_a_second_source_and_a_known_name_are_refused(people, mix):
    dataset = read_market1501(people)
    register_torchreid("mix-twice", mix, dataset)

    with pytest.raises(UserError, match="mix-twice: must be a name that torchreid does not know"):
        register_torchreid("mix-twice", mix, dataset)
    images = manager_of("mix-twice").train_loader.dataset
    with pytest.raises(UserError, match="sources must be the mix of reid-aug only"):
        images + images
