from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.analysis import mask_effects, transfer
from culture_neurons.errors import ConfigError, FileError
from culture_neurons.steps import tabulate_sets

CULTURES = [f"c{i}" for i in range(6)]
SELECTORS = {"cas": "cas", "culnig": "culnig-general", "matched": "random-matched"}
#: Sets and their cultures; the first is the run's own, which has an identify half too.
SETS = {"run": CULTURES, "quiz": [*CULTURES[::-1], "c9"], "reasoning": ["commonsenseqa"]}
FACTORS = ["0", "2"]
MODELS = ("plain", "strong")
TABLES = ("sets", "sets_effects", "sets_transfer")


def of(name):
    """The folder of a data set below that of the run, or of a model."""
    return "" if name == "run" else f"sets/{name}/"


def outcome(folder, model, selector, name, factor):
    return folder / model / f"sets/{name}/ablation/{selector}_x{factor}.parquet"


def answers(rng, samples):
    prediction = rng.integers(3, size=len(samples))
    return samples[["sample_id", "culture"]].assign(
        prediction=prediction, correct=prediction == samples["label"].to_numpy(), well_formed=True,
        logprobs=list(rng.normal(-2, 1, (len(samples), 3)).astype(np.float32)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("sets") / "run", np.random.default_rng(0)
    for name, cultures in SETS.items():
        halves = ("identify", "evaluate") if name == "run" else ("evaluate",)
        rows = [(f"{name}-{c}-{half}{i}", c, half, 1, "") for c in cultures for half in halves for i in range(8)]
        samples = pd.DataFrame(rows, columns=["sample_id", "culture", "split", "label", "image_id"])
        files.write_table(folder / f"{of(name)}samples.parquet", samples, {})
        for model in MODELS:
            identity = {"model": model, "revision": "r1", "dtype": "float32"}
            made_by = {**identity, "step": "infer", "code": "c0de", "version": "1", "packages": {}}
            predictions = answers(rng, samples).assign(split=samples["split"])
            files.write_table(folder / model / f"{of(name)}predictions.parquet", predictions, made_by)
            questions = samples[samples["split"] == "evaluate"]
            for selector, method in SELECTORS.items():
                number = len(SELECTORS) if selector == "cas" else 4
                mask = pd.DataFrame([(c, "gate_proj", 0, i) for c in CULTURES for i in range(number)],
                                    columns=["culture", "site", "layer", "neuron"])  # fmt: skip
                options = {"match": "culnig"} if selector == "matched" else {}
                metadata = {"model": model, "revision": "r1", "cultures": CULTURES, "layers": 2,
                            "neurons": {"gate_proj": 9}, "selector": method, "options": options}  # fmt: skip
                files.write_table(folder / model / f"masks/{selector}_top0.01.parquet", mask, metadata)
                for factor in FACTORS:
                    table = pd.concat([answers(rng, questions).assign(mask_culture=c) for c in CULTURES])
                    noted = metadata | ({"factor": float(factor)} if factor != "0" else {})
                    path = outcome(folder, model, selector, name, factor)
                    files.write_table(path, table, {**identity, "mask": noted})
    run(folder)
    return folder


def command(folder, out="tables"):
    keys = [(m, s, name, f) for m in MODELS for s in SELECTORS for name in SETS for f in FACTORS]
    return {
        "--samples": [folder / f"{of(name)}samples.parquet" for name in SETS],
        "--predictions": [folder / m / f"{of(name)}predictions.parquet" for m in MODELS for name in SETS],
        "--masks": [folder / m / f"masks/{s}_top0.01.parquet" for m in MODELS for s in SELECTORS],
        "--outcomes": [outcome(folder, *key) for key in keys], "--random": ["matched"], "--planted": ["strong"],
        "--replicates": ["60"], "--seed": ["3"], "--out-dir": [folder / out],
    }  # fmt: skip


def run(folder, out="tables", **changed):
    arguments = command(folder, out) | {f"--{key}": value for key, value in changed.items()}
    words = [word for option, values in arguments.items() for word in (option, *map(str, values))]
    tabulate_sets.main(tabulate_sets.arguments().parse_args(words))


def table(folder, name, out="tables"):
    return files.read_csv(folder / out / f"{name}.csv", ["model"], text=["model", "set", "selector"])


def test_every_model_set_selector_and_factor_has_a_row(results):
    sets = table(results, "sets")
    assert list(sets.columns) == [*tabulate_sets.KEYS, *transfer.COLUMNS, *tabulate_sets.LEVEL, "planted"]
    assert set(sets["level"]) == {"at chance"}
    assert (sets["baseline_accuracy_low"] < sets["chance"]).all()
    assert (sets["chance"] < sets["baseline_accuracy_high"]).all()
    rows = sets[["model", "set", "selector", "factor"]].itertuples(index=False, name=None)
    assert list(rows) == [(m, name, s, f) for m in MODELS for name in SETS for s in SELECTORS for f in (0, 2)]
    assert set(sets["top_fraction"]) == {0.01}
    assert sets.groupby("model")["planted"].unique().map(list).to_dict() == {"plain": ["no"], "strong": ["yes"]}
    assert sets.groupby("set")["n"].unique().map(list).to_dict() == {"run": [48], "quiz": [56], "reasoning": [8]}
    assert sets.groupby("set")["n_own"].unique().map(list).to_dict() == {"run": [48], "quiz": [48], "reasoning": [0]}
    assert sets.groupby("selector")["shared"].unique().map(list).to_dict() == {
        "cas": ["no"], "culnig": ["yes"], "matched": ["yes"],
    }  # fmt: skip
    assert sets.groupby("selector")["n_controls"].unique().map(list).to_dict() == {
        "cas": [0], "culnig": [1], "matched": [0],  # random masks are larger than those of CAS
    }  # fmt: skip


def test_numbers_are_those_of_the_module(results):
    samples = files.read_table(results / "sets/quiz/samples.parquet")[0]
    base = mask_effects.baseline(samples, files.read_table(results / "plain/sets/quiz/predictions.parquet")[0], "p")
    mean_changes = {}
    for selector in SELECTORS:
        for factor in FACTORS:
            sizes = dict.fromkeys(CULTURES, 3 if selector == "cas" else 4)
            outcomes = files.read_table(outcome(results, "plain", selector, "quiz", factor))[0]
            change = mask_effects.changes(base, outcomes, sizes, "o", "p")
            cells = transfer.effects(base, change, [])
            mean_changes[selector, factor] = transfer.mean_over_masks(base, change, sizes, cells, selector != "cas")
            mine = table(results, "sets_effects").query(
                f"model == 'plain' and set == 'quiz' and selector == '{selector}' and factor == {factor}"
            )
            columns = ["mask_culture", "eval_culture", "n", "drop", "logprob_drop", "rank"]
            pd.testing.assert_frame_equal(mine[columns].reset_index(drop=True), cells[columns], check_dtype=False)
    expected = transfer.compare(base, mean_changes, {"matched": "culnig"}, 60, 3)
    mine = table(results, "sets").query("model == 'plain' and set == 'quiz'").reset_index(drop=True)
    shown = [c for c in transfer.COLUMNS if not c.endswith("_adjusted")]
    pd.testing.assert_frame_equal(mine[shown], expected[shown], check_dtype=False, rtol=1e-6)
    assert mine["difference_p_adjusted"].notna().sum() == 2


def test_answers_of_the_ablation_stand_for_the_runs_own_questions(results):
    own = []
    for model, selector in itertools.product(MODELS, SELECTORS):
        own.append(results / model / f"ablation/{selector}_top0.01.parquet")
        own[-1].parent.mkdir(exist_ok=True)
        shutil.copy(outcome(results, model, selector, "run", "0"), own[-1])
    rest = [outcome(results, m, s, name, "0") for m in MODELS for s in SELECTORS for name in SETS if name != "run"]
    run(results, "again", **{"outcomes": rest, "own-outcomes": own})
    expected = table(results, "sets_effects").query("factor == 0").reset_index(drop=True)
    pd.testing.assert_frame_equal(table(results, "sets_effects", "again"), expected)
    changes = ["set", "selector", "change", "logprob_change"]
    expected = table(results, "sets").query("factor == 0")[changes].reset_index(drop=True)
    pd.testing.assert_frame_equal(table(results, "sets", "again")[changes], expected)
    with pytest.raises(ConfigError, match="plain/cas/run/0 is missing"):
        run(results, "again", **{"outcomes": rest, "own-outcomes": own[1:]})


def test_transfer_is_between_sets_of_the_masks_cultures(results):
    correlations = table(results, "sets_transfer")
    assert list(correlations.columns) == ["model", *transfer.TRANSFER, "planted"]
    assert set(correlations[["set", "other_set"]].itertuples(index=False, name=None)) == {("run", "quiz")}
    assert set(correlations["selector"]) == {"cas", "culnig"}
    assert set(correlations["n_cultures"]) == {6}
    assert correlations["p_adjusted"].notna().all()


def test_provenance_has_the_steps_and_models(results):
    history = json.loads((results / "tables/provenance_tabulate_sets.json").read_text())
    assert set(history["steps"]) == {"infer", "tabulate_sets"}
    assert set(history["models"]) == set(MODELS)


@pytest.mark.slow
def test_sets_keep_the_order_of_the_arguments_and_nothing_else_does(results):
    arguments = command(results)
    run(results, "again", **{key[2:]: arguments[key][::-1] for key in ("--predictions", "--masks", "--outcomes")})
    for name in TABLES:
        assert (results / f"again/{name}.csv").read_bytes() == (results / f"tables/{name}.csv").read_bytes()
    run(results, "turned", samples=arguments["--samples"][::-1])
    assert list(dict.fromkeys(table(results, "sets", "turned")["set"])) == list(SETS)[::-1]


def test_variants_of_a_question_are_drawn_together(results, tmp_path):
    samples, metadata = files.read_table(results / "sets/reasoning/samples.parquet")
    path = tmp_path / "run/sets/reasoning/samples.parquet"
    files.write_table(path, samples.assign(question_id="one"), metadata)
    run(results, "variants", samples=[*command(results)["--samples"][:2], path])
    variants = table(results, "sets", "variants").query("set == 'reasoning'")
    assert variants["change"].notna().all()
    assert variants["change_low"].isna().all()  # one unit alone


def test_files_that_do_not_belong_together_are_refused(results, tmp_path):
    outcome_file = outcome(results, "plain", "cas", "quiz", "2")
    path = outcome(tmp_path / "other", "plain", "cas", "quiz", "2")
    others = [file for file in command(results)["--outcomes"] if file != outcome_file]

    def refused(source, message, skip=0):
        outcomes, metadata = files.read_table(source)
        files.write_table(path, outcomes[skip:], metadata)
        with pytest.raises(FileError, match=message):
            run(results, "x", outcomes=[*others, path])

    of_factor = outcome(results, "plain", "cas", "quiz", "0")
    refused(of_factor, r"other/.*quiz/.*/cas_x2\.parquet: not made with .*masks/cas_top0\.01\.parquet times 2; delete")
    refused(outcome(results, "strong", "cas", "quiz", "2"), "model")
    refused(outcome(results, "plain", "cas", "run", "2"), "do not hold the same questions")
    message = r"other/.*cas_x2\.parquet and .*quiz/predictions\.parquet do not hold the same questions"
    refused(outcome_file, message, skip=1)


def test_arguments_must_be_complete(results):
    arguments = command(results)
    with pytest.raises(ConfigError, match="--outcomes: plain/cas/run/0 is missing; expected each model"):
        run(results, "x", outcomes=arguments["--outcomes"][1:])
    with pytest.raises(ConfigError, match="--predictions: plain/run is missing"):
        run(results, "x", predictions=arguments["--predictions"][1:])
    with pytest.raises(ConfigError, match="--predictions: other/run is not expected"):
        run(results, "x", predictions=[*arguments["--predictions"], "run/other/predictions.parquet"])
    with pytest.raises(ConfigError, match=r"--masks: of top fractions 0\.01, 0\.1; expected one"):
        run(results, "x", masks=[*arguments["--masks"], "run/plain/masks/cas_top0.1.parquet"])
