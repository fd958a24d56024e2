"""Two runs of one model side by side, in English and in the cultures' languages, for real."""

import json

import pytest
import yaml

from culture_neurons import files
from culture_neurons.analysis.compare_runs import TEXT
from tests.pipeline.conftest import CONFIG, build

pytestmark = pytest.mark.workflow

NO_EVIDENCE = {"replicates": 100, "selectors": [], "permutations": 0, "strengths": [], "image_controls": [],
               "resamples": 0, "split_halves": 0, "token_rules": [], "cards": 0}  # fmt: skip
ENGLISH = CONFIG | {
    "dataset": "english",
    "models": {"loaded": CONFIG["models"]["loaded"]},
    "selectors": {"cas": {}, "random-matched": {"seed": 1, "match": "cas"}},
    "top_fractions": [0.05],
    "evidence": NO_EVIDENCE,
}
NATIVE = ENGLISH | {"dataset": "native", "data": {"source": CONFIG["data"]["source"] | {"language": "native"}}}
RUNS = "runs=[results/english,results/native]"
WORDS = ("compare", "--config", RUNS, "comparison={transfer: true, top_fraction: 0.05}")


@pytest.fixture(scope="module")
def both(tmp_path_factory, warm_steps):
    """Two runs of the model that is loaded, up to their tables, and both of them compared."""
    project = build(tmp_path_factory.mktemp("both") / "project", ENGLISH, warm_steps)
    for config in (ENGLISH, NATIVE):
        project.write(config)
        project.run(f"results/{config['dataset']}/manifest.json")
    # An edit of code that both runs depend on, and of the config: a finished run is not made again for a comparison.
    with open(project.folder / "src/culture_neurons/selectors/cas.py", "a", encoding="utf-8") as source:
        source.write("# later\n")
    assert project.planned(*WORDS) == {"compare": 1, "transfer": 2}
    project.run(*WORDS)
    return project


@pytest.fixture(scope="module")
def folder(both):
    return both.folder / "results/english-vs-native"


def table(folder, name):
    return files.read_csv(folder / f"tables/{name}.csv", text=TEXT)


def test_english_and_native_are_compared(both, folder):
    notes = table(folder, "compared")
    assert set(notes["compared"]) == {"yes"}
    assert set(notes["what"]) == {"questions", "cultures", "answers", "masks", "effects", "transfer"}
    shared = table(folder, "shared_neurons")
    assert set(shared["same_model"]) == {"yes"}
    assert set(shared["selector"]) == {"cas", "random-matched"}
    effects = table(folder, "paired_effects")
    assert set(effects["what"]) == {"baseline", "self", "cross", "specificity"}
    # What one run says of its questions is what its own tables say, where all of them are shared.
    summary = files.read_csv(both.folder / "results/native/tables/summary.csv", text=["selector"])
    own = effects[effects["culture"].isna() & (effects["what"] == "self") & (effects["measure"] == "accuracy")]
    assert own.set_index("selector")["other_value"].to_dict() == pytest.approx(
        summary.set_index("selector")["self_drop"].to_dict()
    )
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    assert "english and native side by side" in page
    assert page.count("<figure") == 4


def test_masks_of_one_run_are_asked_on_the_other(both, folder):
    moved = table(folder, "transferred_masks")
    directions = set(zip(moved["masks_of"], moved["questions_of"], strict=True))
    assert directions == {("english", "native"), ("native", "english")}
    # Native values are those of the run's own masks.
    effects = table(folder, "paired_effects")
    for asked, column in (("native", "other_value"), ("english", "value")):
        mine = moved[(moved["questions_of"] == asked) & moved["culture"].isna()]
        theirs = effects[effects["culture"].isna() & effects["selector"].notna()]
        keys = ["selector", "what", "measure"]
        assert mine.set_index(keys)["other_value"].to_dict() == pytest.approx(
            theirs.set_index(keys)[column].to_dict(), abs=1e-8
        )


def test_a_comparison_is_made_again_where_a_run_was(both):
    assert both.planned(*WORDS) == {}
    manifest = both.folder / "results/english/manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps(content | {"later": 1}), encoding="utf-8")
    assert both.planned(*WORDS) == {"compare": 1, "transfer": 2}


def test_what_can_not_be_reused_is_said_by_a_dry_run_in_a_line(both):
    both.write(NATIVE | {"dataset": "later", "reuse": ["results/english", "results/nowhere"]})
    for target in ([], ["plan"]):
        output = both.run("--dry-run", *target)
        assert output.count("reuse: ") == 1
        assert "config: note: reuse: results/nowhere: no such folder; nothing is reused from it\n" in output


def test_a_config_of_its_own_names_the_runs_alone(both):
    own = {"runs": ["results/english", "results/native"], "comparison": {"name": "mine"}}
    (both.folder / "compare.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    planned = both.run("compare", "--configfile", "compare.yaml", "--dry-run")
    assert "results/mine/comparison.html" in planned
    assert both.planned("compare", "--configfile", "compare.yaml") == {"compare": 1}
