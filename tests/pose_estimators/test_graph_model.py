import json

import numpy as np
import pytest
import torch
from tfjs_graphs import node, numbers, text, write_graph, write_movenet

from reid_aug.pose_estimators.graph_model import GraphModel
from reid_aug.runtime.errors import UserError

RNG = np.random.default_rng(0)
CAST = node("x", "Cast", "input", DstT={"type": "DT_FLOAT"})


def run(tmp_path, nodes, weights, size=(7, 6), half=False):
    """The output of the last node, and the input image."""
    path = write_graph(tmp_path / "m.json", size, [CAST, *nodes], weights, nodes[-1]["name"], half)
    image = RNG.integers(0, 256, (1, *size, 3))
    return GraphModel(path)(torch.from_numpy(image)).numpy(), image[0].astype(float)


def naive_conv(image, kernel, stride, same):
    """TensorFlow's definition, pixel by pixel: kernel (h, w, in, out)."""
    (height, width), (kh, kw) = image.shape[:2], kernel.shape[:2]
    if same:
        out = -(-height // stride), -(-width // stride)
        gaps = [max((o - 1) * stride + k - n, 0)
                for o, k, n in zip(out, (kh, kw), (height, width), strict=True)]  # fmt: skip
        image = np.pad(image, [*((gap // 2, gap - gap // 2) for gap in gaps), (0, 0)])
    else:
        out = (height - kh) // stride + 1, (width - kw) // stride + 1
    result = np.zeros((*out, kernel.shape[3]))
    for row in range(out[0]):
        for column in range(out[1]):
            window = image[row * stride :, column * stride :][:kh, :kw]
            result[row, column] = np.tensordot(window, kernel, 3)
    return result


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(7, 6), (8, 9)])
def test_a_convolution_equals_tensorflows(tmp_path, padding, stride, size):
    kernel, bias = RNG.normal(size=(3, 2, 3, 4)).astype("f"), RNG.normal(size=4).astype("f")
    conv = node(
        "y", "_FusedConv2D", "x", "k", "b", strides=numbers(1, stride, stride, 1),
        padding=text(padding),
        fused_ops={"list": {"s": [text("BiasAdd")["s"], text("Relu6")["s"]]}},
    )  # fmt: skip

    found, image = run(tmp_path, [conv], {"k": kernel, "b": bias}, size)

    expected = naive_conv(image, kernel, stride, padding == "SAME") + bias
    np.testing.assert_allclose(found[0], expected.clip(0, 6), atol=1e-3)


def test_a_depthwise_convolution_keeps_channels_apart(tmp_path):
    kernel = RNG.normal(size=(3, 3, 3, 2)).astype("f")
    conv = node(
        "y", "DepthwiseConv2dNative", "x", "k", strides=numbers(1, 1, 1, 1), padding=text("SAME")
    )

    found, image = run(tmp_path, [conv], {"k": kernel})

    for channel in range(3):
        expected = naive_conv(image[..., [channel]], kernel[:, :, [channel]], 1, True)
        np.testing.assert_allclose(
            found[0, ..., 2 * channel : 2 * channel + 2], expected, rtol=1e-3
        )


def test_resizing_interpolates_between_centres(tmp_path):
    resize = node("y", "ResizeBilinear", "x", "size", half_pixel_centers={"b": True})

    found, image = run(tmp_path, [resize], {"size": np.array([7, 12], np.int32)})

    np.testing.assert_allclose(found[0, :, 1], 0.75 * image[:, 0] + 0.25 * image[:, 1], rtol=1e-5)


def test_arithmetic_and_shapes(tmp_path):
    nodes = [
        node("row", "Unpack", "x", axis={"i": "1"}),
        node("sum", "AddV2", "row:2", "row"),
        node("less", "Sub", "sum", "one"),
        node("square", "SquaredDifference", "less", "one"),
        node("root", "Sqrt", "square"),
        node("half", "RealDiv", "root", "two"),
        node("twice", "Mul", "half", "two"),
        node("floor", "FloorDiv", "twice", "two"),
        node("soft", "Sigmoid", "floor"),
        node("wide", "ExpandDims", "soft", "axis"),
        node("thin", "Squeeze", "wide", squeeze_dims=numbers(0)),
        node("flat", "Reshape", "thin", "shape"),
        node("pair", "Pack", "flat", "flat", axis={"i": "0"}),
        node("both", "ConcatV2", "pair", "pair", "axis"),
        node("y", "Identity", "both"),
    ]
    weights = {
        "one": np.float32(1), "two": np.float32(200), "axis": np.int32(0),
        "shape": np.array([6, 3], np.int32),
    }  # fmt: skip

    found, image = run(tmp_path, nodes, {name: np.array(w) for name, w in weights.items()})

    values = np.floor(np.abs(image[2] + image[0] - 2) / 200)
    expected = 1 / (1 + np.exp(-values))
    assert found.shape == (4, 6, 3)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-6)


def test_argmax_and_gather_select_the_maximum(tmp_path):
    nodes = [
        node("flat", "Reshape", "x", "flat_shape"),
        node("best", "ArgMax", "flat", "axis"),
        node("places", "Pack", "zero", "best", axis={"i": "1"}),
        node("table", "Reshape", "flat", "table_shape"),
        node("y", "GatherNd", "table", "places"),
    ]
    weights = {
        "flat_shape": np.array([42, 3], np.int32), "axis": np.array(0, np.int32),
        "zero": np.zeros(3, np.int32), "table_shape": np.array([1, 42, 3], np.int32),
    }  # fmt: skip

    found, image = run(tmp_path, nodes, weights)

    flat = image.reshape(42, 3)
    np.testing.assert_array_equal(found, flat[flat.argmax(0)])


def test_weights_may_be_float16(tmp_path):
    add = node("y", "AddV2", "x", "w")

    found, image = run(tmp_path, [add], {"w": np.array([0.5, 1.5, 2.5], "f")}, half=True)

    np.testing.assert_array_equal(found[0], image + np.array([0.5, 1.5, 2.5]))


def damaged(tmp_path, change):
    path = write_movenet(tmp_path / "m.json", np.zeros((17, 3)))
    graph = json.loads(path.read_text())
    change(graph)
    path.write_text(json.dumps(graph))
    return path


def test_an_unknown_operation_is_refused_and_named(tmp_path):
    path = damaged(tmp_path, lambda g: g["modelTopology"]["node"][-1].update(op="ReadFile"))

    with pytest.raises(
        UserError, match=r"m.json: the file must be a TF.js .* got the operation ReadFile"
    ):
        GraphModel(path)


def test_weights_in_another_folder_are_refused(tmp_path):
    (tmp_path / "inner").mkdir()
    path = damaged(
        tmp_path, lambda g: g["weightsManifest"][0].update(paths=["../secret.bin"])
    ).rename(tmp_path / "inner/m.json")
    (tmp_path / "secret.bin").write_bytes(b"\0" * 100_000)

    with pytest.raises(UserError, match="weights in another folder"):
        GraphModel(path)


def test_a_cycle_is_refused(tmp_path):
    path = damaged(tmp_path, lambda g: g["modelTopology"]["node"][-3].update(input=["output"]))

    with pytest.raises(UserError, match="a cycle at"):
        GraphModel(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weightsManifest": [], "modelTopology": 1}'])
def test_a_file_that_is_not_a_model_is_refused(tmp_path, content):
    path = tmp_path / "m.json"
    path.write_text(content)

    with pytest.raises(UserError, match=r"must be a TF.js graph model"):
        GraphModel(path)


def test_a_model_without_an_output_is_refused(tmp_path):
    path = damaged(tmp_path, lambda g: g["signature"].update(outputs={}))

    with pytest.raises(UserError, match=r"must be a TF.js graph model"):
        GraphModel(path)


@pytest.mark.parametrize("shape", [["a", 10**15], [-1, 4], [2.5], [True], [10**18, 10**18]])
def test_weights_of_no_shape_are_refused(tmp_path, shape):
    path = damaged(tmp_path, lambda g: g["weightsManifest"][0]["weights"][0].update(shape=shape))

    with pytest.raises(UserError, match=r"must be a TF.js graph model"):
        GraphModel(path)


def test_short_weights_are_refused(tmp_path):
    path = write_movenet(tmp_path / "m.json", np.zeros((17, 3)))
    (tmp_path / "m.bin").write_bytes((tmp_path / "m.bin").read_bytes()[:-8])

    with pytest.raises(UserError, match=r"must be a TF.js graph model"):
        GraphModel(path)


@pytest.mark.parametrize("missing", ["m.json", "m.bin"])
def test_a_missing_file_is_named(tmp_path, missing):
    path = write_movenet(tmp_path / "m.json", np.zeros((17, 3)))
    (tmp_path / missing).unlink()

    with pytest.raises(UserError, match=f"{missing} is missing"):
        GraphModel(path)


def test_an_image_of_another_size_is_refused(tmp_path):
    model = GraphModel(write_movenet(tmp_path / "m.json", np.zeros((17, 3))))

    with pytest.raises(UserError, match=r"must be a TF.js graph model"):
        model(torch.zeros(1, 9, 9, 3, dtype=torch.int64))
