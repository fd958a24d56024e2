from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from culture_neurons import files
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.provenance import code_digest
from culture_neurons.steps import tabulate

CULTURES = [f"c{i}" for i in range(6)]
SELECTORS = {
    "cas": "cas",
    "lap": "lap",
    "random": "random",
    "matched-1": "random-matched",
    "matched-2": "random-matched",
}
FRACTIONS = ["0.05", "0.1"]


def answers(rng, n, right):
    """prediction, correct and logprobs for label 1 of 3; a wrong answer is 2."""
    logprobs = rng.normal(-3, 0.1, (n, 3))
    logprobs[np.arange(n), np.where(right, 1, 2)] = -0.1 + rng.normal(0, 0.01, n)
    return np.where(right, 1, 2), right, [row.astype(np.float32) for row in logprobs]


def write_model(folder, model, specific, seed):
    """A model whose cas masks take away their own culture's answers (if `specific`), and nothing else does."""
    rng = np.random.default_rng(seed)
    samples = files.read_table(folder / "samples.parquet")[0]
    identity = {"model": model, "revision": "r1"}
    prediction, correct, logprobs = answers(rng, len(samples), rng.random(len(samples)) < 0.95)
    base = samples[["sample_id", "culture", "split"]].assign(
        prediction=prediction,
        correct=correct,
        well_formed=True,
        logprobs=logprobs,
        option_order=[[0, 1, 2]] * len(samples),
    )
    made_by = {
        **identity,
        "dtype": "float32",
        "step": "infer",
        "code": "c0de",
        "version": "1",
        "packages": {"numpy": "2"},
    }
    made_by |= {"hardware": ["Card"], "history": {"before": {"code": "0ld", "packages": {"numpy": "1"}}}}
    files.write_table(folder / model / "predictions.parquet", base, made_by)
    questions = base[base["split"] == "evaluate"]
    for selector, method in SELECTORS.items():
        for fraction in FRACTIONS:
            name = f"{selector}_top{fraction}.parquet"
            mask = pd.DataFrame(
                [(c, "act_fn", int(rng.integers(4)), i) for c in CULTURES[:-1] for i in range(3)],
                columns=["culture", "site", "layer", "neuron"],
            )
            options = {"match": "cas"} if method == "random-matched" else {}
            mask_metadata = {
                **identity,
                "cultures": CULTURES,
                "layers": 4,
                "neurons": 50,
                "selector": method,
                "options": options,
            }
            files.write_table(folder / model / "masks" / name, mask, mask_metadata)
            parts = []
            for c in CULTURES[:-1]:  # the last one has no neurons, and no rows
                harm = (
                    (questions["culture"] == c) & (rng.random(len(questions)) < 0.5)
                    if specific and selector == "cas"
                    else False
                )
                flip = rng.random(len(questions)) < 0.02
                p, right, lp = answers(rng, len(questions), questions["correct"].to_numpy() & ~np.asarray(harm) ^ flip)
                parts.append(pd.DataFrame({
                    "mask_culture": c, "sample_id": questions["sample_id"], "culture": questions["culture"],
                    "prediction": p, "correct": right, "well_formed": True, "logprobs": lp,
                }))  # fmt: skip
            files.write_table(folder / model / "ablation" / name, pd.concat(parts), {**identity, "mask": mask_metadata})


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    rows = [
        (f"{c}-{half}-{i:02d}", c, half, 1, f"{c}-{i // 2}", None)
        for c in CULTURES for half in ("identify", "evaluate") for i in range(20)
    ]  # fmt: skip
    columns = ["sample_id", "culture", "split", "label", "image_id", "image"]
    files.write_table(folder / "samples.parquet", pd.DataFrame(rows, columns=columns), {})
    write_model(folder, "plain", False, 1)
    write_model(folder, "control", True, 2)
    planted = pd.DataFrame({"culture": ["c0", "c0", "c1"], "site": "act_fn", "layer": [0, 1, 2], "neuron": [0, 1, 2]})
    for model in ("control", "plain"):
        files.write_csv(folder / model / "planted.csv", planted)
    run(folder)
    return folder


