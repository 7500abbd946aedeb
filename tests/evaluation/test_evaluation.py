import warnings
from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from reid_aug.evaluation import evaluate
from reid_aug.runtime.errors import UserError

SEEDS = range(6)


def scene(seed: int, queries: int = 12, gallery: int = 150, people: int = 9) -> tuple:
    rng = np.random.default_rng(seed)
    distances = rng.permutation(queries * gallery).reshape(queries, gallery) / 64.0
    query_pids = rng.integers(1, people, queries)
    gallery_pids = rng.integers(-1, people, gallery)
    return distances, query_pids, gallery_pids, *(rng.integers(1, 4, n) for n in (queries, gallery))


def ranking(row: np.ndarray, pid: int, camid: int, pids: np.ndarray, camids: np.ndarray) -> list:
    return [
        pids[i] == pid
        for i in np.argsort(row)
        if pids[i] != -1 and not (pids[i] == pid and camids[i] == camid)
    ]


def naive(distances, query_pids, gallery_pids, query_camids, gallery_camids):
    ap, inverse_penalty, cmc = [], [], []
    for row, pid, camid in zip(distances, query_pids, query_camids, strict=True):
        hits = ranking(row, pid, camid, gallery_pids, gallery_camids)
        if not any(hits):
            continue
        found, precisions, last = 0, [], 0
        for rank, is_hit in enumerate(hits, start=1):
            if is_hit:
                found, last = found + 1, rank
                precisions.append(found / rank)
        ap.append(sum(precisions) / found)
        inverse_penalty.append(found / last)
        cmc.append([any(hits[:rank]) for rank in range(1, 51)])
    return np.mean(ap), np.mean(cmc, axis=0), np.mean(inverse_penalty)


def assert_same(scores, others):
    assert scores.mAP == others.mAP
    assert scores.mINP == others.mINP
    np.testing.assert_array_equal(scores.cmc, others.cmc)
    np.testing.assert_array_equal(scores.ap, others.ap)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_average_precision_of_each_query_is_that_of_scikit_learn(seed):
    distances, query_pids, gallery_pids, query_camids, gallery_camids = scene(seed)

    ap = evaluate(distances, query_pids, gallery_pids, query_camids, gallery_camids).ap

    for query, row in enumerate(distances):
        mine = gallery_pids == query_pids[query]
        counted = (gallery_pids != -1) & ~(mine & (gallery_camids == query_camids[query]))
        expected = average_precision_score(mine[counted], -row[counted])
        assert ap[query] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_scores_are_those_of_a_naive_loop(seed):
    given = scene(seed, people=60)

    scores = evaluate(*given)

    mean_ap, cmc, mean_inverse_penalty = naive(*given)
    assert scores.mAP == pytest.approx(mean_ap, abs=1e-12)
    assert scores.mINP == pytest.approx(mean_inverse_penalty, abs=1e-12)
    np.testing.assert_allclose(scores.cmc, cmc, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_scores_are_those_of_torchreid(seed):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Cython evaluation")
        import torchreid
    distances, query_pids, gallery_pids, *camids = scene(seed, gallery=260)
    gallery_pids = np.maximum(gallery_pids, 0)

    scores = evaluate(distances, query_pids, gallery_pids, *camids)

    cmc, mean_ap = torchreid.metrics.evaluate_rank(
        distances, query_pids, gallery_pids, *camids, use_metric_cuhk03=False
    )
    assert scores.mAP == pytest.approx(mean_ap, abs=1e-6)
    np.testing.assert_allclose(scores.cmc, cmc, atol=1e-6)


def test_a_ranking_worked_by_hand():
    distances = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]])
    gallery_pids = [5, -1, 0, 5, 2, 5, 2]
    gallery_camids = [1, 2, 2, 2, 2, 3, 1]

    scores = evaluate(distances, [5], gallery_pids, [1], gallery_camids)

    assert scores.mAP == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert scores.mINP == pytest.approx(2 / 4)
    assert scores.cmc[:3].tolist() == [0, 1, 1]
    assert scores.cmc.shape == (50,)


def test_scores_do_not_change_with_the_offset_of_the_distances():
    distances, *identities = scene(0)

    assert_same(evaluate(distances - 32.0, *identities), evaluate(distances, *identities))


def test_scores_do_not_change_with_the_unit_of_the_distances():
    distances, *identities = scene(1)

    assert_same(evaluate(distances * 0.125, *identities), evaluate(distances, *identities))


def tied(seed: int) -> tuple:
    """A scene of random size, with junk, distractors, lonely queries, and ties or none."""
    rng = np.random.default_rng([seed, 1])
    queries, gallery, people = (int(rng.integers(low, high)) for low, high in SIZES)
    distances, *identities = scene(seed, queries, gallery, people)
    return np.round(distances / rng.choice([1 / 64, 1, 16])), *identities


