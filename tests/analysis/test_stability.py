from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr

from culture_neurons import selectors, store
from culture_neurons.analysis import stability
from culture_neurons.selectors import selection
from culture_neurons.types import Statistics

SHAPE = (2, 40)  # layers, neurons
FRACTIONS = ("0.05", "0.2")
METHODS = ("lap", "lape", "lape-original", "mad", "cas", "effect-size")


def world(folder: Path, seed: int = 0, per_culture: int = 9, effect: float = 1.0, copies: int = 1):
    """A statistics file and its arrays: samples come in any order of cultures, neurons tie, some are dead."""
    rng = np.random.default_rng(seed)
    names = ["Ünï/..", "日本", "a"]
    n = per_culture * len(names)
    cultures = [names[i] for i in rng.permutation(np.arange(n) % len(names))]
    tokens = rng.integers(30, 90, n)
    usual, own = rng.beta(1, 3, SHAPE), rng.beta(1, 3, (len(names), *SHAPE))
    share = np.array([(1 - effect) * usual + effect * own[names.index(c)] for c in cultures])
    fired = rng.binomial(tokens[:, None, None], share)
    fired[:, :, :4] = 0
    fired[:, :, 4] = fired[:, :, 5]
    # Multiples of 1/4: exact in any type and order.
    positive_sum = np.round(fired * rng.exponential(1.0, fired.shape) * 4) / 4
    positive_sum[:, :, 4] = positive_sum[:, :, 5]
    negative_sum = -np.round(rng.exponential(5.0, fired.shape) * 4) / 4
    fired, positive_sum, negative_sum, tokens = (
        np.repeat(a, copies, axis=0) for a in (fired, positive_sum, negative_sum, tokens)
    )
    cultures = [c for c in cultures for _ in range(copies)]
    ids = [f"s{i:03d}" for i in range(n * copies)]
    path = folder / "statistics.h5"
    with store.statistics_writer(path, ids, cultures, "act_fn", *SHAPE, {"model": "m"}, negative_sum=True) as writer:
        writer.write(ids, tokens, fired, positive_sum.astype(np.float32), negative_sum.astype(np.float32))
    images = {i: f"picture {k // 2}" if k % 3 else "" for k, i in enumerate(ids)}
    return path, ids, np.array(cultures, dtype=object), tokens, fired, (positive_sum, negative_sum), images


def masks(path: Path, methods=METHODS) -> tuple[Statistics, list[stability.SelectedMasks]]:
    """The selectors of a run and their masks."""
    statistics, _ = store.read_statistics(path)
    chosen = []
    for method in methods:
        scores = selectors.score(method, statistics)
        flat, values = [], []
        for fraction in FRACTIONS:
            table = selection.select(scores, statistics.cultures, fraction, selector=method)
            rows = [table[table["culture"] == culture] for culture in statistics.cultures]
            flat.append([np.ravel_multi_index((part["layer"], part["neuron"]), SHAPE) for part in rows])
            values.append([part["score"].to_numpy() for part in rows])
        chosen.append(stability.SelectedMasks(method, method, {}, FRACTIONS, flat, values))
    return statistics, chosen


def measured(path, images, resamples=12, halves=3, methods=METHODS, seed=5, threads=1, block=0):
    statistics, chosen = masks(path, methods)
    with store.sample_sums(path) as sums:
        table, neurons = stability.measure(
            sums, images, chosen, statistics.probability, resamples, halves, seed, threads, block
        )
    return table, pd.concat(list(neurons), ignore_index=True)


def weights(data, kind, n, seed=5):
    """Weights of all samples, float64 [draw, sample], in the order of the file."""
    _, ids, cultures, *_, images = data
    names = sorted(set(cultures))
    mine = [[i for i, c in enumerate(cultures) if c == name] for name in names]
    drawn = kind(names, [stability.number_units([ids[i] for i in rows], images) for rows in mine], n, seed)
    result = np.zeros((len(drawn[0]), len(ids)))
    for rows, part in zip(mine, drawn, strict=True):
        result[:, rows] = part
    return result


def naive(data, weight):
    """The statistics of one draw, sample by sample, in float64."""
    _, _, cultures, tokens, fired, (positive, negative), _ = data
    names = sorted(set(cultures))
    t, n = np.zeros(len(names)), np.zeros(len(names))
    k, s, m, q = np.zeros((4, len(names), *SHAPE))
    for i, w in enumerate(weight):
        c = names.index(cultures[i])
        x = (positive[i] + negative[i]) / tokens[i]
        for total, value in ((t, tokens[i]), (n, 1), (k, fired[i]), (s, positive[i]), (m, x), (q, x**2)):
            total[c] += w * value
    return Statistics(names, t, k, s, samples=n, mean_sum=m, square_sum=q)