def run(folder, *changed, out="tables", models=("plain", "control")):
    options = {
        "--samples": [f"{folder}/samples.parquet"],
        "--predictions": [f"{folder}/{m}/predictions.parquet" for m in models],
        "--masks": every(folder, "masks", models),
        "--outcomes": every(folder, "ablation", models),
        "--planted": [f"{folder}/control/planted.csv"] if "control" in models else [],
        "--random": ["random", "matched-1", "matched-2"],
        "--out-dir": [f"{folder}/{out}"],
        "--replicates": ["500"],
        **dict(changed),
    }
    tabulate.main(
        tabulate.arguments().parse_args([str(a) for option, values in options.items() for a in (option, *values)])
    )


def every(folder, kind, models):
    return [f"{folder}/{m}/{kind}/{s}_top{f}.parquet" for m in models for s in SELECTORS for f in FRACTIONS]


def table(folder, name, out="tables"):
    return files.read_csv(folder / out / f"{name}.csv")


def test_columns_and_order(results):
    for name, leading in tabulate.COLUMNS.items():
        result = table(results, name)
        assert list(result.columns)[: len(leading)] == leading
        keys = [k for k in ("model", "selector", "top_fraction", "mask_culture", "culture") if k in result.columns]
        assert result.equals(result.sort_values(keys, kind="stable", ignore_index=True)), name
    effects = table(results, "effects")
    assert len(effects) == 2 * 5 * 2 * 36
    assert set(effects.loc[effects["model"] == "control", "planted"]) == {"yes"}
    assert set(effects.loc[effects["model"] == "plain", "planted"]) == {"no"}


def test_own_and_other_cultures_are_families_of_their_own(results):
    effects = table(results, "effects")
    own = effects["mask_culture"] == effects["eval_culture"]
    for p in ("mcnemar_p", "logprob_p"):
        for _, family in effects.groupby(["planted", "selector", "top_fraction", own]):
            known = family[family[p].notna()]
            expected = false_discovery_control(known[p]) if len(known) else []
            np.testing.assert_allclose(known[f"{p}_adjusted"], expected, rtol=1e-6)


def test_the_empty_mask_has_rows_without_a_change(results):
    mine = table(results, "effects").query("mask_culture == 'c5'")
    assert len(mine) == 2 * 5 * 2 * 6
    assert (mine[["drop", "logprob_drop", "flip_rate"]] == 0).all(axis=None)
    assert table(results, "layers").query("culture == 'c5'")["count"].sum() == 0


def test_layers_count_the_mask(results):
    layers = table(results, "layers")
    assert len(layers) == 2 * 5 * 2 * 6 * 4
    mask = files.read_table(results / "plain" / "masks" / "cas_top0.1.parquet")[0]
    mine = layers.query("model == 'plain' and selector == 'cas' and top_fraction == 0.1").set_index(
        ["culture", "layer"]
    )
    assert set(mine["site"]) == {"act_fn"}
    assert set(mine["units"]) == {50}
    for (culture, layer), row in mine.iterrows():
        assert row["count"] == ((mask["culture"] == culture) & (mask["layer"] == layer)).sum()


def test_summary_is_the_mean_of_the_effects(results):
    effects, summary = table(results, "effects"), table(results, "summary")
    assert len(summary) == 2 * 5 * 2
    keys = ["model", "selector", "top_fraction"]
    same = effects["mask_culture"] == effects["eval_culture"]
    merged = summary.set_index(keys)
    own = effects[same].groupby(keys)["drop"].mean()
    np.testing.assert_allclose(merged["self_drop"], own.loc[merged.index], atol=1e-9)
    np.testing.assert_allclose(
        merged["cross_drop"], effects[~same].groupby(keys)["drop"].mean().loc[merged.index], atol=1e-9
    )
    for (model, _, fraction), row in merged.iterrows():
        expected = (own[model, "matched-1", fraction] + own[model, "matched-2", fraction]) / 2
        assert row["random_self_drop"] == pytest.approx(expected)
        assert row["self_drop_low"] <= row["self_drop"] <= row["self_drop_high"]


