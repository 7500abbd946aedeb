import io
import math

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from reid_aug.data.keypoints import JOINTS, NO_POSE, Pose
from reid_aug.image_quality import (
    PROTOCOLS,
    View,
    correct_joints,
    cut,
    limb_mask,
    mask_ssim,
    mean_difference,
    ssim,
    views,
)
from reid_aug.image_quality.masks import MASK_LIMBS
from reid_aug.image_quality.metrics import (
    DetectorMetric,
    InceptionMetric,
    JointsMetric,
    StructureMetric,
    frechet,
    inception_score,
)
from reid_aug.image_quality.protocols import published_input, truncated

HEIGHT, WIDTH = 128, 64


def image(seed: int, low: int = 0, high: int = 256) -> np.ndarray:
    """A picture with structure: noise, smoothed."""
    noise = np.random.default_rng(seed).uniform(low, high, (HEIGHT, WIDTH, 3))
    smooth = gaussian_filter(noise, (2, 2, 0))
    return ((smooth - smooth.min()) / np.ptp(smooth) * (high - 1 - low) + low).astype(np.uint8)


def pose(seed: int, unseen: int = 0) -> Pose:
    rng = np.random.default_rng(seed)
    xy = rng.uniform((6, 6), (WIDTH - 7, HEIGHT - 7), (18, 2)).astype(np.float32)
    xy[rng.permutation(18)[:unseen]] = np.nan
    return Pose(xy)


def formula(target: np.ndarray, generated: np.ndarray, extent: float, protocol: str) -> np.ndarray:
    """The map of SSIM after Wang et al. 2004 with a Gaussian of sigma 1.5.

    It has 13 taps under ``patn``, as in scikit-image 0.14.2, and 11 under ``clean``. The borders
    are reflected.
    """
    reach = 6 if protocol == "patn" else 5
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()

    def mean(x: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            ends = [(reach, reach) if each == axis else (0, 0) for each in range(3)]
            padded = np.pad(x, ends, mode="symmetric")
            windows = np.lib.stride_tricks.sliding_window_view(padded, len(taps), axis)
            x = windows @ taps
        return x

    x, y = target.astype(float), generated.astype(float)
    c1, c2 = (0.01 * extent) ** 2, (0.03 * extent) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))


PAIRS = [(image(0), image(1)), (image(2), image(3, 60, 180)), (image(4), image(4))]


@pytest.mark.parametrize(("target", "generated"), PAIRS)
def test_patn_ssim_is_near_that_of_todays_scikit_image_which_has_two_taps_less(target, generated):
    expected = structural_similarity(
        target, generated, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        channel_axis=-1, data_range=int(generated.max()) - int(generated.min()),
    )  # fmt: skip

    assert ssim(target, generated, "patn") == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(("target", "generated"), PAIRS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ssim_is_the_formula(target, generated, protocol):
    extent = np.ptp(generated) if protocol == "patn" else 255
    inner = formula(target, generated, float(extent), protocol)[5:-5, 5:-5]

    assert ssim(target, generated, protocol) == pytest.approx(inner.mean(), abs=1e-9)


@pytest.mark.parametrize(("target", "generated"), PAIRS)
def test_patn_mask_ssim_sets_the_rest_to_black_and_counts_it(target, generated):
    mask = limb_mask(pose(0), HEIGHT, WIDTH, "patn")
    black = [np.where(mask[..., None], each, 0).astype(np.uint8) for each in (target, generated)]
    inner = formula(*black, float(np.ptp(black[1])), "patn")[5:-5, 5:-5]

    assert mask_ssim(target, generated, mask, "patn") == pytest.approx(inner.mean(), abs=1e-9)


def test_clean_mask_ssim_is_the_mean_over_the_person():
    target, generated = PAIRS[0]
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[30:90, 20:40] = True

    found = mask_ssim(target, generated, mask, "clean")

    assert found == pytest.approx(formula(target, generated, 255, "clean")[mask].mean(), abs=1e-6)


def test_common_black_raises_the_patn_metric_only():
    target, generated = PAIRS[0]
    small = np.zeros((HEIGHT, WIDTH), bool)
    small[50:60, 30:40] = True

    assert mask_ssim(target, generated, small, "patn") > 0.8
    assert mask_ssim(target, generated, small, "clean") < 0.3


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_a_mask_there_is_no_mask_ssim(protocol):
    nothing = np.zeros((HEIGHT, WIDTH), bool)

    assert math.isnan(mask_ssim(*PAIRS[0], nothing, protocol))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_generated_image_of_one_colour_has_a_number(protocol):
    assert -1 <= ssim(image(0), np.full((HEIGHT, WIDTH, 3), 7, np.uint8), protocol) < 0.5


def test_l1_is_in_signed_scale():
    dark, bright = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)

    assert mean_difference(dark, bright) == 2
    assert mean_difference(dark, dark + np.uint8(51)) == pytest.approx(0.4)


