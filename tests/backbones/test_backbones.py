import socket

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from reid_aug.backbones import (
    backbone_names,
    build_backbone,
    load_starting_weights,
)
from reid_aug.backbones.inceptions import InceptionV2
from reid_aug.runtime.errors import UserError

CLASSES = 5
CAFFE_PARAMETERS = 10_270_240
CAFFE_SHAPES = {
    "conv1_7x7_s2.weight": (64, 3, 7, 7),
    "conv1_7x7_s2.bias": (64,),
    "conv1_7x7_s2_bn.running_var": (64,),
    "conv2_3x3_reduce.weight": (64, 64, 1, 1),
    "conv2_3x3_bn.weight": (192,),
    "inception_3a_1x1.weight": (64, 192, 1, 1),
    "inception_3a_double_3x3_1_bn.running_mean": (96,),
    "inception_3a_pool_proj.weight": (32, 192, 1, 1),
    "inception_3c_3x3.weight": (160, 128, 3, 3),
    "inception_3c_double_3x3_2.weight": (96, 96, 3, 3),
    "inception_4a_3x3_reduce.weight": (64, 576, 1, 1),
    "inception_4e_double_3x3_1.bias": (256,),
    "inception_5a_1x1.weight": (352, 1056, 1, 1),
    "inception_5b_double_3x3_reduce_bn.bias": (192,),
    "inception_5b_pool_proj.bias": (128,),
}
CAFFE_CONVOLUTIONS = 69


@pytest.fixture(scope="module")
def inception() -> InceptionV2:
    torch.manual_seed(0)
    return InceptionV2(CLASSES).eval()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def test_inception_has_the_parameters_of_the_published_network(inception):
    counts = {name: p.numel() for name, p in inception.named_parameters()}

    assert sum(n for name, n in counts.items() if "classifier" not in name) == CAFFE_PARAMETERS
    assert counts["classifier.weight"] == CLASSES * 1024


def test_the_parameters_have_the_names_and_shapes_of_the_caffe_port(inception):
    shapes = {name: tuple(tensor.shape) for name, tensor in inception.state_dict().items()}

    assert {name: shapes.get(name) for name in CAFFE_SHAPES} == CAFFE_SHAPES
    convolutions = [name for name, shape in shapes.items() if len(shape) == 4]
    assert len(convolutions) == CAFFE_CONVOLUTIONS


@pytest.mark.parametrize("name", ["inception_3c_1x1", "inception_3c_pool_proj", "inception_4e_1x1"])
def test_blocks_that_halve_the_size_have_neither_projection(inception, name):
    assert f"{name}.weight" not in inception.state_dict()


@pytest.mark.parametrize("size", [(256, 128), (128, 64), (64, 32), (144, 56), (224, 224)])
def test_inception_accepts_images_of_many_sizes(inception, size):
    with torch.inference_mode():
        features = inception(torch.zeros(1, 3, *size))

    assert features.shape == (1, 1024)
    assert features.isfinite().all()