def test_a_culture_without_a_mask_is_in_no_average(results, tmp_path):
    mask, metadata = files.read_table(results / "control" / "masks" / "cas_top0.05.parquet")
    metadata = {**metadata, "cultures": CULTURES[:-1]}
    paths = {kind: tmp_path / f"run/control/{kind}/cas_top0.05.parquet" for kind in ("masks", "ablation")}
    files.write_table(paths["masks"], mask, metadata)
    ablation, outcome_metadata = files.read_table(results / "control" / "ablation" / "cas_top0.05.parquet")
    files.write_table(paths["ablation"], ablation, {**outcome_metadata, "mask": metadata})
    chosen = [("--masks", [paths["masks"]]), ("--outcomes", [paths["ablation"]])]
    run(results, *chosen, ("--random", []), out="fewer", models=("control",))
    row = table(results, "summary", "fewer").iloc[0]
    assert (row["n_cultures"], row["n"]) == (5, 100)
    assert set(table(results, "evidence", "fewer")["n"]) == {100}
    effects = table(results, "effects", "fewer")
    assert set(effects["eval_culture"]) == set(CULTURES)
    other = effects[(effects["mask_culture"] != effects["eval_culture"]) & (effects["eval_culture"] != "c5")]
    assert row["cross_drop"] == pytest.approx(other["drop"].mean())
    proof = table(results, "evidence", "fewer").query("measure == 'accuracy' and comparison == 'self-vs-cross'")
    assert proof["difference"].item() == pytest.approx(row["specificity"])


def test_masks_chosen_on_two_data_sets_may_be_of_different_cultures(results, tmp_path):
    """lap chose on words: of one culture less, and of one that has no questions here."""
    chosen = {kind: [] for kind in ("masks", "ablation")}
    for selector in ("cas", "lap"):
        mask, metadata = files.read_table(results / f"control/masks/{selector}_top0.05.parquet")
        ablation, outcome = files.read_table(results / f"control/ablation/{selector}_top0.05.parquet")
        if selector == "lap":
            metadata |= {"cultures": [*CULTURES[1:], "elsewhere"], "chosen_on": "words"}
            mask, ablation = (rows.replace({column: {"c0": "elsewhere"}})
                              for rows, column in ((mask, "culture"), (ablation, "mask_culture")))  # fmt: skip
        for kind, rows, about in (("masks", mask, metadata), ("ablation", ablation, {**outcome, "mask": metadata})):
            chosen[kind].append(tmp_path / f"run/control/{kind}/{selector}_top0.05.parquet")
            files.write_table(chosen[kind][-1], rows, about)
    files_of = [("--masks", chosen["masks"]), ("--outcomes", chosen["ablation"]), ("--random", [])]
    run(results, *files_of, out="words", models=("control",))
    summary = table(results, "summary", "words").set_index("selector")
    assert summary["n_cultures"].to_dict() == {"cas": 6, "lap": 5}
    effects = table(results, "effects", "words").query("selector == 'lap'")
    assert set(effects["mask_culture"]) == {*CULTURES[1:], "elsewhere"}
    assert set(effects["eval_culture"]) == set(CULTURES)
    assert set(table(results, "evidence", "words").query("selector == 'lap'")["n"]) == {100}
    assert len(table(results, "differences", "words")) == 0  # they are over other cultures

    # Of one data set, all masks are of the same cultures.
    mask, metadata = files.read_table(chosen["masks"][1])
    del metadata["chosen_on"]
    files.write_table(chosen["masks"][1], mask, metadata)
    ablation, outcome = files.read_table(chosen["ablation"][1])
    files.write_table(chosen["ablation"][1], ablation, outcome | {"mask": metadata})
    with pytest.raises(FileError, match=r"lap_top0\.05.*: other cultures than the model's other mask files"):
        run(results, *files_of, out="words", models=("control",))