def closed(mask: np.ndarray) -> np.ndarray:
    """Dilation, then erosion, with 5 x 5 pixels, pixel by pixel."""
    for reduce in (np.any, np.all):
        mask = np.array([
            [reduce(mask[max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3]) for c in range(WIDTH)]
            for r in range(HEIGHT)
        ])  # fmt: skip
    return mask


def corners(start: np.ndarray, end: np.ndarray) -> list[tuple[float, float]]:
    """The corners (row, column) of the rectangle of a limb."""
    (x, y), (dx, dy) = start.astype(float), (end - start).astype(float)
    aside = 4 / math.hypot(dx, dy)
    up, right = dx * aside, -dy * aside
    return [
        (y + up, x + right), (y - up, x - right), (y + dy - up, x + dx - right),
        (y + dy + up, x + dx + right),
    ]  # fmt: skip


def is_inside(polygon: list[tuple[float, float]], row: int, column: int) -> bool:
    """Whether a ray from the pixel to the right crosses the polygon an odd number of times."""
    crossings = 0
    for (r, c), (r_next, c_next) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (r <= row < r_next) or (r_next <= row < r):
            crossings += column < c + (row - r) * (c_next - c) / (r_next - r)
    return crossings % 2 == 1


@pytest.mark.parametrize(("seed", "unseen"), [(0, 9), (1, 12), (2, 14)])
def test_the_patn_mask_follows_the_even_odd_rule(seed, unseen):
    person = pose(seed, unseen)
    xy = person.xy
    xy[:4] = (10, 20), (30, 20), (30, 50), (12.5, -3)  # whole numbers: pixels lie on edges
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for a, b in MASK_LIMBS:
        if not np.isnan(xy[[a, b]]).any():
            limb = corners(xy[a], xy[b])
            mask |= np.array([[is_inside(limb, r, c) for c in range(WIDTH)] for r in range(HEIGHT)])
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for x, y in xy[~np.isnan(xy[:, 0])]:
        mask |= np.hypot(rows - y, columns - x) < 4

    found = limb_mask(Pose(xy), HEIGHT, WIDTH, "patn")

    np.testing.assert_array_equal(found, closed(mask))


def test_the_patn_mask_has_two_edges_less():
    xy = np.full((18, 2), np.nan, np.float32)
    xy[[2, 3]] = (30, 40), (30, 60)  # a limb whose rectangle has whole numbers as corners
    patn, clean = (limb_mask(Pose(xy), HEIGHT, WIDTH, protocol) for protocol in PROTOCOLS)

    assert not (patn & ~clean).any()
    assert [row.nonzero()[0].tolist() for row in (patn[50], clean[50])] == [
        [*range(26, 34)],
        [*range(26, 35)],
    ]


