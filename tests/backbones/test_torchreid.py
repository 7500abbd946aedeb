"""torchreid of the package index and of its repository: both are used by the same names."""

import sys
from types import SimpleNamespace

import pytest
import torch

from reid_aug.backbones import build_backbone, torchreid_library
from reid_aug.runtime.errors import UserError


@pytest.fixture(autouse=True)
def fresh():
    torchreid_library.cache_clear()
    yield
    torchreid_library.cache_clear()


def test_torchreid_from_source_is_used_as_that_of_the_package_index(monkeypatch):
    index = torchreid_library()
    source = index.reid  # the package index has the repository's package below "reid"
    assert source.__version__ != index.__version__
    monkeypatch.setitem(sys.modules, "torchreid", source)
    torchreid_library.cache_clear()

    assert torchreid_library() is source
    features = build_backbone("osnet_x0_25", 3, 64, 32).eval()(torch.zeros(1, 3, 64, 32))
    assert features.shape[0] == 1


def test_a_torchreid_without_a_name_that_is_used_is_refused(monkeypatch):
    library = torchreid_library()
    other = SimpleNamespace(__file__="lab/torchreid", models=library.models, utils=None)
    monkeypatch.setitem(sys.modules, "torchreid", other)
    torchreid_library.cache_clear()

    with pytest.raises(UserError, match="lab/torchreid: torchreid must have utils"):
        torchreid_library()