def test_evidence_tells_the_control_from_the_plain_model(results):
    evidence = table(results, "evidence")
    assert set(evidence["selector"]) == {"cas", "lap"}
    verdicts = evidence.groupby(["model", "selector"])["verdict"].unique().map(list).to_dict()
    assert verdicts["control", "cas"] == ["culture-specific"]
    for key in (("control", "lap"), ("plain", "cas"), ("plain", "lap")):
        assert set(verdicts[key]) <= {"not distinguishable from random masks", "inconclusive"}
    row = evidence.query("model == 'control' and selector == 'cas' and comparison == 'self-vs-cross'")
    summary = table(results, "summary").query("model == 'control' and selector == 'cas'")
    points = row[row["measure"] == "accuracy"]
    np.testing.assert_allclose(points["difference"], summary["specificity"], rtol=1e-8)
    assert (points["ci_low"] < points["difference"]).all()
    assert (points["ci_high"] < -10).all()


def at_chance(folder, path, right):
    """Copies of the control's predictions and outcomes, in which `right` says who of 240 answered correctly."""
    rng = np.random.default_rng(3)
    changed = []
    for kind, source in (("--predictions", "predictions.parquet"), ("--outcomes", "ablation/cas_top0.05.parquet")):
        table, metadata = files.read_table(folder / "control" / source)
        table["correct"] = rng.random(len(table)) < right
        table["prediction"] = np.where(table["correct"], 1, 2)
        files.write_table(path / "control" / source, table, metadata | {"open_reasoning": "<think>"})
        changed.append((kind, [path / "control" / source]))
    return [*changed, ("--masks", [folder / "control/masks/cas_top0.05.parquet"]), ("--random", [])]


@pytest.mark.parametrize(("right", "word"), [(1 / 3, "at chance"), (0.1, "below chance"), (0.8, "above chance")])
def test_a_model_at_chance_is_not_judged(results, tmp_path, caplog, right, word):
    run(results, *at_chance(results, tmp_path, right), out=f"level-{word}", models=("control",))
    baseline, evidence = (table(results, name, f"level-{word}") for name in ("baseline", "evidence"))
    assert set(baseline["level"]) == {word}
    assert set(baseline["open_reasoning"]) == {"<think>"}
    row = baseline.iloc[0]
    assert row["model_accuracy"] == pytest.approx(baseline["accuracy"].mean())
    assert row["model_chance"] == pytest.approx(1 / 3)
    assert row["model_accuracy_low"] < row["model_accuracy"] < row["model_accuracy_high"]
    expected = "not judged: the model answers at chance" if word == "at chance" else "not tested"
    assert set(evidence["verdict"]) == {expected}
    warned = [text for text in caplog.messages if text.startswith("warning")]
    assert len(warned) == (word != "above chance")
    assert all(f"is {word} (0.333)" in text for text in warned)


def test_verdicts_never_look_at_the_planted_column(results):
    run(results, ("--planted", [results / "plain/planted.csv"]), out="swapped")
    swapped, usual = table(results, "evidence", "swapped"), table(results, "evidence")
    assert (swapped["planted"] != usual["planted"]).all()
    assert swapped.drop(columns="planted").equals(usual.drop(columns="planted"))


def test_planted_recovery(results):
    planted = table(results, "planted")
    assert set(planted["model"]) == {"control"}
    assert len(planted) == 5 * 2 * 6
    mask = files.read_table(results / "control" / "masks" / "lap_top0.05.parquet")[0]
    known = {("c0", 0, 0), ("c0", 1, 1), ("c1", 2, 2)}
    hits = known & set(mask[["culture", "layer", "neuron"]].itertuples(index=False, name=None))
    mine = planted.query("selector == 'lap' and top_fraction == 0.05").set_index("culture")
    assert mine["hits"].sum() == len(hits)
    assert mine.loc["c0", "n_planted"] == 2
    assert mine.loc["c0", "n_selected"] == 3
    assert np.isnan(mine.loc["c2", "recall"])
    assert np.isnan(mine.loc["c5", "precision"])


def test_without_a_planted_model_only_the_header(results):
    run(results, out="single", models=("plain",))
    assert (results / "single" / "planted.csv").read_text().splitlines() == [",".join(tabulate.COLUMNS["planted"])]


def test_another_model_changes_no_row(results):
    run(results, out="alone", models=("plain",))
    for name in ("effects", "summary", "layers", "baseline", "evidence"):
        all_rows = table(results, name)
        mine = all_rows[all_rows["model"] == "plain"].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, table(results, name, "alone"), check_dtype=False)