def direct_mask(xy: np.ndarray) -> np.ndarray:
    """The clean mask from its description: every pixel is compared with every limb and joint."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    points = np.stack([columns, rows], -1).astype(float)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for a, b in MASK_LIMBS:
        if not np.isnan(xy[[a, b]]).any():
            along = (xy[b] - xy[a]).astype(float)
            length = np.hypot(*along)
            away = points - xy[a]
            forward = away @ along / length
            aside = (away[..., 0] * along[1] - away[..., 1] * along[0]) / length
            mask |= (forward >= 0) & (forward <= length) & (np.abs(aside) <= 4)
    for point in xy[~np.isnan(xy[:, 0])]:
        mask |= np.hypot(*(points - point).T).T < 4
    return closed(mask)


@pytest.mark.parametrize(("seed", "unseen"), [(0, 0), (1, 4), (2, 9), (3, 14), (4, 17), (5, 18)])
def test_the_mask_is_the_described_one(seed, unseen):
    person = pose(seed, unseen)

    np.testing.assert_array_equal(limb_mask(person, HEIGHT, WIDTH), direct_mask(person.xy))


def test_the_mask_reaches_over_the_border():
    xy = pose(6).xy
    xy[:4] = (-2.3, 60.2), (1.4, 3.3), (70.1, 20.7), (63.2, 126.6)

    np.testing.assert_array_equal(limb_mask(Pose(xy), HEIGHT, WIDTH), direct_mask(xy))


def test_limbs_are_23_different_ones():
    assert len({frozenset(limb) for limb in MASK_LIMBS}) == 23


def test_joints_in_one_place_are_a_disc():
    xy = np.full((18, 2), np.nan, np.float32)
    xy[:] = 30, 60

    mask = limb_mask(Pose(xy), HEIGHT, WIDTH)

    np.testing.assert_array_equal(mask, closed(np.hypot(*np.mgrid[-60:68, -30:34]) < 4))


def test_truncation_is_that_of_the_published_steps():
    values = np.linspace(-1, 1, 1001, dtype=np.float32)

    expected = [int(np.float32(np.float32(np.float32(v + 1) / 2.0) * 255.0)) for v in values]
    assert truncated(values).tolist() == expected


def test_the_real_target_changes_by_at_most_one_level():
    pixels = np.arange(256, dtype=np.uint8)

    away = pixels.astype(int) - truncated(published_input(pixels))

    assert set(away.tolist()) <= {0, 1}


def test_patn_takes_the_panels_of_one_jpeg_sheet():
    source, target, generated = image(0), image(1), image(2)
    poses = pose(0), pose(1)

    seen = views(source, target, generated, poses)["patn"]

    # the neighbours of a panel affect its outermost columns only
    empty = np.zeros_like(source)
    reals = [truncated(published_input(each)) for each in (source, target)]
    sheet = np.concatenate([reals[0], empty, reals[1], empty, generated], axis=1)
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "JPEG", quality=75)
    for mine, plain in zip(seen, cut(np.asarray(Image.open(file))), strict=True):
        np.testing.assert_array_equal(mine[:, 1:-1], plain[:, 1:-1])
    assert (seen.generated != generated).mean() > 0.3


def test_clean_takes_the_pixels_unchanged():
    source, target = image(0), image(1)
    signed = np.random.default_rng(0).uniform(-1, 1, source.shape).astype(np.float32)

    seen = views(source, target, signed, (NO_POSE, NO_POSE))["clean"]

    np.testing.assert_array_equal(seen.source, source)
    np.testing.assert_array_equal(seen.target, target)
    np.testing.assert_array_equal(seen.generated, np.rint((signed + 1) * 127.5))


def test_a_sheet_is_cut_at_its_panels():
    sheet = np.concatenate([np.full((4, 2, 3), place, np.uint8) for place in range(5)], axis=1)

    assert [int(panel.mean()) for panel in cut(sheet)] == [0, 2, 4]
    assert {panel.shape for panel in cut(sheet)} == {(4, 2, 3)}


def head(**places: tuple[float, float]) -> Pose:
    """A pose of a few joints."""
    xy = np.full((18, 2), np.nan, np.float32)
    for name, place in places.items():
        xy[JOINTS.index(name)] = place
    return Pose(xy)


# Box of the head: x 26..40, y 10..30, so 14 x 20; the thresholds of patn are 7 and 10 pixels, that
# of clean is 0.5 * 0.6 * sqrt(14^2 + 20^2) = 7.32 pixels.
TARGET = head(
    nose=(32, 14), neck=(33, 30), right_eye=(26, 10), left_eye=(40, 12), right_hip=(28, 70),
    left_hip=(40, 70), right_knee=(28, 95), left_knee=(40, 95), right_ankle=(28, 118),
)  # fmt: skip
FOUND = head(
    nose=(38.9, 14),  # 6.9 aside: right, right
    neck=(40, 30),  # 7 aside, which is not less: wrong, right
    right_eye=(26, 19.9),  # 9.9 below: right, wrong
    left_eye=(40, 22),  # 10 below: wrong, wrong
    right_hip=(34, 79),  # 6 and 9: right, wrong (10.8)
    left_hip=(40, 70),  # right, right
    left_knee=(44, 101),  # 4 and 6: right, right (7.21)
    right_ankle=(33, 124),  # 5 and 6: right, wrong (7.81)
    left_ankle=(40, 118),  # not requested
)  # the right knee is not found


@pytest.mark.parametrize(("protocol", "right"), [("patn", 6), ("clean", 4)])
def test_pckh_worked_by_hand(protocol, right):
    assert correct_joints(TARGET, FOUND, protocol) == (right, 9)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_head_of_one_joint_is_left_out(protocol):
    target = head(neck=(33, 30), right_hip=(28, 70))

    assert correct_joints(target, target, protocol) == (0, 0)


def test_in_a_box_without_width_no_joint_is_correct_under_patn():
    target = head(nose=(33, 10), neck=(33, 30), right_hip=(28, 70))

    assert correct_joints(target, target, "patn") == (0, 3)
    assert correct_joints(target, target, "clean") == (3, 3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_a_person_found_every_joint_is_wrong(protocol):
    assert correct_joints(TARGET, NO_POSE, protocol) == (0, 9)


class FixedEstimator:
    """An estimator that finds one pose in every image."""

    def __init__(self, seen: Pose) -> None:
        self.seen = seen

    def estimate(self, image: np.ndarray) -> np.ndarray:
        return np.column_stack([np.nan_to_num(self.seen.xy), self.seen.seen])


def test_pckh_counts_joints_not_images():
    metric = JointsMetric("patn", FixedEstimator(FOUND))
    view = View(*[image(0)] * 3)
    far = head(nose=(2, 2), neck=(9, 9))

    metric.update([view, view], [TARGET, far])

    assert metric.scores() == {"PCKh": 4 / 11}  # 6.9 and 9.9 are 7 and 10 in whole pixels: wrong


class NotingEstimator(FixedEstimator):
    """An estimator that also notes the images."""

    def __init__(self, seen: Pose) -> None:
        super().__init__(seen)
        self.images: list[np.ndarray] = []

    def estimate(self, image: np.ndarray) -> np.ndarray:
        self.images.append(image)
        return super().estimate(image)


def test_patn_estimates_on_a_crop_that_was_saved_as_jpeg_once_more():
    file, crop = io.BytesIO(), image(0)
    Image.fromarray(crop).save(file, "JPEG", quality=75)
    saved = np.asarray(Image.open(file))
    noting = NotingEstimator(FOUND)
    for protocol in PROTOCOLS:
        JointsMetric(protocol, noting).update([View(crop, crop, crop)], [TARGET])

    np.testing.assert_array_equal(noting.images[0], saved)
    np.testing.assert_array_equal(noting.images[1], crop)


def test_patn_compares_joints_in_whole_pixels():
    """Half the head is 4 pixels. 3.6 pixels are 4 in whole pixels, which is not below 4."""
    target = head(nose=(30, 20), neck=(38, 28))
    near = Pose(np.where(np.isnan(target.xy), np.nan, target.xy + np.float32(3.6)))
    metrics = {each: JointsMetric(each, FixedEstimator(near)) for each in PROTOCOLS}
    for metric in metrics.values():
        metric.update([View(*[image(0)] * 3)], [target])

    requested = int(target.seen.sum())
    assert metrics["patn"].scores() == {"PCKh": 0.0}
    assert metrics["clean"].right == correct_joints(target, near, "clean")[0]
    assert correct_joints(target, near, "patn") == (requested, requested)


def test_structure_is_the_mean_over_pairs():
    metric = StructureMetric("clean")
    people = [pose(0), NO_POSE]
    pairs = [View(image(9), *PAIRS[0]), View(image(9), *PAIRS[1])]

    for view, person in zip(pairs, people, strict=True):
        metric.update([view], [person])

    mask = limb_mask(people[0], HEIGHT, WIDTH)
    assert metric.scores() == pytest.approx({
        "SSIM": np.mean([ssim(*pair, "clean") for pair in PAIRS[:2]]),
        "mask-SSIM": mask_ssim(*PAIRS[0], mask, "clean"),  # the other pair has no mask
        "L1": np.mean([mean_difference(*pair) for pair in PAIRS[:2]]),
    })  # fmt: skip


def fashion(seed: int) -> np.ndarray:
    """A picture of DeepFashion's size."""
    return np.tile(image(seed), (2, 3, 1))[:256, :176]


