import numpy as np
import pandas as pd
import pytest

from culture_neurons.errors import ConfigError, DataError
from culture_neurons.seeds import generator
from culture_neurons.selectors import module_choice

UNITS = {"gate_proj": 20, "q_proj": 8, "k_proj": 4}


def some_mask(seed: int = 0, rows: int = 120, layers: int = 6) -> pd.DataFrame:
    """Neurons of several cultures, many of them twice."""
    rng = np.random.default_rng(seed)
    site = rng.choice(list(UNITS), rows)
    return pd.DataFrame({
        "culture": rng.choice(["a", "b"], rows), "site": site, "layer": rng.integers(layers, size=rows),
        "neuron": [int(rng.integers(UNITS[s])) for s in site],
    })  # fmt: skip


def naive_richness(mask, layers):
    rows = []
    for site, units in UNITS.items():
        for layer in range(layers):
            named = {r.neuron for r in mask.itertuples() if (r.site, r.layer) == (site, layer)}
            rows.append((site, layer, len(named), units, len(named) / units))
    return rows


@pytest.mark.parametrize("seed", range(3))
def test_richness_equals_a_loop_over_modules(seed):
    mask = some_mask(seed)
    found = module_choice.richness(mask, 6, UNITS)
    assert list(found.itertuples(index=False, name=None)) == naive_richness(mask, 6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("modules", [1, 4, 9])
def test_richest_and_poorest_equal_a_loop(seed, modules):
    mask = some_mask(seed, rows=30)
    table = module_choice.choose(module_choice.richness(mask, 6, UNITS), modules, ["richest", "poorest"], [1])
    for choice in ("richest", "poorest"):
        expected, left = [], modules
        for i, site in enumerate(UNITS):
            n = modules // 3 + (i < modules % 3)
            left -= n
            drawn = generator("finetuning", "ties", site).permutation(6).tolist()
            order = sorted(
                (-rich, drawn[layer], layer) for s, layer, _, _, rich in naive_richness(mask, 6) if s == site
            )
            part = order[:n] if choice == "richest" else order[6 - n :]
            expected += [(site, layer) for *_, layer in sorted(part, key=lambda key: key[2])]
        assert left == 0
        rows = table[table["choice"] == choice]
        assert list(zip(rows["site"], rows["layer"], strict=True)) == expected


def test_choices_have_the_same_shapes_and_do_not_meet():
    table = module_choice.choose(
        module_choice.richness(some_mask(rows=8), 6, UNITS), 7, ["richest", "poorest", "random"], [1, 2]
    )
    shapes = table.groupby(["choice", "seed"])["site"].value_counts().unstack()
    assert (shapes == shapes.iloc[0]).all().all()
    assert shapes.iloc[0].sum() == 7
    pairs = {c: set(zip(t["site"], t["layer"], strict=True)) for c, t in table.groupby("choice")}
    assert not pairs["richest"] & pairs["poorest"]


def test_modules_of_one_site_and_another_width_are_chosen_among_themselves():
    """Four layers have 8 units at q_proj, two have 4, two none."""
    widths = [8, 8, 4, 8, 0, 8, 4, 0]
    rows = [("q_proj", layer, i) for layer, width in enumerate(widths) for i in range(min(width, layer + 1))]
    mask = pd.DataFrame(rows, columns=["site", "layer", "neuron"])
    rich = module_choice.richness(mask, 8, {"q_proj": widths})
    assert rich["layer"].tolist() == [0, 1, 2, 3, 5, 6]
    assert rich["richness"].tolist() == [1 / 8, 2 / 8, 3 / 4, 4 / 8, 6 / 8, 1]
    table = module_choice.choose(rich, 3, ["richest", "poorest", "random"], [1])
    for choice, expected in (("richest", [3, 5, 6]), ("poorest", [0, 1, 2])):
        assert sorted(table.loc[table["choice"] == choice, "layer"]) == expected
    assert sorted(table.loc[table["choice"] == "random", "units"]) == [4, 8, 8]
    with pytest.raises(ConfigError, match="the richest and the poorest of 2 layers meet; expected at most 2"):
        module_choice.choose(rich, 4, ["richest"], [1])


def test_ties_do_not_choose_by_depth():
    rich = module_choice.richness(pd.DataFrame({"site": "q_proj", "layer": range(40), "neuron": 0}), 40, UNITS)
    table = module_choice.choose(rich, 20, ["richest", "poorest"], [1])
    layers = table.groupby("choice")["layer"].apply(set)
    assert layers["richest"] | layers["poorest"] == set(range(40))
    for chosen in layers:
        assert min(chosen) < 10
        assert max(chosen) >= 30
    assert set(table["site"]) == {"q_proj"}  # no module of the other sites is richer than another


def test_only_the_random_choice_hangs_on_the_seed():
    rich = module_choice.richness(some_mask(), 30, UNITS)
    table = module_choice.choose(rich, 9, ["richest", "random"], [1, 2])
    of = {key: part["layer"].tolist() for key, part in table.groupby(["choice", "seed"])}
    assert of["richest", 1] == of["richest", 2]
    assert of["random", 1] != of["random", 2]
    again = module_choice.choose(rich, 9, ["random"], [2])
    assert again["layer"].tolist() == of["random", 2]


def test_what_can_not_be_chosen_is_refused():
    rich = module_choice.richness(some_mask(), 6, UNITS)
    with pytest.raises(ConfigError, match=r"modules: 10 of 3 sites are up to 4 of one site.*at most 9"):
        module_choice.choose(rich, 10, ["richest"], [1])
    with pytest.raises(DataError, match="no neuron at any projection"):
        module_choice.choose(module_choice.richness(some_mask().assign(site="act_fn"), 6, UNITS), 1, ["richest"], [1])


def test_held_out_questions_hang_on_their_ids_alone():
    ids = [f"q{i:03}" for i in range(50)]
    train, judge = module_choice.split_held_out(ids, 0.2)
    assert len(judge) == 10
    assert sorted(train + judge) == list(range(50))
    back = module_choice.split_held_out(ids[::-1], 0.2)
    assert {ids[::-1][i] for i in back[1]} == {ids[i] for i in judge}
    few = module_choice.split_held_out(ids, 0.2, limit=10)
    assert (len(few[0]), len(few[1])) == (8, 2)
    assert module_choice.split_held_out(["a", "b"], 0.01) != ([0, 1], [])
    assert [len(part) for part in module_choice.split_held_out(["a", "b", "c"], 0.99)] == [1, 2]
    with pytest.raises(DataError, match="1 questions"):
        module_choice.split_held_out(["a"], 0.5)


def test_selector_must_be_by_attribution():
    some = {"tasks": {"mrpc": {}}}
    module_choice.check(some, {"culnig-general": "culnig-general"})
    module_choice.check({**some, "selector": "mine"}, {"mine": "culnig-specific", "cas": "cas"})
    module_choice.check({"selector": "nothing"}, {"cas": "cas"})  # nothing is trained
    with pytest.raises(ConfigError, match=r"'min' \(did you mean 'mine'\?\).*\(mine\)"):
        module_choice.check({**some, "selector": "min"}, {"mine": "culnig-general", "min": "cas"})
    with pytest.raises(ConfigError, match=r"'culnig-general'; .*this config has none"):
        module_choice.check(some, {"cas": "cas"})