SIZES = (5, 40), (20, 200), (3, 60)
CASES = range(30)


@pytest.mark.parametrize("seed", CASES)
def test_scores_do_not_change_with_any_scale_and_offset(seed):
    distances, *identities = tied(seed)
    rng = np.random.default_rng([seed, 2])
    scale, offset = 2.0 ** rng.integers(-8, 8), float(rng.integers(-1000, 1000))

    assert_same(evaluate(scale * distances + offset, *identities), evaluate(distances, *identities))


@pytest.mark.parametrize("seed", CASES)
def test_scores_do_not_change_with_the_order_of_gallery_and_queries(seed):
    distances, query_pids, gallery_pids, query_camids, gallery_camids = tied(seed)
    rng = np.random.default_rng([seed, 3])
    q, g = rng.permutation(len(query_pids)), rng.permutation(len(gallery_pids))

    scores = evaluate(distances, query_pids, gallery_pids, query_camids, gallery_camids)
    shuffled = evaluate(
        distances[q][:, g], query_pids[q], gallery_pids[g], query_camids[q], gallery_camids[g]
    )

    np.testing.assert_array_equal(shuffled.ap, scores.ap[q])
    np.testing.assert_array_equal(shuffled.cmc, scores.cmc)
    assert shuffled.mAP == pytest.approx(scores.mAP, abs=1e-12)
    assert shuffled.mINP == pytest.approx(scores.mINP, abs=1e-12)


@pytest.mark.parametrize("seed", CASES)
def test_scores_do_not_change_with_junk_or_with_the_query_s_own_camera(seed):
    distances, query_pids, gallery_pids, query_camids, gallery_camids = tied(seed)
    nearer = distances.copy()
    own = gallery_pids == query_pids[:, None]
    ignored = own & (gallery_camids == query_camids[:, None]) | (gallery_pids == -1)
    nearer[ignored] = np.random.default_rng([seed, 4]).permutation(ignored.sum()) - 99.5
    identities = query_pids, gallery_pids, query_camids, gallery_camids

    assert_same(evaluate(nearer, *identities), evaluate(distances, *identities))


@pytest.mark.parametrize("seed", CASES)
def test_a_distractor_that_comes_nearer_never_helps(seed):
    distances, query_pids, gallery_pids, *camids = tied(seed)
    nearer = distances - 100.0 * (gallery_pids == 0)

    before = evaluate(distances, query_pids, gallery_pids, *camids).ap
    after = evaluate(nearer, query_pids, gallery_pids, *camids).ap
    counted = np.isfinite(before)
    assert (after[counted] <= before[counted]).all()


def test_equal_distances_give_the_worst_value_of_all_orders():
    pids, camids = np.array([1, 2, 1, 0, 1, -1]), np.array([2, 1, 2, 1, 1, 1])

    scores = evaluate(np.zeros((1, 6)), [1], pids, [1], camids)

    orders = [
        evaluate(np.array([order], float), [1], pids, [1], camids)
        for order in permutations(range(6))
    ]
    assert scores.mAP == min(order.mAP for order in orders)
    assert scores.mINP == min(order.mINP for order in orders)
    assert scores.cmc.tolist() == np.min([order.cmc for order in orders], axis=0).tolist()
    assert scores.mAP < max(order.mAP for order in orders)


def test_a_tie_of_some_gives_the_worst_order_of_these():
    pids, camids = [1, 2, 1, 2], [2, 2, 2, 2]

    scores = evaluate(np.array([[0.0, 1.0, 1.0, 2.0]]), [1], pids, [1], camids)

    assert scores.mAP == pytest.approx((1 + 2 / 3) / 2)


def test_a_query_without_a_match_is_nan_and_not_counted():
    distances = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.1, 0.2, 0.3]])
    gallery_pids, gallery_camids = [1, 2, 3], [2, 2, 1]

    scores = evaluate(distances, [2, 4, 3], gallery_pids, [1, 1, 1], gallery_camids)

    assert np.isnan(scores.ap).tolist() == [False, True, True]
    assert scores.mAP == scores.ap[0] == pytest.approx(1 / 2)
    assert scores.mINP == pytest.approx(1 / 2)
    assert scores.cmc[:2].tolist() == [0, 1]


def test_a_distance_that_is_no_number_is_refused():
    distances, *identities = scene(0)
    distances[3, 5] = np.nan

    with pytest.raises(UserError, match="NaN"):
        evaluate(distances, *identities)


@pytest.mark.parametrize("changed", range(5))
def test_a_shape_that_does_not_fit_is_refused(changed):
    given = list(scene(0))
    given[changed] = given[changed][:-1]

    with pytest.raises(UserError):
        evaluate(*given)


def test_a_ranking_in_which_nothing_counts_is_refused():
    with pytest.raises(UserError, match="no query has a match"):
        evaluate(np.ones((1, 2)), [1], [1, 2], [1], [1, 2])