def chosen_sets(method, statistics, fraction):
    """{culture: set of (layer, neuron)} of the ordinary way, and its scores."""
    scores = selectors.score(method, statistics)
    table = selection.select(scores, statistics.cultures, fraction, selector=method)
    pairs = table[["culture", "layer", "neuron"]].itertuples(index=False, name=None)
    found = {culture: set() for culture in statistics.cultures}
    for culture, *neuron in pairs:
        found[culture].add(tuple(map(int, neuron)))
    return found, scores


@pytest.mark.parametrize("method", METHODS)
def test_bootstrap_is_that_of_a_naive_loop_in_float64(tmp_path, method):
    data = world(tmp_path)
    statistics, _ = store.read_statistics(data[0])
    table, neurons = measured(data[0], data[-1], methods=[method])
    draws = [naive(data, w) for w in weights(data, stability.bootstrap_weights, 12)]
    assert all(draw.fired.dtype == np.int64 for draw in draws)
    for fraction in FRACTIONS:
        mask, observed = chosen_sets(method, statistics, fraction)
        again = [chosen_sets(method, draw, fraction) for draw in draws]
        mine = neurons[neurons["top_fraction"] == float(fraction)]
        assert len(mine) == sum(map(len, mask.values()))
        for row in mine.itertuples():
            c, place = statistics.cultures.index(row.culture), (row.layer, row.neuron)
            assert place in mask[row.culture]
            assert row.score == np.float32(observed[c][place])
            assert row.selected_again == pytest.approx(np.mean([place in s[row.culture] for s, _ in again]))
            scores = np.array([values[c][place] for _, values in again])
            scores = scores[np.isfinite(scores)]
            expected = scores.std(ddof=1) if len(scores) > 1 else np.nan
            assert row.score_sd == pytest.approx(expected, rel=1e-3, abs=1e-6, nan_ok=True)
            p = np.array([draw.probability[c][place] for draw in draws])
            assert row.probability == pytest.approx(statistics.probability[c][place])
            assert row.probability_high == pytest.approx(min(1, row.probability + 1.96 * p.std(ddof=1)), abs=1e-5)
            assert row.probability_low == pytest.approx(max(0, row.probability - 1.96 * p.std(ddof=1)), abs=1e-5)
        for row in table[table["top_fraction"] == fraction].itertuples():
            both = [(mask[row.culture], s[row.culture]) for s, _ in again]
            pairs = [len(a & b) / len(a | b) for a, b in both if a | b]
            assert row.n_neurons == len(mask[row.culture])
            assert row.jaccard_bootstrap == pytest.approx(np.mean(pairs) if pairs else np.nan, nan_ok=True)
            shares = mine.loc[mine["culture"] == row.culture, "selected_again"]
            assert row.selected_again == pytest.approx(shares.mean(), nan_ok=True)


@pytest.mark.parametrize("method", METHODS)
def test_halves_are_those_of_a_naive_loop_in_float64(tmp_path, method):
    data = world(tmp_path)
    table, _ = measured(data[0], data[-1], methods=[method])
    drawn = weights(data, stability.half_weights, 3)
    np.testing.assert_array_equal(drawn[::2] + drawn[1::2], 1.0)
    halves = [naive(data, w) for w in drawn]
    for fraction in FRACTIONS:
        found = [chosen_sets(method, half, fraction) for half in halves]
        for c, row in enumerate(table[table["top_fraction"] == fraction].itertuples()):
            values, chance, rank = [], [], []
            for (one, a), (other, b) in zip(found[::2], found[1::2], strict=True):
                x, y = one[row.culture], other[row.culture]
                values.append(len(x & y) / len(x | y) if x | y else np.nan)
                shared = len(x) * len(y) / 80
                chance.append(shared / (len(x) + len(y) - shared) if x | y else np.nan)
                flat = [scores[c].ravel().astype(np.float32) for scores in (a, b)]
                rank.append(spearmanr(*map(rankdata, flat)).statistic)
            values = np.array(values)[np.isfinite(values)]
            assert row.jaccard_halves == pytest.approx(values.mean() if len(values) else np.nan, nan_ok=True)
            if len(values):
                assert row.jaccard_halves_low == pytest.approx(np.quantile(values, 0.025))
                assert row.jaccard_halves_high == pytest.approx(np.quantile(values, 0.975))
                assert row.jaccard_chance == pytest.approx(np.nanmean(chance))
            assert row.rank_correlation == pytest.approx(np.mean(rank), abs=1e-4)


