"""What runs again after a change: no more and no less than what depends on it."""

import os
from collections import Counter

import pytest

from tests.conftest import slow

pytestmark = pytest.mark.workflow

DRAWN = {"figures": 1, "report": 1, "manifest": 1}
LAST = {"tabulate": 1, "tabulate_overlaps": 1, **DRAWN}
#: Resampled questions of both models.
STABILITY = {"stability": 2}
#: Shuffled labels and two other strengths, of both models.
ROBUSTNESS = {"ablate": 2, "gather_outcomes": 2 * 3, "tabulate_robustness": 1}


def total(*jobs: dict[str, int]) -> Counter:
    """Jobs by rule, all together."""
    return sum(map(Counter, jobs), Counter())


def edit(project, module: str) -> None:
    path = project.folder / "src" / "culture_neurons" / module
    path.write_text(path.read_text(encoding="utf-8") + "\n# an edit\n", encoding="utf-8")


def test_nothing_runs_after_a_complete_run(project):
    assert project.planned() == {}


def test_what_changes_no_result_reruns_nothing(project):
    """All at once: files with another time, code that makes no result, and settings that say how jobs run."""
    for path in [project.folder / "config.yaml", *project.folder.glob("src/**/*.py"), *project.results().glob("*.*")]:
        os.utime(path)
    edit(project, "selectors/registry.py")
    config = project.read()
    config["selectors"]["random-matched"] = {"match": "cas", "seed": 1}  # another order of keys
    config["models"]["loaded"] |= {"batch_size": 2, "threads": 2, "device_map": "cpu"}
    project.write(config)
    assert project.planned() == {}


def test_top_fraction_reruns_selection_and_what_follows(project):
    config = project.read()
    config["top_fractions"] = [0.05, 0.3]
    project.write(config)
    # 2 models x 3 selectors; one job chooses and asks all fractions.
    chosen = {"select": 6, "cards": 2, "ablate": 6, "gather_outcomes": 6 * 2}
    assert project.planned() == total(chosen, STABILITY, ROBUSTNESS, LAST)


def test_a_new_selector_and_another_option_rerun_only_their_own_branches(project):
    config = project.read()
    config["selectors"]["lape"] = {}
    config["selectors"]["mad"] = {"normalise": False}
    project.write(config)
    # 2 models x 2 selectors.
    assert project.planned() == {"select": 4, "cards": 2, **STABILITY, "ablate": 4, "gather_outcomes": 4 * 2, **LAST}


def test_a_selector_by_attribution_asks_nothing_again(project):
    """Which sites a model has is checked where it is asked first, and changes no answer."""
    config = project.read()
    config["selectors"]["culnig-general"] = {}
    project.write(config)
    planned = project.planned()
    assert planned["attribute"] == 4  # 2 models x questions and controls
    assert not {"infer", "gather_answers", "record", "merge"} & planned.keys()


def test_an_image_control_that_is_left_out_asks_nothing_again(project):
    config = project.read()
    config["evidence"]["image_controls"] = ["none"]
    project.write(config)
    assert project.planned() == {"tabulate_changed_answers": 1, **DRAWN}
    config["evidence"]["image_controls"] = []
    project.write(config)
    assert project.planned() == DRAWN


def test_model_runs_only_that_model(project):
    config = project.read()
    config["models"]["third"] = {"path": "models/loaded", "batch_size": 8}
    project.write(config)
    jobs = project.planned()
    assert jobs == {
        "infer": 1, "gather_answers": 1, "infer_image_controls": 1, "tabulate_changed_answers": 1, "record": 2,
        "merge": 2, "select": 3, "ablate": 4, "gather_outcomes": 3 * 2 + 3, "cards": 1, "permute": 1,
        "tabulate_robustness": 1, **STABILITY, "stability": 1, **LAST,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("permutations", 4, {"permute": 2, **ROBUSTNESS, **DRAWN}),
     slow("strengths", [0.5], {**ROBUSTNESS, "gather_outcomes": 2 * 2, **DRAWN}),
     ("replicates", 300, {"tabulate_robustness": 1, "tabulate_changed_answers": 1, **LAST}),
     slow("split_halves", 3, {**STABILITY, "tabulate_overlaps": 1, "cards": 2, **DRAWN}),
     ("cards", 2, {"cards": 2, "report": 1, "manifest": 1})],
)  # fmt: skip
def test_setting_of_the_evidence_reruns_what_it_says(project, key, value, expected):
    config = project.read()
    config["evidence"][key] = value
    project.write(config)
    # Strengths and permutations leave effects.csv as it is; their own tables are drawn and reported.
    assert project.planned() == expected


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("report/figures/style.py", {"figures": 1, "report": 1}),
        (
            "models/hooks.py",
            total(
                {"record": 4, "merge": 4, "select": 6, "cards": 2, "ablate": 6, "gather_outcomes": 6 * 2, "permute": 2},
                STABILITY,
                ROBUSTNESS,
                LAST,
            ),
        ),
        ("selectors/mad.py", {"select": 2, "cards": 2, **STABILITY, "ablate": 2, "gather_outcomes": 2 * 2, **LAST}),
        slow("analysis/overlaps.py", {"tabulate_overlaps": 1, **DRAWN}),
        slow("analysis/stability/resamples.py", {**STABILITY, "tabulate_overlaps": 1, "cards": 2, **DRAWN}),
        ("analysis/mask_effects.py", {"tabulate_changed_answers": 1, "tabulate_robustness": 1, **LAST}),
        slow("analysis/image_controls.py", {"tabulate_changed_answers": 1, **DRAWN}),
        slow("data/image_controls.py", {"infer_image_controls": 2, "tabulate_changed_answers": 1, **DRAWN}),
    ],
)
def test_edited_module_reruns_what_uses_it(project, module, expected):
    edit(project, module)
    assert project.planned() == expected


@pytest.mark.slow
def test_settings_of_the_chat_template_ask_that_model_again(project):
    config = project.read()
    config["models"]["loaded"]["chat_template_kwargs"] = {"enable_thinking": False}
    project.write(config)
    jobs = project.planned()
    assert {"infer": 1, "infer_image_controls": 1, "record": 2}.items() <= jobs.items()
    assert jobs["ablate"] == 3 + 1  # all selectors of one of the two models, and their robustness


def test_file_of_a_local_model_that_changes_reruns_that_model(project):
    path = project.folder / "models" / "loaded" / "config.json"
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    jobs = project.planned()
    assert (jobs["infer"], jobs["record"], jobs["ablate"], jobs["train"]) == (1, 2, 4, 0)


def test_prompt_reruns_inference_but_not_the_data(project):
    config = project.read()
    # Braces are text here, and no wildcards.
    config["prompt"] = {"seed": 2, "instruction": "Answer with one {letter} only."}
    project.write(config)
    jobs = project.planned()
    assert jobs["infer"] == 2
    assert "prepare" not in jobs


def test_figures_are_drawn_from_the_tables_alone(project):
    for path in project.results("figures").glob("*"):
        path.unlink()
    assert project.planned("figures") == {"figures": 1}
