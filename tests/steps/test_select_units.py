import json

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files, store
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.selectors import culnig
from culture_neurons.steps import ablate, select_units
from culture_neurons.types import Attributions

pytestmark = pytest.mark.workflow

WIDTHS = {"gate_proj": 48, "q_proj": 32, "k_proj": 16, "v_proj": 16}
OPTIONS = {
    "general": {"mlp_fraction": 0.1, "attention_fraction": 0.1},
    "specific": {"fraction": 0.1, "mention_fraction": 0.05},
}


@pytest.fixture
def attributions(tmp_path):
    """Attributions of questions, of their control and of mentions, in files."""
    rng, result = np.random.default_rng(0), {}
    for name in ("questions", "control", "mention"):
        sums = {site: rng.normal(size=(3, 2, width)) for site, width in WIDTHS.items()}
        result[name] = Attributions(["Å", "b", "c"], [4, 5, 6], sums)
        made_by = {"model": "m", "revision": "r", "dtype": "float32", "control": name == "control"}
        store.write_attributions(tmp_path / f"{name}.h5", result[name], made_by)
    return result


def masked(step, folder, kind, *more, options=None, control="control", fractions=("0.01",)):
    outs = [folder / f"{kind}.parquet", *(folder / f"{kind}{fraction}.parquet" for fraction in fractions[1:])]
    given = json.dumps(OPTIONS[kind] if options is None else options)
    words = [
        "--attributions",
        folder / "questions.h5",
        "--control",
        folder / f"{control}.h5",
        "--options",
        given,
        *more,
    ]
    step.run(select_units, "--selector", f"culnig-{kind}", *words, "--top-fraction", *fractions, "--out", *outs)
    return files.read_table(outs[0])


def test_specific_masks_are_those_of_the_rule_and_can_be_ablated(attributions, tmp_path, step):
    table, metadata = masked(step, tmp_path, "specific", "--mention", tmp_path / "mention.h5")
    gain = culnig.gains(attributions["questions"], attributions["control"])
    expected = culnig.specific(gain, ["Å", "b", "c"], attributions["mention"], **OPTIONS["specific"])
    pd.testing.assert_frame_equal(table.astype(str), expected[table.columns].astype(str))
    assert metadata["selector"] == "culnig-specific"
    masks, _ = ablate.read_masks(tmp_path / "specific.parquet", 2.0)
    assert [mask.culture for mask in masks] == ["Å", "b", "c"]
    assert [len(mask) for mask in masks] == [(table["culture"] == mask.culture).sum() for mask in masks]
    assert set(np.concatenate([mask.site for mask in masks])) > {"gate_proj"}


def test_general_masks_are_one_set_for_all_cultures(attributions, tmp_path, step):
    table, _ = masked(step, tmp_path, "general")
    one = culnig.general(culnig.gains(attributions["questions"], attributions["control"]), None, **OPTIONS["general"])
    assert len(one) > 5
    for culture in ("Å", "b", "c"):
        mine = table.loc[table["culture"] == culture, list(one.columns)].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine.astype(str), one.astype(str))


def test_fractions_that_are_not_given_follow_the_top_fraction(attributions, tmp_path, step):
    _, metadata = masked(step, tmp_path, "specific", options={"z": 0.1}, fractions=("0.1", "0.5"))
    assert metadata["options"] == pytest.approx({"fraction": 0.03, "mention_fraction": 0.01, "z": 0.1})
    wider, metadata = files.read_table(tmp_path / "specific0.5.parquet")
    assert metadata["options"]["fraction"] == pytest.approx(0.15)
    gain = culnig.gains(attributions["questions"], attributions["control"])
    assert len(wider) == len(culnig.specific(gain, ["Å", "b", "c"], None, fraction=0.15, z=0.1))


def test_a_unit_outside_its_site_is_refused(attributions, tmp_path, step):
    table, metadata = masked(step, tmp_path, "general")
    wrong = table.assign(neuron=np.where(table["site"] == "gate_proj", table["neuron"], 40))
    files.write_table(tmp_path / "wrong.parquet", wrong, metadata)
    with pytest.raises(FileError, match=r"is no neuron: .*'q_proj'|is no neuron: .*'k_proj'|is no neuron: .*'v_proj'"):
        ablate.read_masks(tmp_path / "wrong.parquet", 0.0)


def test_masks_say_how_many_units_each_layer_has(attributions, tmp_path, step):
    """Layer 1 has no k_proj and half of its v_proj, no layer a q_proj."""
    for name, one in attributions.items():
        sums = one.sums | {"q_proj": np.zeros((3, 2, 0))}
        sums["k_proj"][:, 1] = sums["v_proj"][:, 1, 8:] = np.nan
        made_by = {"model": "m", "revision": "r", "dtype": "float32", "control": name == "control"}
        store.write_attributions(tmp_path / f"{name}.h5", Attributions(one.cultures, one.samples, sums), made_by)
    table, metadata = masked(step, tmp_path, "specific", options={"fraction": 0.5, "z": 0.1})
    assert metadata["neurons"] == {"gate_proj": 48, "k_proj": [16, 0], "v_proj": [16, 8]}
    assert set(zip(table["site"], table["layer"], strict=True)) == {
        ("gate_proj", 0), ("gate_proj", 1), ("k_proj", 0), ("v_proj", 0), ("v_proj", 1),
    }  # fmt: skip
    masks, _ = ablate.read_masks(tmp_path / "specific.parquet")
    assert sum(map(len, masks)) == len(table)
    at = int(np.flatnonzero((table["site"] == "v_proj") & (table["layer"] == 1))[0])
    for column, value in (("neuron", 8), ("site", "k_proj"), ("site", "q_proj"), ("layer", 2)):
        wrong = table.copy()
        wrong.loc[at, column] = value
        files.write_table(tmp_path / "wrong.parquet", wrong, metadata)
        with pytest.raises(FileError, match=rf"wrong\.parquet: row {at + 1} is no neuron"):
            ablate.read_masks(tmp_path / "wrong.parquet")
    files.write_table(tmp_path / "wrong.parquet", table, metadata | {"neurons": {"v_proj": [16, 8, 4]}})
    with pytest.raises(FileError, match=r"wrong\.parquet: units per layer \[16, 8, 4\]; expected .* or 2 of them"):
        ablate.read_masks(tmp_path / "wrong.parquet")


def test_what_does_not_fit(attributions, tmp_path, step):
    with pytest.raises(ConfigError, match=r"questions\.h5: not attributions of the control"):
        masked(step, tmp_path, "general", control="questions")
    with pytest.raises(ConfigError, match="unknown option 'zz'"):
        masked(step, tmp_path, "specific", options={"zz": 1})
    with pytest.raises(ConfigError, match="--selector culnig-general needs --attributions and --control"):
        step.run(select_units, "--selector", "culnig-general", "--top-fraction", "0.01", "--out", tmp_path / "x")
    assert not (tmp_path / "general.parquet").exists()