def test_neither_blocks_nor_threads_change_a_bit(tmp_path, monkeypatch):
    path, *_, images = world(tmp_path)
    table, neurons = measured(path, images, resamples=37)
    for threads, block in ((1, 8), (3, 16), (2, 24)):
        other, others = measured(path, images, resamples=37, threads=threads, block=block)
        pd.testing.assert_frame_equal(other, table, check_exact=True)
        pd.testing.assert_frame_equal(others, neurons, check_exact=True)
    # Nor do the parts in which the scratch file is read; with them sums of floats may differ in the last bit.
    monkeypatch.setattr(store.scratch, "_WIDTH", 7)
    pd.testing.assert_frame_equal(measured(path, images, resamples=37)[0], table)


def test_draws_are_of_images_and_seeded_by_number_and_culture():
    unit = [np.array([0, 1, 1, 2]), np.array([0, 1, 2, 3, 4])]
    a, b = stability.bootstrap_weights(["x", "y"], unit, 200, 1)
    assert (a[:, 1] == a[:, 2]).all()
    np.testing.assert_array_equal(a[:, [0, 1, 3]].sum(axis=1), 3)
    np.testing.assert_array_equal(b.sum(axis=1), 5)
    np.testing.assert_allclose(b.mean(axis=0), 1, atol=0.3)
    again = stability.bootstrap_weights(["y"], unit[1:], 50, 1)[0]
    np.testing.assert_array_equal(again, b[:50])
    assert (stability.bootstrap_weights(["y"], unit[1:], 50, 2)[0] != again).any()
    a, b = stability.half_weights(["x", "y"], unit, 200, 1)
    assert (a[:, 1] == a[:, 2]).all()
    np.testing.assert_array_equal(b[::2].sum(axis=1), 2)
    np.testing.assert_allclose(b[::2].mean(axis=0), 0.4, atol=0.1)
    assert stability.number_units(["p", "q", "r", "s"], {"p": "image 1", "r": "image 1", "q": ""}).tolist() == [
        0,
        1,
        0,
        2,
    ]


def test_samples_that_are_all_alike_choose_the_same_again(tmp_path):
    # Each sample stands there many times, as if it had been asked again: draws and halves hardly differ.
    path, *_ = world(tmp_path, per_culture=1, copies=40)
    table, neurons = measured(path, {})
    known = table[table["n_neurons"] > 0]
    assert len(known)
    assert (known[["selected_again", "jaccard_bootstrap", "jaccard_halves"]] == 1.0).all(axis=None)
    assert (neurons["score_sd"] < 1e-4 * neurons["score"]).all()
    assert known["rank_correlation"].min() > 0.999


ESTIMATES = ["selected_again", "jaccard_bootstrap", "jaccard_halves", "jaccard_halves_low", "jaccard_halves_high",
             "jaccard_chance", "rank_correlation"]  # fmt: skip
OF_NEURONS = ["selected_again", "score_sd", "probability_low", "probability_high"]


@pytest.mark.parametrize("images", [1, 2, 9])
def test_one_image_says_nothing_of_other_draws(tmp_path, images):
    """Questions of culture "a" about 1, 2 or 9 images: several questions about one image are one unit."""
    data = world(tmp_path)
    mine = [i for i, culture in zip(data[1], data[2], strict=True) if culture == "a"]
    unit = {**data[-1], **{i: f"of a {k % images}" for k, i in enumerate(mine)}}
    table, neurons = measured(data[0], unit, methods=["lap", "cas"], resamples=40, halves=8)
    own, others = table[table["culture"] == "a"], table[table["culture"] != "a"]
    assert (own["n_images"] == images).all()
    assert (own["n_neurons"] > 0).any()
    own, of_own = own.loc[own["n_neurons"] > 0, ESTIMATES], neurons.loc[neurons["culture"] == "a", OF_NEURONS]
    if images == 1:
        assert own.isna().all(axis=None)
        assert of_own.isna().all(axis=None)
    else:
        assert own.notna().all(axis=None)
        assert of_own[["selected_again", "score_sd"]].notna().all(axis=None)
        # Two questions drawn twice are often the same one twice: there are three different draws.
        assert own["selected_again"].between(0.2, 1).all()
    # What is known of the others is theirs, whatever "a" has.
    assert others.loc[others["n_neurons"] > 0, ESTIMATES].notna().all(axis=None)
    assert neurons.loc[neurons["culture"] != "a", "selected_again"].notna().all()