def in_white(pixels: np.ndarray) -> np.ndarray:
    whole = np.full((256, 256, 3), 255, np.uint8)
    whole[:, 40:-40] = pixels
    return whole


def test_patn_extends_deepfashion_by_a_white_border():
    views, person = View(*map(fashion, (0, 1, 2))), pose(0)
    found = {}
    for protocol in PROTOCOLS:
        metric = StructureMetric(protocol)
        metric.update([views], [person])
        found[protocol] = metric.scores()

    pair = views.target, views.generated
    assert found["patn"]["SSIM"] == ssim(*map(in_white, pair), "patn") > ssim(*pair, "patn")
    mask = limb_mask(person, 256, 176)
    assert found["patn"]["mask-SSIM"] == mask_ssim(*pair, mask, "patn")  # never published there
    assert found["clean"]["SSIM"] == ssim(*pair, "clean")


@pytest.mark.parametrize(("protocol", "width"), [("patn", 256), ("clean", 176)])
def test_networks_get_the_border_where_the_published_tools_add_it(protocol, width):
    import torch

    class Recorder:
        def __init__(self) -> None:
            self.images = []

        def __call__(self, images):
            self.images.append(images)
            return torch.zeros(len(images)) if is_detector else torch.zeros(2, len(images), 4)

    views, seen = [View(*map(fashion, (0, 1, 2)))], {}
    for metric in (DetectorMetric, InceptionMetric):
        network, is_detector = Recorder(), metric is DetectorMetric
        metric(protocol, network).update(views, [pose(0)])
        seen[metric] = [images.shape[2] for images in network.images]
        if protocol == "patn":
            widest = next(images for images in network.images if images.shape[2] == 256)
            np.testing.assert_array_equal(widest[0], in_white(views[0].generated))

    assert seen[DetectorMetric] == [width] * 2
    # the generated image for FID, for IS and masked, then the real target
    assert seen[InceptionMetric] == ([176, 256, 176, 176] if protocol == "patn" else [176] * 3)


