"""Methods of other packages, through the entry point group ``reid_aug.methods``."""

import sys

import pytest
import torch

from reid_aug.bank import Bank
from reid_aug.bank.contact_sheet import write_contact_sheet
from reid_aug.bank.methods import BUILT_IN_METHODS, Method, find_method, method_named, method_names
from reid_aug.data.dataset import DataConfig, read_market1501
from reid_aug.data.keypoints import read_keypoints
from reid_aug.runtime.errors import UserError
from reid_aug.stages.synthesize import SynthesizeConfig, plan_bank, synthesize

MODULE = '''
import numpy as np

from reid_aug.bank.methods import Method


class Grey(Method):
    """One grey image per row; the grey value is the pid."""

    name = "grey"
    label = "grey images"
    generator_data = "external"
    description = "grey images of a package that is not reid-aug"

    def read(self, rows):
        height, width = self.scene.size
        greys = np.array([row.source.pid for row in rows], np.uint8)
        return np.broadcast_to(greys[:, None, None, None], (len(rows), height, width, 3)).copy()


class Leaky(Grey):
    name = "leaky"
    generator_data = "perhaps"


NOTHING = 3
'''
ENTRIES = """[reid_aug.methods]
grey = grey_methods:Grey
leaky = grey_methods:Leaky
copies = grey_methods:Grey
other-name = grey_methods:Grey
number = grey_methods:NOTHING
absent = grey_methods:Absent
no-module = grey_methods_of_nobody:Grey
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package outside this one, installed as pip does it."""
    site = tmp_path / "site"
    (site / "grey_methods-1.0.dist-info").mkdir(parents=True)
    (site / "grey_methods.py").write_text(MODULE)
    (site / "grey_methods-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: grey-methods\nVersion: 1.0\n"
    )
    (site / "grey_methods-1.0.dist-info/entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("grey_methods", None)


def job_of(people, method, **more):
    dataset, poses = read_market1501(people), read_keypoints(people / "keypoints.csv")
    config = SynthesizeConfig(ratio=0.5, method=method, batch=8, **more)
    return plan_bank(dataset, poses, None, config, DataConfig(height=32, width=16), 0)


def test_a_bank_is_made_by_a_method_of_another_package(people, tmp_path, installed):
    job = job_of(people, "grey")

    bank = Bank(synthesize(job, tmp_path, torch.device("cpu")))

    assert bank.plan.method == "grey"
    assert bank.attributes.generator_data == "external"
    assert len(bank) == len(job.rows)
    for row in range(len(bank)):
        assert (bank.image(row) == bank.rows.pid[row]).all()
    write_contact_sheet(bank, job.real, people, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 0


def test_the_properties_of_a_method_have_usable_defaults(installed):
    grey = method_named("grey")

    assert issubclass(grey, Method)
    assert not grey.needs_checkpoint
    assert not grey.uses_jitter
    assert not grey.moves_cameras
    assert not grey.built_in_people_only


def test_the_names_of_other_packages_follow_the_built_in_ones(installed):
    names = method_names()

    assert names[:4] == ("generator", "copies", "limb-warp", "renderer")
    assert names[4:] == ("absent", "grey", "leaky", "no-module", "number", "other-name")


def test_a_built_in_method_is_not_replaced(installed):
    assert method_named("copies") is BUILT_IN_METHODS["copies"]


def test_an_unknown_method_lists_the_known_ones_and_the_nearest():
    pattern = "method must be one of generator, copies, limb-warp, renderer.*did you mean limb-warp"
    with pytest.raises(UserError, match=pattern):
        method_named("limb-wrap")
    assert find_method("limb-wrap") is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other-name", "its name must be that of the entry point, got 'grey'"),
        ("number", "must be a subclass of .*Method, got 3"),
        ("absent", "must be importable, got .*Absent"),
        ("no-module", "must be importable, got .*grey_methods_of_nobody"),
    ],
)
def test_a_faulty_entry_point_is_one_sentence(installed, name, words):
    with pytest.raises(UserError, match=words):
        SynthesizeConfig(method=name)


def test_an_unknown_leak_status_is_refused_before_anything_is_generated(people, installed):
    with pytest.raises(UserError, match=r"generator_data must be one of .*, got 'perhaps'"):
        job_of(people, "leaky")


def test_a_method_that_moves_no_cameras_refuses_the_target_s(installed):
    with pytest.raises(UserError, match="cameras must be source for method grey"):
        SynthesizeConfig(method="grey", cameras="target")
