"""The rules of CULNIG against plain loops."""

import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from culture_neurons.errors import ConfigError, FileError
from culture_neurons.selectors import culnig
from culture_neurons.types import Attributions

WIDTHS = {"gate_proj": 60, "up_proj": 60, "q_proj": 40, "k_proj": 20, "v_proj": 20}
CULTURES = ["a", "b", "c", "d"]
LAYERS = 5


def made(seed, cultures=CULTURES, samples=(30, 20, 25, 25)):
    rng = np.random.default_rng(seed)
    sums = {site: rng.normal(0, 1, (len(cultures), LAYERS, width)) for site, width in WIDTHS.items()}
    return Attributions(cultures, samples, sums)


def units(sites):
    """All units of a pool: (site, layer, neuron), in order."""
    return [(site, layer, i) for site in sites for layer in range(LAYERS) for i in range(WIDTHS[site])]


def best(score, pool, fraction):
    """The floor(fraction * size) of highest positive score."""
    size = math.floor(round(fraction * len(pool), 9))
    ranked = sorted(pool, key=lambda unit: -score[unit])
    return [unit for unit in ranked[:size] if score[unit] > 0]


#: Layers with fewer units than others, or with none.
SHORT = {"q_proj": {1: 0, 3: 25}, "k_proj": {0: 0, 1: 0, 4: 7}, "v_proj": dict.fromkeys(range(LAYERS), 0)}


def shortened(attributions):
    """The same without the units that these layers do not have; no layer has a v_proj."""
    sums = {site: values.copy() for site, values in attributions.sums.items()}
    for site, by_layer in SHORT.items():
        for layer, width in by_layer.items():
            sums[site][:, layer, width:] = np.nan
    sums["v_proj"] = sums["v_proj"][..., :0]
    return Attributions(attributions.cultures, attributions.samples, sums)


def there(pool):
    """Units of a pool that are there."""
    return [(site, layer, i) for site, layer, i in pool if i < SHORT.get(site, {}).get(layer, WIDTHS[site])]


def rows(table):
    return list(table[["site", "layer", "neuron"]].itertuples(index=False, name=None))


def naive_gain(main, control):
    """{culture: {unit: G}}"""
    n, m = sum(main.samples), sum(control.samples)
    return {
        name: {(s, k, i): main.sums[s][c, k, i] / n - control.sums[s][c, k, i] / m for s, k, i in units(WIDTHS)}
        for c, name in enumerate(CULTURES)
    }


@pytest.mark.parametrize("fractions", [{}, {"mlp_fraction": 0.1, "attention_fraction": 0.05, "mention_fraction": 0.2}])
def test_general_neurons_equal_a_loop(fractions):
    main, control, mention = made(0), made(1, samples=(9, 9, 9, 9)), made(2, ["a", "b", "c", "d", "e"], (5,) * 5)
    gain = naive_gain(main, control)
    score = {unit: sum(gain[name][unit] for name in CULTURES) for unit in units(WIDTHS)}
    named = {(s, k, i): mention.sums[s][:, k, i].sum() for s, k, i in units(WIDTHS)}
    expected = []
    f = {"mlp_fraction": 0.01, "attention_fraction": 0.002, "mention_fraction": 0.01, **fractions}
    for sites, fraction in ((culnig.MLP, f["mlp_fraction"]), (culnig.ATTENTION, f["attention_fraction"])):
        pool = units(sites)
        out = set(best(named, pool, f["mention_fraction"]))
        expected += [unit for unit in best(score, pool, fraction) if unit not in out]
    table = culnig.general(culnig.gains(main, control), mention, **fractions)
    assert rows(table) == expected
    assert expected
    np.testing.assert_allclose(table["score"], [score[unit] for unit in expected], rtol=1e-6)


@pytest.mark.parametrize("z", [0.5, 1.2])
def test_specific_neurons_equal_a_loop(z):
    main, control, mention = made(3), made(4, samples=(7, 9, 9, 9)), made(5)
    gain, pool = naive_gain(main, control), units([*culnig.MLP, *culnig.ATTENTION])
    table = culnig.specific(culnig.gains(main, control), CULTURES, mention, fraction=0.1, mention_fraction=0.2, z=z)
    dropped = 0
    for c, name in enumerate(CULTURES):
        named = {(s, k, i): mention.sums[s][c, k, i] for s, k, i in pool}
        out, expected = set(best(named, pool, 0.2)), []
        for unit in best(gain[name], pool, 0.1):
            values = [gain[other][unit] for other in CULTURES]
            far = (gain[name][unit] - np.mean(values)) / np.std(values)
            if unit not in out and far >= z:
                expected.append(unit)
            dropped += far < z
        mine = table[table["culture"] == name]
        assert rows(mine) == expected
        assert list(mine["rank"]) == list(range(1, len(expected) + 1))
        assert expected
    assert dropped


