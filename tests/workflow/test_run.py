"""A run's record, from the configs that the project ships."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from culture_neurons import layout
from culture_neurons.report.registry import FigureFile, figures_of
from culture_neurons.workflow.run import Run
from tests.workflow.conftest import SCHEMA, choosing, run

DEMO = run("config.yaml")
CONTROL, PAPER, ALONE = run(), run("config/paper-vlm.yaml"), run("config/real-finetuning.yaml")
#: The last one with neurons suppressed and enhanced; there they are suppressed alone.
WORDS = run("config/real-finetuning.yaml", evaluation=ALONE.config["evaluation"] | {"factors": [0, 2]})


def test_kinds_of_selectors():
    assert CONTROL.controls == ["random-matched", "random-matched-2", "random-specific"]
    assert CONTROL.attributed == ["culnig-specific"]
    assert CONTROL.matched == ["random-specific"]
    assert CONTROL.scored == CONTROL.at_neurons == ["lap", "lape", "lape-original", "mad", "cas", "effect-size"]
    assert set(CONTROL.from_statistics) == {*CONTROL.scored, "random-matched", "random-matched-2"}
    assert CONTROL.shown == [*CONTROL.scored, "culnig-specific"]
    assert CONTROL.reference("random-matched") == "cas"
    assert CONTROL.reference("cas") == ""
    assert CONTROL.card_selector == "cas"
    assert {*CONTROL.benchmarked} == {*CONTROL.from_statistics}


def test_a_planted_model_starts_from_another():
    assert CONTROL.planted == ["planted-control"]
    assert CONTROL.start_of_planting("planted-control") == ["results/control/demo-llava-mistral/model"]
    assert PAPER.planted == PAPER.trained == []


def test_every_selector_is_in_one_group_and_its_answers_are_found():
    for record, of in ((CONTROL, ""), (PAPER, ""), (WORDS, "sets/x/")):
        names = record.evaluated if of else sorted(record.selectors)
        groups = record.mask_groups(of)
        assert sorted(name for group in groups.values() for name in group) == names
        for name in names:
            files = record.group_shards("m", of, name)
            group = Path(files[0]).parent.name
            assert name in groups[group]
            assert len(files) == record.shards["ablate"] * record.shards["ablate_masks"]
    assert set(CONTROL.mask_groups("")) == {"0", "1"}
    assert CONTROL.mask_groups("robustness/") == {"cas": ["cas"]}


@pytest.mark.parametrize("of", ["", "sets/recall/", "robustness/"])
def test_each_mask_of_a_job_has_the_number_at_which_ablate_asks_under_it(of):
    """`steps.ablate` asks under every mask file with every factor, and under permuted masks last."""
    record = DEMO if of.startswith("sets") else CONTROL
    for group, names in record.mask_groups(of).items():
        factors = record.group_factors(of) or ["0"]
        masks = [layout.key("masks", file) for file in record.group_masks("m", of, group)]
        asked = [
            (mask["selector"], f"x{factor}" if of else f"top{mask['fraction']}") for mask in masks for factor in factors
        ]
        asked += [(group, "permuted")] * len(record.group_permuted("m", of, group))
        numbers = {record.mask_number(of, name, v): (name, v) for name in names for v in record.variants(of)}
        assert [numbers[number] for number in range(len(numbers))] == asked


def test_masks_of_a_group_are_in_the_order_of_their_answers():
    masks = CONTROL.group_masks("m", "", "1")
    names = CONTROL.mask_groups("")["1"]
    assert masks == [f"results/control/m/masks/{s}_top{f}.parquet" for s in names for f in ("0.01", "0.03", "0.1")]
    assert CONTROL.group_masks("m", "robustness/", "cas") == ["results/control/m/masks/cas_top0.01.parquet"]
    permuted = "results/control/m/robustness/masks/cas_permuted.parquet"
    assert CONTROL.group_permuted("m", "robustness/", "cas") == [permuted]
    assert CONTROL.group_permuted("m", "", "0") == []


@pytest.mark.parametrize(
    ("evidence", "variants"),
    [({"permutations": 0}, ["x0.75", "x0.5", "x0.25", "x-0.25", "x-0.5"]), ({"strengths": []}, ["permuted"])],
)
def test_robustness_asks_what_the_evidence_asks_for_alone(evidence, variants):
    record = run(evidence=CONTROL.config["evidence"] | evidence)
    assert record.variants("robustness/") == variants
    assert bool(record.group_masks("m", "robustness/", "cas")) == ("permutations" in evidence)
    assert bool(record.permuted_outcomes) == ("strengths" in evidence)
    outcomes = record.strength_outcomes + record.permuted_outcomes
    assert [layout.key("outcomes", file)["variant"] for file in outcomes] == variants * len(record.models)
    assert [record.mask_number("robustness/", "cas", variant) for variant in variants] == list(range(len(variants)))


def test_strengths_are_factors_that_come_back():
    assert [CONTROL.factor(strength) for strength in CONTROL.strengths] == ["0.75", "0.5", "0.25", "-0.25", "-0.5"]
    assert CONTROL.group_factors("robustness/") == ["0.75", "0.5", "0.25", "-0.25", "-0.5"]
    assert CONTROL.group_factors("") == []
    assert WORDS.group_factors("sets/x/") == WORDS.factors


def test_the_own_set_has_no_folder():
    assert WORDS.samples_folder(f"sets/{WORDS.dataset}/") == ""
    assert WORDS.set_folder(WORDS.dataset) == ""
    name = next(iter(WORDS.sets))
    assert WORDS.samples_folder(f"sets/{name}/") == WORDS.set_folder(name) == f"sets/{name}/"
    assert WORDS.source(f"sets/{name}/") == (
        WORDS.sets[name]["source"], WORDS.sets[name].get("filter", {}), {"by": "whole", "half": "evaluate"},
    )  # fmt: skip


def test_the_own_set_is_asked_again_where_neurons_are_more_than_suppressed():
    assert WORDS.factors == ["0", "2"]
    assert WORDS.masked_sets == WORDS.all_sets
    assert f"sets/{WORDS.dataset}/" in WORDS.mask_folders
    assert not WORDS.own_outcomes
    assert ALONE.factors == ["0"]
    assert ALONE.masked_sets == list(ALONE.sets)
    assert f"sets/{ALONE.dataset}/" not in ALONE.mask_folders
    assert not any(f"/sets/{ALONE.dataset}/" in path for path in ALONE.set_outcomes)
    assert ALONE.own_outcomes == ALONE.all("outcomes", of="", selector=ALONE.evaluated, variant=f"top{ALONE.top}")
    assert len(set(ALONE.recorded_files)) == len(ALONE.recorded_files)


def test_the_default_run_asks_one_model_with_an_eye_in_pictures_and_in_words():
    assert (list(DEMO.models), DEMO.with_eye, DEMO.converted) == (["smollm2-eye"],) * 3
    assert DEMO.trained == DEMO.planted == DEMO.attributed == []
    assert DEMO.all_sets == ["demo", "recall", "recognise"]
    assert DEMO.masked_sets == ["recall", "recognise"]
    assert DEMO.controlled_answers == [
        f"results/demo/smollm2-eye/controls/{control}.parquet" for control in ("blank", "none", "swapped")
    ]
    figures = figures_of(DEMO)
    assert len(figures) == len(set(figures)) == 18
    assert {FigureFile("images"), FigureFile("transfer", "smollm2-eye")} <= set(figures)


def test_facts_are_the_same_in_pictures_and_in_words():
    """What is judged in words chose no neuron: all settings but the direction are those of the pictures."""
    own = DEMO.config["data"]["source"]
    for name in DEMO.sets:
        source, _, split = DEMO.source(f"sets/{name}/")
        assert source == own | {"directions": [name], "half": "evaluate"}
        assert split["half"] == "evaluate"
    assert DEMO.models["smollm2-eye"]["eye"]["countries"] == own["countries"]


def test_all_files_of_a_kind():
    assert len(CONTROL.all("masks")) == 2 * 10 * 3
    assert CONTROL.all("planted", model=CONTROL.planted) == ["results/control/planted-control/planted.csv"]
    assert CONTROL.all("statistics", of=CONTROL.of("tokens")) == [
        f"results/control/{model}/tokens/image/statistics.h5" for model in ("demo-llava-mistral", "planted-control")
    ]


def test_units_are_chosen_from_attributions_or_as_many_as_a_mask_has():
    (name,), (control,), model = CONTROL.attributed, CONTROL.matched, "planted-control"
    folder = f"results/control/{model}/attributions"
    assert CONTROL.attributions == ["questions", "controls"]
    for kind in CONTROL.attributions:
        shards = [f"{folder}/{kind}_{shard}.h5" for shard in range(CONTROL.shards["record"])]
        assert CONTROL.attribution_files(model, name, kind) == shards != []
        assert CONTROL.attribution_files(model, control, kind) == []
    assert CONTROL.attribution_files(model, name, "mentions") == CONTROL.references(model, name) == []
    assert CONTROL.references(model, control) == CONTROL.all("masks", model=model, selector=name)


def test_what_chooses_on_other_data_is_not_chosen_again_from_statistics_of_the_run():
    one = choosing(evidence={"selectors": ["mad"]})
    others = {"cas-pictures", "lap", "random", "random-pictures"}
    assert others <= {*one.selectors} == {*one.from_statistics, *one.attributed, *one.matched}
    assert {"cas-pictures", "lap"} <= {*one.scored} & {*one.at_neurons}
    for names in (one.scored_on_own, one.benchmarked, one.resampled):
        assert not others & {*names}
        assert {"cas", "lape"} <= {*names}
    assert one.card_selector == "mad"
    assert one.across_data == one.scored
    assert CONTROL.across_data == []
    alone = choosing(
        evidence={"token_rules": ["last"]}, selectors={"cas": {"choose_on": "re.c"}, "lap": {"choose_on": "pictures"}}
    )
    assert (alone.card_selector, alone.cards, alone.token_rules, alone.resampled) == (None, 0, [], [])
    assert {"results/control/planted-control/choose/re.c/predictions.parquet"} <= {*one.recorded_files}


def test_data_sets_that_choose_are_published_where_there_are_some():
    assert {*choosing().published["data"]["choose"]} == {"pictures", "re.c"}
    none = run(data=CONTROL.config["data"] | {"choose": {}})
    assert "choose" not in none.published["data"]
    assert choosing().amount_of_work["choosing"] == ["pictures", "re.c"]


def test_how_jobs_run_is_not_what_is_loaded():
    one = run("config/paper-vlm.yaml")
    model = next(iter(one.models))
    before, shown = one.model_settings(model), json.dumps(one.published)
    one.models[model] |= {"batch_size": 99, "gpus": 7, "mem_mb": 1, "threads": 3}
    assert one.model_settings(model) == before
    assert json.dumps(Run(one.config).published) == shown
    assert Run(one.config).job(model, attempt=3) == {
        "gpu": 7, "nodes": 1, "mem_mb": 3, "batch_size": 99, "device_map": one.device_map(model),
    }  # fmt: skip


def test_a_model_that_is_trained_here_is_calibrated_before():
    settings = json.loads(CONTROL.calibration_settings("planted-control"))
    assert settings["architecture"] == "llava-next-mistral"
    assert settings["source"]["type"] == "synthetic"
    assert "path" not in settings
    model = next(iter(PAPER.models))
    assert PAPER.calibration_settings(model) == PAPER.model_settings(model)
    assert (CONTROL.calibration_files("planted-control"), PAPER.calibration_files(model)) == ([], [])
    assert CONTROL.masks_per_culture == len(CONTROL.selectors) * len(CONTROL.fractions)
    more = CONTROL.evidence | {"permutations": 0, "strengths": [], "image_controls": [], "token_rules": []}
    without = {"selectors": {"cas": {}}, "figures": {}}
    assert run(evidence=more, **without).asks_nothing_else
    assert not run(evidence=more | {"strengths": [0.5], "selectors": ["cas"]}, **without).asks_nothing_else
    assert not run(evidence=more).asks_nothing_else  # CULNIG attributes
    assert not ALONE.asks_nothing_else


PIP = {"package": "a", "version": "1", "sha256": "0" * 64, "file": "a/b.gguf"}


def test_a_model_of_a_gguf_file_is_a_folder_of_the_run(tmp_path):
    (tmp_path / "here.gguf").touch()
    here, template = str(tmp_path / "here.gguf"), str(tmp_path / "here.gguf")
    one = run(models={"p": {"gguf": {"pip": PIP}, "dtype": "float16"}, "f": {"gguf": {"path": here}, "gpus": 2},
                      "gone": {"gguf": {"path": "gone.gguf"}, "chat_template": template}})  # fmt: skip
    assert one.converted == ["p", "f", "gone"]
    assert (one.packaged, one.trained, one.planted) == (["p"], [], [])
    assert one.model_files("p") == ["results/control/p/model"]
    assert one.model_files("gone") == ["results/control/gone/model", template]
    assert [one.gguf_file(name) for name in one.models] == [[], [here], []]
    assert json.loads(one.conversion("p")) == {"name": "p", "gguf": {"pip": PIP}, "dtype": "float16"}
    assert json.loads(one.conversion("f"))["dtype"] == "float32"
    assert json.loads(one.model_settings("p")) == {
        "name": "p", "path": "results/control/p/model", "dtype": "float16", "trust_remote_code": False,
    }  # fmt: skip
    assert one.calibration_settings("p") == one.model_settings("p")
    assert one.published["models"]["p"]["gguf"] == {"pip": PIP}


def test_a_language_model_that_gets_an_eye(tmp_path):
    (tmp_path / "config.json").touch()
    folder, eye = str(tmp_path), {"countries": ["Japan", "Italy"], "steps": 3}
    one = run(models={"p": {"gguf": {"pip": PIP}, "eye": eye}, "f": {"path": folder, "eye": {}, "dtype": "bfloat16"}})
    assert (one.with_eye, one.converted, one.trained) == (["p", "f"], ["p"], [])
    assert [one.decoder(name) for name in one.models] == ["results/control/p/decoder", folder]
    files = [["results/control/p/decoder"], [f"{folder}/config.json"]]
    assert [one.decoder_files(name) for name in one.models] == files
    assert [one.model_files(name) for name in one.models] == [["results/control/p/model"], ["results/control/f/model"]]
    assert json.loads(one.eye_options("p")) == eye
    # A plan trains no eye: it measures the decoder behind one that knows nothing.
    assert [one.calibration_files(name) for name in one.models] == files
    assert json.loads(one.calibration_settings("f")) == {
        "name": "f", "decoder": folder, "dtype": "bfloat16", "trust_remote_code": False,
    }  # fmt: skip
    assert json.loads(one.eye_options("f")) == {"countries": None}
    assert json.loads(one.model_settings("f")) == {
        "name": "f", "path": "results/control/f/model", "dtype": "bfloat16", "trust_remote_code": False,
    }  # fmt: skip
    assert one.published["models"]["p"]["eye"] == eye


@pytest.mark.parametrize("record", [DEMO, CONTROL, PAPER, WORDS], ids=["demo", "control", "paper", "words"])
def test_tables_and_provenance_go_together(record):
    rules = {Path(path).stem.removeprefix("provenance_") for path in record.provenance}
    assert {name for rule in rules for name in record.tables_of(rule)} == {*record.tables, "provenance"}
    assert ("sets" in record.tables) == bool(record.sets)


def test_selectors_know_how_many_random_controls_they_have():
    assert CONTROL.controls_of == dict.fromkeys(CONTROL.scored, 2) | {"culnig-specific": 1}


def test_groups_that_are_too_few_are_noted_as_soon_as_the_config_says_how_many():
    assert CONTROL.notes == []  # any number of groups
    few = Run(CONTROL.config | {"data": CONTROL.config["data"] | {"filter": CONTROL.config["data"]["filter"] | {
        "cultures": ["A", "B", "C"]}}})  # fmt: skip
    assert any("cas" in note and "at least 4 groups, and there are 3" in note for note in few.notes)
    assert any("culnig-specific" in note and "at least 6 groups" in note for note in few.notes)
    assert PAPER.notes == []


def test_descriptions_are_shown_and_have_no_part_in_what_is_run():
    config = json.loads(json.dumps(choosing("config.yaml").config))
    stanzas = [config["data"], *config["data"]["choose"].values(), *config["evaluation"]["sets"].values(),
               *config["models"].values()]  # fmt: skip
    bare = json.loads(json.dumps(config))
    for stanza in [bare["data"], *bare["data"]["choose"].values(), *bare["evaluation"]["sets"].values(),
                   *bare["models"].values()]:  # fmt: skip
        stanza.pop("description", None)
    for stanza in stanzas:
        stanza["description"] = "told to readers"
    assert not list(Draft202012Validator(SCHEMA).iter_errors(config))
    told, untold = Run(config), Run(bare)
    for model in told.models:
        for settings in ("model_settings", "calibration_settings", "eye_options", "conversion", "job_settings"):
            assert getattr(told, settings)(model) == getattr(untold, settings)(model)
    for of in told.of("own", "sets", "choose"):
        assert told.source(of) == untold.source(of)
    shown = json.dumps(told.report_settings)
    assert shown.count("told to readers") >= len(stanzas)
    assert "description" not in json.dumps(untold.report_settings)


@pytest.mark.parametrize("text", ["", "   ", "x" * 301, 3])
def test_a_description_is_a_line_of_text(text):
    config = json.loads(json.dumps(DEMO.config))
    config["models"]["smollm2-eye"]["description"] = text
    errors = [list(error.absolute_path) for error in Draft202012Validator(SCHEMA).iter_errors(config)]
    assert errors == [["models", "smollm2-eye", "description"]]