def test_same_bytes_whatever_the_order_of_arguments_and_rows(results, tmp_path):
    backwards = [
        ("--masks", every(results, "masks", ("plain", "control"))[::-1]),
        ("--outcomes", every(results, "ablation", ("plain", "control"))[::-1]),
    ]
    shuffled, metadata = files.read_table(results / "plain" / "predictions.parquet")
    path = tmp_path / "plain/predictions.parquet"
    files.write_table(path, shuffled.sample(frac=1, random_state=0), metadata)
    predictions = [path, results / "control/predictions.parquet"]
    run(results, *backwards, ("--predictions", predictions), out="backwards")
    for name in tabulate.COLUMNS:
        assert (results / "backwards" / f"{name}.csv").read_bytes() == (results / "tables" / f"{name}.csv").read_bytes()


def test_files_of_another_revision_are_refused(results, tmp_path):
    path = results / "plain" / "predictions.parquet"
    predictions, metadata = files.read_table(path)
    path = tmp_path / "run/plain/predictions.parquet"
    files.write_table(path, predictions, {**metadata, "revision": "r2"})
    with pytest.raises(FileError, match=r"revision 'r1', but .*run/plain.* is from 'r2'.*another model revision"):
        run(results, ("--predictions", [path]), out="x", models=("plain",))


def test_an_ablation_of_another_mask_is_refused(results, tmp_path):
    ablation, metadata = files.read_table(results / "plain" / "ablation" / "cas_top0.05.parquet")
    path = tmp_path / "run/plain/ablation/cas_top0.05.parquet"
    files.write_table(path, ablation, {**metadata, "mask": {**metadata["mask"], "layers": 5}})
    with pytest.raises(FileError, match=r"run/plain.*: made with another mask than .*masks/cas_top0\.05\.parquet"):
        run(results, *one(results, path), out="x", models=("plain",))


def test_other_questions_than_the_baseline_are_refused(results, tmp_path):
    ablation, metadata = files.read_table(results / "plain" / "ablation" / "cas_top0.05.parquet")
    path = tmp_path / "run/plain/ablation/cas_top0.05.parquet"
    files.write_table(path, ablation[ablation["sample_id"] != "c1-evaluate-03"], metadata)
    with pytest.raises(FileError, match=r"run/plain.* and .*predictions\.parquet.*'c1-evaluate-03'"):
        run(results, *one(results, path), out="x", models=("plain",))


def one(folder, outcomes):
    return ("--masks", [folder / "plain/masks/cas_top0.05.parquet"]), ("--outcomes", [outcomes])


def test_without_random_masks_nothing_is_tested(results):
    chosen = [*one(results, results / "plain/ablation/cas_top0.05.parquet"), ("--random", [])]
    run(results, *chosen, out="bare", models=("plain",))
    evidence = table(results, "evidence", "bare")
    assert set(evidence["verdict"]) == {"not tested"}
    assert evidence.query("comparison == 'self-vs-cross'")["p_value"].notna().all()
    assert np.isnan(table(results, "summary", "bare")["random_self_drop"]).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--masks", ["run/plain/masks/cas_top0.1.parquet"]), "plain/.*: given for only one of --masks and --outcomes"),
        (("--predictions", ["run/other/predictions.parquet"]), "of --predictions: other"),
        (("--planted", ["run/other/planted.csv"]), "of --planted: other"),
    ],
)
def test_arguments_that_do_not_fit(results, changed, message):
    with pytest.raises(ConfigError, match=message):
        run(results, changed, models=("plain",), out="x")


def test_provenance_says_which_code_and_which_revisions(results):
    history = json.loads((results / "tables" / "provenance_tabulate.json").read_text(encoding="utf-8"))
    assert history["models"] == {name: {"revision": "r1", "dtype": "float32"} for name in ("plain", "control")}
    assert history["steps"]["tabulate"]["code"] == [code_digest("culture_neurons.steps.tabulate")]
    assert history["steps"]["infer"] == {
        "code": ["c0de"], "version": ["1"], "packages": ["numpy 2"], "hardware": ["Card"],
    }  # fmt: skip
    assert history["steps"]["before"] == {"code": ["0ld"], "version": [], "packages": ["numpy 1"], "hardware": []}