def test_absent_units_are_neither_chosen_nor_counted():
    """The loops above, over the units that are there."""
    mains, controls, mentions = made(0), made(1, samples=(9, 9, 9, 9)), made(2)
    gain = naive_gain(mains, controls)
    short = culnig.gains(shortened(mains), shortened(controls))
    named = {(s, k, i): mentions.sums[s][:, k, i] for s, k, i in units(WIDTHS)}
    summed = {unit: sum(gain[name][unit] for name in CULTURES) for unit in units(WIDTHS)}
    expected = []
    for sites, fraction in ((culnig.MLP, 0.1), (culnig.ATTENTION, 0.3)):
        pool = there(units(sites))
        out = set(best({unit: values.sum() for unit, values in named.items()}, pool, 0.2))
        expected += [unit for unit in best(summed, pool, fraction) if unit not in out]
    table = culnig.general(short, shortened(mentions), mlp_fraction=0.1, attention_fraction=0.3, mention_fraction=0.2)
    assert rows(table) == expected
    # Had absent units been counted, more would have been chosen.
    assert len(there(units(culnig.ATTENTION))) * 2 < len(units(culnig.ATTENTION)) * 1.5
    pool = there(units([*culnig.MLP, *culnig.ATTENTION]))
    table = culnig.specific(short, CULTURES, shortened(mentions), fraction=0.3, mention_fraction=0.2, z=0.5)
    for c, name in enumerate(CULTURES):
        out = set(best({unit: values[c] for unit, values in named.items()}, pool, 0.2))
        values = {unit: [gain[other][unit] for other in CULTURES] for unit in pool}
        expected = [unit for unit in best(gain[name], pool, 0.3) if unit not in out
                    and gain[name][unit] - np.mean(values[unit]) >= 0.5 * np.std(values[unit])]  # fmt: skip
        assert rows(table[table["culture"] == name]) == expected
        assert expected


def test_a_pool_without_units_chooses_nothing():
    def without(attributions):
        sums = {site: v if site in culnig.MLP else v[..., :0] for site, v in attributions.sums.items()}
        return Attributions(attributions.cultures, attributions.samples, sums)

    table = culnig.general(culnig.gains(without(made(0)), without(made(1))), without(made(2)), mlp_fraction=0.1)
    assert set(table["site"]) == {"gate_proj"}
    assert len(table) > 10


def test_random_controls_take_no_absent_unit():
    """Layer 3 has 25 of 40 q_proj: of these, 15 others."""
    widths = {"q_proj": [40, 0, 40, 25, 40], "gate_proj": 60}
    one = pd.DataFrame({"site": "q_proj", "layer": 3, "neuron": range(10)})
    for seed in range(20):
        table = culnig.random_control(one.assign(culture="a"), ["a"], LAYERS, widths, seed)
        assert len(table) == 10
        assert table["neuron"].between(10, 24).all()
    wide = culnig.random_control(one.assign(culture="a", layer=2), ["a"], LAYERS, widths, 1)
    assert wide["neuron"].max() > 24


def test_without_mentions_nothing_is_left_out_for_them():
    gain = culnig.gains(made(0), made(1))
    both = [culnig.general(gain, mention, mlp_fraction=0.3, mention_fraction=0.3) for mention in (None, made(2))]
    assert len(both[0]) > len(both[1])


def test_a_unit_that_is_the_same_for_all_cultures_is_specific_to_none():
    main, control = made(0), made(1)
    for sums in (main.sums, control.sums):
        sums["gate_proj"][:, 0, 0] = 0
    main.sums["gate_proj"][:, 0, 0] = 1000.0
    gain = culnig.gains(main, control)
    assert ("gate_proj", 0, 0) in rows(culnig.general(gain, None))
    assert ("gate_proj", 0, 0) not in rows(culnig.specific(gain, CULTURES, None, fraction=0.1, z=0))


def counts(table):
    return table.groupby(["culture", "site", "layer"]).size().to_dict()


def test_random_controls_have_as_many_other_units_of_each_site_and_layer():
    reference = culnig.specific(culnig.gains(made(3), made(4)), CULTURES, None, fraction=0.1)
    drawn = [culnig.random_control(reference, CULTURES, LAYERS, WIDTHS, seed) for seed in (1, 1, 2)]
    pd.testing.assert_frame_equal(drawn[0], drawn[1])
    chosen = set(reference[["culture", "site", "layer", "neuron"]].itertuples(index=False, name=None))
    for table in drawn:
        assert counts(table) == counts(reference)
        mine = set(table[["culture", "site", "layer", "neuron"]].itertuples(index=False, name=None))
        assert len(mine) == len(table)
        assert not mine & chosen
        assert ((table["score"] > 0) & (table["score"] <= 1)).all()
        for _, part in table.groupby("culture"):
            assert part["rank"].tolist() == list(range(1, len(part) + 1))
            assert part["score"].is_monotonic_decreasing
    assert set(map(tuple, drawn[0].iloc[:, :4].to_numpy())) != set(map(tuple, drawn[2].iloc[:, :4].to_numpy()))