def test_a_culture_that_cannot_be_split_is_in_both_halves_of_the_others(tmp_path):
    """CAS takes the margin over the other cultures: one that is missing from a half would change it for all."""
    first, second = stability.half_weights(["x", "y"], [np.array([0, 0, 0]), np.array([0, 1])], 4, 1)
    np.testing.assert_array_equal(first, 1)
    np.testing.assert_array_equal(second.sum(axis=1), 1)
    # With every culture of one unit, both halves are the run.
    path, ids, cultures, *_ = world(tmp_path)
    table, _ = measured(path, dict(zip(ids, cultures, strict=True)), methods=["cas"])
    assert table[ESTIMATES].isna().all(axis=None)


def test_one_split_has_no_middle_and_no_draw_no_spread(tmp_path):
    path, *_, images = world(tmp_path)
    table, neurons = measured(path, images, resamples=1, halves=1, methods=["lap"])
    assert table["jaccard_halves"].notna().all()
    assert table[["jaccard_halves_low", "jaccard_halves_high"]].isna().all(axis=None)
    assert neurons[["score_sd", "probability_low", "probability_high"]].isna().all(axis=None)


def test_what_is_the_same_in_all_draws_has_no_interval(tmp_path):
    # Each sample stands there many times: P does not change, and no interval is the one that covers it.
    path, *_ = world(tmp_path, per_culture=1, copies=4)
    _, neurons = measured(path, {})
    assert len(neurons)
    assert neurons[["probability_low", "probability_high"]].isna().all(axis=None)
    assert neurons["probability"].notna().all()


def test_labels_without_effect_give_halves_near_chance(tmp_path):
    path, *_ = world(tmp_path, per_culture=40, effect=0.0)
    table, _ = measured(path, {}, halves=30, resamples=0, methods=["cas", "mad"])
    true = world(tmp_path / "..", per_culture=40)[0]
    other, _ = measured(true, {}, halves=30, resamples=0, methods=["cas", "mad"])
    for selector in ("cas", "mad"):
        at = [t[(t["selector"] == selector) & (t["top_fraction"] == "0.2")].mean(numeric_only=True)
              for t in (table, other)]  # fmt: skip
        assert abs(at[0]["jaccard_halves"] - at[0]["jaccard_chance"]) < 0.09
        assert at[1]["jaccard_halves"] > at[1]["jaccard_chance"] + 0.4
        assert abs(at[0]["rank_correlation"]) < 0.2 < at[1]["rank_correlation"]


def test_nothing_to_do_is_no_error(tmp_path):
    path, *_, images = world(tmp_path)
    table, neurons = measured(path, images, resamples=0, halves=0)
    assert table[["selected_again", "jaccard_bootstrap", "jaccard_halves", "rank_correlation"]].isna().all(axis=None)
    assert neurons["selected_again"].isna().all()
    with store.sample_sums(path) as sums:
        table, neurons = stability.measure(sums, images, [], np.zeros((3, *SHAPE)), 3, 2, 0)
    assert (list(table.columns), len(table), list(neurons)) == (list(stability.COLUMNS), 0, [])


def test_sums_of_draws_keep_all_digits_of_k(tmp_path):
    data = world(tmp_path)
    drawn = weights(data, stability.bootstrap_weights, 9)
    names = sorted(set(data[2]))
    with store.sample_sums(data[0]) as sums, ThreadPoolExecutor(1) as pool:
        assert sums.cultures == names
        parts = [drawn[:, data[2] == name].astype(np.float32) for name in names]
        found = [s for block in stability.resample(sums, parts, pool, 8) for s in [*block]]
        # A block's arrays are used again, so that only those of the last one are still there.
        last = naive(data, drawn[8])
    assert len(found) == 9
    assert found[8].fired.dtype == found[8].probability.dtype == np.float32
    np.testing.assert_array_equal(found[8].fired, last.fired)
    np.testing.assert_array_equal(found[8].tokens, last.tokens)
    np.testing.assert_array_equal(found[8].positive_sum, last.positive_sum)


def test_ranks_and_jaccard():
    values = np.array([3, -np.inf, 3, 7, -np.inf, 0], np.float32)
    np.testing.assert_array_equal(stability.ranks(values), rankdata(values))
    assert np.isnan(stability.rank_correlation(np.ones(4), np.arange(4)))
    np.testing.assert_allclose(stability.jaccard(np.array([1, 0, 2]), np.array([2, 0, 2]), np.array([2, 3, 2])),
                               [1 / 3, 0, 1])  # fmt: skip
    assert np.isnan(stability.jaccard(np.array([0]), np.array([0]), np.array([0])))[0]