def test_inception_score_worked_by_hand():
    # ten parts of two images, each surely of its own class of two: exp(H(1/2, 1/2)) = 2
    logits = np.tile([[40.0, 0.0], [0.0, 40.0]], (10, 1))
    import torch

    assert inception_score(torch.tensor(logits), "patn") == pytest.approx((2, 0))
    # one class in all of a part: 1
    assert inception_score(torch.tensor(np.tile([[40.0, 0.0]], (20, 1))), "patn")[0] == (
        pytest.approx(1)
    )


def test_the_parts_of_patn_follow_the_order_of_pairs():
    import torch

    logits = torch.tensor(np.repeat([[40.0, 0.0], [0.0, 40.0]], 10, axis=0))

    assert inception_score(logits, "patn")[0] == pytest.approx(1)  # each part has one class
    assert inception_score(logits, "clean")[0] > 1.2


def test_too_few_for_ten_parts_is_undefined():
    import torch

    assert all(math.isnan(value) for value in inception_score(torch.zeros(9, 3), "patn"))
    assert math.isnan(frechet(torch.zeros(1, 3), torch.zeros(5, 3)))


def test_frechet_distance_of_known_clouds():
    import torch

    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(500, 4))
    cloud = (cloud - cloud.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(cloud.T))).T
    one, other = torch.tensor(cloud), torch.tensor(3 * cloud + [1, 0, 2, 0])

    # |shift|^2 + tr(I + 9 I - 2 * 3 I) = 5 + 4 * 4
    assert frechet(one, other) == pytest.approx(21, rel=1e-6)