def test_input_is_converted_to_bgr_of_0_to_255_minus_the_mean(inception):
    rgb = np.array([255.0, 51.0, 0.0]) / 255
    normalised = (rgb - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    image = torch.tensor(normalised, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, 2, 2)

    recorded = inception.to_caffe(image)

    expected = torch.tensor([0.0 - 104, 51.0 - 117, 255.0 - 128]).view(1, 3, 1, 1)
    torch.testing.assert_close(recorded, expected.expand(1, 3, 2, 2), atol=1e-4, rtol=0)


def test_the_input_of_the_first_convolution_is_that_of_the_caffe_port(inception):
    pixels = torch.randint(0, 256, (1, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    image = (pixels / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    recorded = []
    hook = inception.conv1_7x7_s2.register_forward_pre_hook(lambda _, given: recorded.extend(given))

    with torch.inference_mode():
        inception(image)

    hook.remove()
    bgr = pixels[:, [2, 1, 0]] - torch.tensor([104, 117, 128]).view(3, 1, 1)
    torch.testing.assert_close(recorded[0], bgr.float(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["inception_v2", "osnet_x0_25"])
def test_a_network_returns_logits_in_training_and_features_in_eval_mode(name):
    model = build_backbone(name, CLASSES, 64, 32)
    images = torch.zeros(2, 3, 64, 32)

    logits, features = model.train()(images), model.eval()(images)

    assert logits.shape == (2, CLASSES)
    assert features.shape[0] == 2
    assert features.shape[1] >= 512


def test_a_network_is_built_in_training_mode():
    assert build_backbone("inception_v2", CLASSES, 64, 32).training


def test_gradients_reach_every_parameter_of_inception():
    model = InceptionV2(CLASSES).train()

    F.cross_entropy(model(torch.rand(4, 3, 64, 32)), torch.arange(4)).backward()

    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def caffe_port(model: InceptionV2, x: torch.Tensor) -> torch.Tensor:
    def conv(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        kernel, norm = getattr(model, name), getattr(model, f"{name}_bn")
        x = F.conv2d(x, kernel.weight, kernel.bias, stride, kernel.weight.shape[-1] // 2)
        return F.relu(
            F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-5)
        )

    def halved(x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    x = halved(conv("conv1_7x7_s2", x, 2))
    x = halved(conv("conv2_3x3", conv("conv2_3x3_reduce", x)))
    for block in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        name, stride = f"inception_{block}", 2 if block in ("3c", "4e") else 1
        three = conv(f"{name}_3x3", conv(f"{name}_3x3_reduce", x), stride)
        double = conv(f"{name}_double_3x3_1", conv(f"{name}_double_3x3_reduce", x))
        double = conv(f"{name}_double_3x3_2", double, stride)
        if stride == 2:
            x = torch.cat([three, double, halved(x)], 1)
            continue
        average = F.avg_pool2d(x, 3, 1, 1, ceil_mode=True, count_include_pad=True)
        pooled = F.max_pool2d(x, 3, 1, 1, ceil_mode=True) if block == "5b" else average
        one, pool = conv(f"{name}_1x1", x), conv(f"{name}_pool_proj", pooled)
        x = torch.cat([one, three, double, pool], 1)
    return F.avg_pool2d(x, 7).flatten(1)


def test_features_of_imagenet_images_are_those_of_the_caffe_port(inception):
    generator = torch.Generator().manual_seed(2)
    for name, buffer in inception.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.2, generator=generator)
    image = torch.randn(1, 3, 224, 224, generator=generator)

    with torch.inference_mode():
        features, expected = inception(image), caffe_port(inception, inception.to_caffe(image))

    assert expected.std() > 0
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


def test_an_unknown_backbone_is_refused_with_the_choices():
    with pytest.raises(UserError, match="there is no backbone 'resnet51'") as caught:
        build_backbone("resnet51", CLASSES, 256, 128)

    for name in ("resnet50", "inception_v2", "osnet_x0_25", "inceptionv4"):
        assert f"{name}," in str(caught.value)


def test_the_names_are_sorted_and_unique():
    names = backbone_names()

    assert names == sorted(set(names))
    assert len(names) > 40


def test_an_unsupported_image_size_is_refused_with_the_supported_sizes():
    with pytest.raises(UserError, match=r"inceptionv4.*128x64") as caught:
        build_backbone("inceptionv4", CLASSES, 128, 64)

    assert "256x128" in str(caught.value)
    assert "--set train_reid.height=" in str(caught.value)


def test_no_socket_is_opened_to_build_a_network(no_network):
    model = build_backbone("resnet50", CLASSES, 64, 32)

    assert sum(p.numel() for p in model.parameters()) == 23_508_032 + 2048 * CLASSES + CLASSES


def test_weights_of_the_caffe_port_load_with_any_classifier(inception, tmp_path):
    state = {k: v for k, v in inception.state_dict().items() if "classifier" not in k}
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    state |= {"last_linear.weight": torch.ones(1000, 1024), "last_linear.bias": torch.ones(1000)}
    torch.save(state, tmp_path / "bn_inception.pth")
    torch.manual_seed(9)
    model = InceptionV2(3)
    head = model.classifier.weight.clone()

    line = load_starting_weights(model, tmp_path / "bn_inception.pth")

    torch.testing.assert_close(model.conv1_7x7_s2.weight, inception.conv1_7x7_s2.weight)
    torch.testing.assert_close(
        model.inception_5b_1x1_bn.running_mean, inception.inception_5b_1x1_bn.running_mean
    )
    torch.testing.assert_close(model.classifier.weight, head)
    assert "bn_inception.pth" in line
    assert "2 in the file unused" in line


def test_a_classifier_of_other_identities_is_not_loaded(inception, tmp_path):
    save_file(inception.state_dict(), tmp_path / "reid.safetensors")
    model = InceptionV2(CLASSES + 1)

    load_starting_weights(model, tmp_path / "reid.safetensors")

    assert model.classifier.weight.shape == (CLASSES + 1, 1024)
    torch.testing.assert_close(model.conv2_3x3.weight, inception.conv2_3x3.weight)


@pytest.mark.parametrize("spoil", ["missing", "reshaped"])
def test_weights_that_do_not_fit_are_refused(inception, tmp_path, spoil):
    state, name = inception.state_dict(), "inception_4c_3x3.weight"
    state[name] = state[name][:-1].clone()
    if spoil == "missing":
        del state[name]
    save_file(state, tmp_path / "other.safetensors")
    model = InceptionV2(CLASSES)
    before = model.conv1_7x7_s2.weight.clone()

    with pytest.raises(UserError, match=r"other\.safetensors.*inception_4c_3x3\.weight"):
        load_starting_weights(model, tmp_path / "other.safetensors")

    torch.testing.assert_close(model.conv1_7x7_s2.weight, before)


def test_torchvision_weights_of_resnet_load_without_their_classifier(tmp_path):
    from torchvision.models import resnet50

    torch.manual_seed(3)
    published = resnet50(weights=None)
    torch.save(published.state_dict(), tmp_path / "resnet50.pth")
    model = build_backbone("resnet50", CLASSES, 64, 32)

    line = load_starting_weights(model, tmp_path / "resnet50.pth")

    torch.testing.assert_close(model.layer4[2].conv3.weight, published.layer4[2].conv3.weight)
    assert "2 in the file unused" in line


@pytest.mark.parametrize(("name", "is_last"), [("resnet18", True), ("pcb_p6", False)])
def test_weights_are_channels_last_if_the_network_supports_it(name, is_last):
    model = build_backbone(name, 2, 256, 128)

    weight = next(one for one in model.parameters() if one.ndim == 4 and one.shape[-1] > 1)
    assert weight.is_contiguous(memory_format=torch.channels_last) == is_last
    with torch.no_grad():
        assert model.eval()(torch.zeros(2, 3, 256, 128)).ndim == 2


def necked_network(name, classes=CLASSES, height=64, width=32):
    return build_backbone(name, classes, height, width, 0, bnneck=True, with_features=True)


@pytest.mark.parametrize("name", ["resnet18", "inception_v2", "inception_open_reid", "osnet_x0_25"])
def test_a_neck_normalises_the_features_for_classifier_and_ranking(name):
    model, images = necked_network(name), torch.randn(6, 3, 64, 32)

    logits, features = model.train()(images)

    behind = F.batch_norm(features, None, None, training=True)
    torch.testing.assert_close(logits, F.linear(behind, model.classifier.weight), atol=1e-4, rtol=0)
    assert model.classifier.bias is None
    assert not model.norm.bias.requires_grad
    ranked = model.eval()(images)
    torch.testing.assert_close(ranked.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(ranked, F.normalize(model.norm(model.backbone(images))))


def test_a_neck_without_features_returns_logits_only():
    model = build_backbone("resnet18", CLASSES, 64, 32, bnneck=True)

    assert model.train()(torch.randn(2, 3, 64, 32)).shape == (2, CLASSES)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("resnet18", "layer4"),
        ("resnet50_ibn_a", "layer4"),
        ("se_resnet50", "layer4"),
        ("inception_v2", "inception_5b_3x3"),
    ],
)
def test_last_stride_1_keeps_the_size_in_the_last_stage(name, stage):
    sizes = {}
    for stride in (0, 1):
        model, recorded = build_backbone(name, CLASSES, 64, 32, stride), []
        model.get_submodule(stage).register_forward_hook(
            lambda _, given, made, recorded=recorded: recorded.append(made.shape)
        )
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 3, 64, 32))
        sizes[stride] = tuple(recorded[0][2:])
        shapes = {key: value.shape for key, value in model.state_dict().items()}
        sizes.setdefault("weights", shapes)
        assert sizes["weights"] == shapes

    assert (sizes[0], sizes[1]) == ((2, 1), (4, 2))


@pytest.mark.parametrize("name", ["osnet_x0_25", "inception_open_reid"])
def test_last_stride_is_refused_for_a_network_without_resnet_stages(name):
    with pytest.raises(UserError, match=rf"last_stride must be 0 for {name}"):
        build_backbone(name, CLASSES, 64, 32, last_stride=1)


@pytest.mark.parametrize("option", ["bnneck", "with_features"])
def test_neck_and_triplets_are_refused_for_several_classifiers(option):
    with pytest.raises(
        UserError, match=r"backbone pcb_p4 must have one vector of features and one classifier"
    ):
        build_backbone("pcb_p4", CLASSES, 64, 32, **{option: True})


def test_weights_without_a_neck_fit_a_network_with_one_and_vice_versa(tmp_path):
    plain, necked = build_backbone("resnet18", CLASSES, 64, 32), necked_network("resnet18", 3)
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    torch.save(necked.state_dict(), tmp_path / "necked.pth")
    fresh, other = necked_network("resnet18"), build_backbone("resnet18", CLASSES, 64, 32)

    report = load_starting_weights(fresh, tmp_path / "plain.pth")
    load_starting_weights(other, tmp_path / "necked.pth")

    assert "the neck has random weights" in report
    assert "unused: classifier.bias, classifier.weight" in report
    torch.testing.assert_close(fresh.backbone.conv1.weight, plain.conv1.weight)
    torch.testing.assert_close(other.conv1.weight, necked.backbone.conv1.weight)
    both = necked_network("resnet18")
    load_starting_weights(both, tmp_path / "necked.pth")
    torch.testing.assert_close(both.norm.weight, necked.norm.weight)


def step(name, height, width, bnneck):
    """Run a training step; check that the loss is finite and most parameters get a gradient."""
    torch.manual_seed(0)
    model = build_backbone(name, 3, height, width, 0, bnneck, with_features=bnneck)
    outputs = model.train()(torch.randn(4, 3, height, width))
    logits, features = outputs if bnneck else (outputs, torch.zeros(()))
    several = [logits] if isinstance(logits, torch.Tensor) else logits
    labels = torch.tensor([0, 1, 2, 0])
    loss = sum(F.cross_entropy(one, labels) for one in several) + features.square().mean()
    loss.backward()
    changed = sum(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
    assert loss.isfinite()
    assert changed > len(list(model.parameters())) // 2
    assert model.eval()(torch.zeros(1, 3, height, width)).ndim == 2


@pytest.mark.parametrize("name", ["resnet50_fc512", "squeezenet1_0", "shufflenet_v2_x0_5"])
def test_backbones_of_different_families_make_a_step(name):
    step(name, 64, 32, bnneck=True)


OTHER_SIZES = {"hacnn": (160, 64), "inceptionv4": (256, 128), "inceptionresnetv2": (256, 128),
               "mudeep": (256, 128), "nasnsetmobile": (256, 128)}  # fmt: skip
SEVERAL = ("hacnn", "pcb_p4", "pcb_p6")  # classifiers, so no neck


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.nn.functional.upsample")  # in torchreid's hacnn
@pytest.mark.filterwarnings("ignore:Default grid_sample")  # there too
def test_every_backbone_makes_a_step(request):
    names = backbone_names()  # the imports of torchreid use sockets
    request.getfixturevalue("no_network")
    for name in names:
        height, width = OTHER_SIZES.get(name, (128, 64))
        print(name)
        step(name, height, width, bnneck=False)
        if name not in SEVERAL:
            step(name, height, width, bnneck=True)
