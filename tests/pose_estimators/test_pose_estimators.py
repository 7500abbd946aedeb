import sys
from types import SimpleNamespace

import numpy as np
import pytest
from tfjs_graphs import write_graph, write_movenet

from reid_aug.pose_estimators import MoveNet, RTMPose, fit, open_estimator
from reid_aug.pose_estimators.joint_layouts import from_coco
from reid_aug.runtime.errors import UserError

JOINTS = np.random.default_rng(0).uniform(0.1, 0.9, (17, 3))  # y, x, score
CROP = np.full((128, 64, 3), 255, np.uint8)


def test_joints_are_in_pixels_of_the_crop(tmp_path):
    joints = JOINTS.copy()
    joints[5] = 0.5, 0.5, 0.8  # left shoulder in the middle of the square
    joints[6] = 0.0, 0.25, 0.8  # right shoulder in the upper left corner of the crop

    found = MoveNet(str(write_movenet(tmp_path / "m.json", joints))).estimate(CROP)

    np.testing.assert_allclose(found[5], [31.5, 63.5, 0.8], atol=1e-4)
    np.testing.assert_allclose(found[2], [-0.5, -0.5, 0.8], atol=1e-4)
    np.testing.assert_allclose(found[1], [15.5, 31.5, 0.8], atol=1e-4)


def test_the_result_depends_on_the_crop(tmp_path):
    estimator = MoveNet(str(write_movenet(tmp_path / "m.json", JOINTS)))

    white, black = estimator.estimate(CROP)[0, 2], estimator.estimate(CROP * 0)[0, 2]

    assert white - black == pytest.approx(0.5, abs=1e-4)  # the crop is half of the square


def test_small_crops_are_enlarged_with_the_same_aspect_ratio():
    square, scale, corner = fit(CROP, (256, 256))

    assert (scale, corner.tolist()) == (2, [64, 0])
    assert (square[:, 64:192] == 255).all()
    assert not square[:, :64].any()
    assert not square[:, 192:].any()


def test_wide_crops_are_reduced_to_fit():
    square, scale, corner = fit(np.full((10, 40, 3), 9, np.uint8), (20, 20))

    assert (scale, corner.tolist()) == (0.5, [0, 7])
    assert (square[7:12] == 9).all()


def test_different_weights_have_different_fingerprints(tmp_path):
    one, same, other = (
        MoveNet(str(write_movenet(tmp_path / f"{name}.json", joints)))
        for name, joints in (("a", JOINTS), ("a", JOINTS), ("b", JOINTS / 2))
    )

    assert one.sha256 == same.sha256
    assert one.sha256 != other.sha256


def test_a_network_with_another_output_is_refused(tmp_path):
    weights = {"w": np.ones(4, np.float32)}
    path = write_graph(tmp_path / "m.json", (8, 8), [], weights, "w")

    with pytest.raises(UserError, match="must be a single-person MoveNet"):
        MoveNet(str(path)).estimate(CROP)


def test_an_unknown_estimator_is_refused():
    with pytest.raises(UserError, match="estimator must be one of movenet, rtmpose, got 'bob'"):
        open_estimator("bob", "x")


class FakePose:
    """A substitute for rtmlib.RTMPose with COCO joints at fixed positions."""

    asked: tuple = ()

    def __init__(self, path, model_input_size):
        type(self).asked = (path, model_input_size)
        print(f"load {path}")
        if "broken" in path:
            raise RuntimeError("Protobuf parsing failed.\nmore")

    def __call__(self, image):
        return np.arange(34.0).reshape(1, 17, 2), np.linspace(0, 1.2, 17)[None]


@pytest.fixture
def rtmlib(monkeypatch):
    modes = {"balanced": {"pose": "https://a/m.zip", "pose_input_size": (192, 256)}}
    module = SimpleNamespace(RTMPose=FakePose, Body=SimpleNamespace(MODE=modes))
    monkeypatch.setitem(sys.modules, "rtmlib", module)
    FakePose.asked = ()


@pytest.mark.usefixtures("rtmlib")
def test_rtmpose_returns_joints_of_the_crop(tmp_path, capsys):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"x")

    found = RTMPose(str(path)).estimate(CROP)

    joints = np.column_stack([np.arange(34.0).reshape(17, 2) - 0.5, np.linspace(0, 1.2, 17)])
    joints[:, 2] = joints[:, 2].clip(0, 1)
    np.testing.assert_allclose(found, from_coco(joints), rtol=1e-6)
    assert FakePose.asked == (str(path), (192, 256))
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("rtmlib")
def test_weights_are_downloaded_only_for_a_model_name(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.onnx is missing; .*rtmpose-s, "):
        RTMPose("nowhere.onnx")
    assert FakePose.asked == ()

    RTMPose("rtmpose-m")
    assert FakePose.asked == ("https://a/m.zip", (192, 256))


@pytest.mark.usefixtures("rtmlib")
def test_a_broken_file_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"x")

    message = "must be an RTMPose model that rtmlib can open, got Protobuf parsing"
    with pytest.raises(UserError, match=message):
        RTMPose(str(path))


def test_without_the_extra_the_message_contains_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "rtmlib", None)

    with pytest.raises(UserError, match=r'pip install "reid-aug\[poses\]"'):
        RTMPose("m.onnx")