def test_random_controls_of_one_set_are_one_set_and_take_its_units_only_where_there_are_no_others():
    one = pd.DataFrame({"site": "k_proj", "layer": 1, "neuron": range(15)})
    reference = pd.concat([one.assign(culture=name) for name in CULTURES[:3]])
    table = culnig.random_control(reference, CULTURES, LAYERS, WIDTHS, 1)
    sets = {frozenset(part["neuron"]) for _, part in table.groupby("culture")}
    assert len(sets) == 1
    assert len(next(iter(sets))) == 15
    assert set(range(15, 20)) <= next(iter(sets))  # 20 units in a layer: 5 others, and 10 of its own
    assert set(table["culture"]) == set(CULTURES[:3])
    assert culnig.random_control(reference[:0], CULTURES, LAYERS, WIDTHS, 1).empty


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rounding_noise_makes_no_unit_specific(dtype):
    """Sums of the same numbers in another order, in float64 and in float32: equal but for the last digits."""
    numbers = np.random.default_rng(7).lognormal(0, 2, 400).astype(dtype)
    orders = [np.random.default_rng(seed).permutation(numbers) for seed in range(4)]
    same = [float(np.cumsum(order)[-1]) for order in orders]  # one number after the other
    main, control = made(0), made(1)
    main.sums["gate_proj"][:, :, 0], control.sums["gate_proj"][:, :, 0] = np.array(same)[:, None], 0
    main.sums["gate_proj"][:, 0, 1], control.sums["gate_proj"][:, 0, 1] = same[0] * np.array([1, 1, 1, 1.0001]), 0
    assert len(set(same)) > 1
    table = culnig.specific(culnig.gains(main, control), CULTURES, None, fraction=0.1, z=0)
    assert not [row for row in rows(table) if row[0] == "gate_proj" and row[2] == 0]
    # A difference that is one, however small, is none of rounding.
    assert ("gate_proj", 0, 1) in rows(table[table["culture"] == "d"])


def test_so_few_cultures_that_none_can_stand_out_are_refused():
    one, two = (culnig.gains(made(0, CULTURES[:n], (20,) * n), made(1, CULTURES[:n], (9,) * n)) for n in (1, 2))
    with pytest.raises(ConfigError, match=r"culnig-specific compares cultures and needs at least two, found \['a'\]"):
        culnig.specific(one, ["a"], None)
    assert len(culnig.general(one, None))
    # Of two, each lies one standard deviation from the mean.
    found = culnig.specific(two, ["a", "b"], None, fraction=0.1, z=0.99)
    assert set(found["culture"]) == {"a", "b"}
    with pytest.raises(ConfigError, match=r"z is 1.5, but of 2 cultures none can lie more than 1 standard"):
        culnig.specific(two, ["a", "b"], None, z=1.5)


def test_what_does_not_fit_is_refused():
    main = made(0)
    with pytest.raises(FileError, match="different runs"):
        culnig.gains(main, made(1, ["a", "b", "c", "e"]))
    with pytest.raises(FileError, match="0 controls"):
        culnig.gains(main, made(1, samples=(0,) * 4))
    gain = culnig.gains(main, made(1))
    with pytest.raises(FileError, match="no question mentions 'd'"):
        culnig.specific(gain, CULTURES, made(2, ["a", "b", "c", "x"]))
    with pytest.raises(FileError, match=r"no question mentions 'd' \(data: mentions\); it has a, b, c"):
        culnig.specific(gain, CULTURES, made(2, samples=(5, 5, 5, 0)))
    del gain["v_proj"]
    with pytest.raises(ConfigError, match="no attributions of v_proj"):
        culnig.general(gain, None)


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("culnig-general", {"mlp_fraction": 2}, r"mlp_fraction must be a number in \[0, 1\], found 2"),
        ("culnig-general", {"fraction": 0.1}, "unknown option 'fraction'"),
        ("culnig-specific", {"z": "high"}, "z must be a number, found 'high'"),
        ("culnig-specific", {"fraction": True}, "fraction must be"),
    ],
)
def test_options_that_are_none(method, given, message):
    with pytest.raises(ConfigError, match=message):
        culnig.check(method, given)


def test_published_options_at_one_per_cent():
    assert culnig.options("culnig-general", {}, 0.01) == pytest.approx(culnig.GENERAL)
    assert culnig.options("culnig-specific", {"z": 0}, 0.02) == pytest.approx(
        {"fraction": 0.006, "mention_fraction": 0.01, "z": 0}
    )


@pytest.mark.parametrize("top", ["0.001", "0.003", "0.007", "0.01", "0.015", "0.03", "0.05", "0.07", "0.1", "0.3"])
def test_options_follow_the_top_fraction_as_it_is_written(top):
    for method, known in (("culnig-general", culnig.GENERAL), ("culnig-specific", culnig.SPECIFIC)):
        for key, value in culnig.options(method, {}, float(top)).items():
            exact = Decimal(str(known[key])) * (100 * Decimal(top) if key in culnig.FOLLOW else 1)
            assert Decimal(repr(value)) == min(exact, 1)
