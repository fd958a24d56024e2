import re
from pathlib import Path

import pytest

from culture_neurons import layout
from culture_neurons.errors import FileError

#: Parts with hard names: dots, dashes, and words that paths have elsewhere.
HARD = {
    "dataset": "run-1.0", "model": "sets", "selector": "cas_top0.1", "shard": "0", "mask_shard": "12", "seed": "3",
    "fraction": "0.01", "variant": "x-0.5", "choice": "richest", "suffix": "png", "task": "a_b", "set": "quiz",
    "control": "blank", "table": "sets_effects", "rule": "tabulate", "figure": "matrix_m_cas", "kind": "questions",
    "group": "0", "masks_of": "cvqa-native", "job": "m/sets/quiz/infer_0", "folder": "decoder",
}  # fmt: skip


#: Folders of each kind.
OF = ["", "sets/quiz.v2/", "tasks/mrpc/", "mentions/", "tokens/last/", "choose/re.c/", "robustness/"]


@pytest.mark.parametrize("of", OF)
@pytest.mark.parametrize("name", layout.PATHS)
def test_key_reads_what_path_was_given(name, of):
    given = {part: (HARD | {"of": of})[part] for part in layout.parts(name)}
    path = layout.path(name, dataset="run-1.0", **given)
    assert layout.key(name, path) == given | {"dataset": "run-1.0"}
    assert layout.key(name, Path("/elsewhere") / path) == given | {"dataset": "run-1.0"}


def test_no_two_kinds_of_files_share_a_path():
    seen = {}
    for name in layout.PATHS:
        for of in ("", "sets/quiz/"):
            given = {part: (HARD | {"of": of, "model": "m", "suffix": name})[part] for part in layout.parts(name)}
            path = layout.path(name, dataset="d", **given)
            assert seen.setdefault(path, name) == name


def test_parts_that_are_not_given_stay_for_snakemake():
    assert layout.path("masks", dataset="d", fraction="0.1") == "results/d/{model}/masks/{selector}_top0.1.parquet"
    with pytest.raises(KeyError, match="masks has no part fractoin"):
        layout.path("masks", fractoin="0.1")


def test_files_are_found_by_their_parts():
    files = ["results/d/m/predictions.parquet", "results/d/m/sets/quiz/predictions.parquet"]
    assert layout.by("predictions", files, "model", "set") == {
        ("m", "d"): Path(files[0]), ("m", "quiz"): Path(files[1]),
    }  # fmt: skip
    controls = ["results/d/m/controls/none.parquet", "results/d/m/sets/quiz/controls/none.parquet"]
    assert list(layout.by("image_control", controls, "model", "of", "control", "set")) == [
        ("m", "", "none", "d"), ("m", "sets/quiz/", "none", "quiz"),
    ]  # fmt: skip
    own, quiz = "results/d/m/ablation/cas_top0.1.parquet", "results/d/m/sets/quiz/ablation/cas_x1e-5.parquet"
    assert list(layout.by("outcomes", [own], "selector", "of", "fraction")) == [("cas", "", "0.1")]
    assert list(layout.by("outcomes", [quiz], "selector", "of", "factor")) == [("cas", "sets/quiz/", "1e-5")]
    rules = ["results/d/m/tokens/last/statistics.h5"]
    assert list(layout.by("statistics", rules, "model", "rule")) == [("m", "last")]


def test_a_file_elsewhere_and_one_that_is_given_twice_are_refused():
    with pytest.raises(FileError, match=r"x\.parquet: expected a path like results/\{dataset\}/\{model\}/masks/"):
        layout.by("masks", ["x.parquet"], "model")
    with pytest.raises(FileError, match=r"cas_permuted\.parquet: names no factor; expected one in a path like resu"):
        layout.by("outcomes", ["d/m/robustness/ablation/cas_permuted.parquet"], "model", "factor")
    twice = ["a/m/masks/cas_top0.1.parquet", "b/m/masks/cas_top0.1.parquet"]
    with pytest.raises(FileError, match=r"a/m/.* and b/m/.* are both of m/cas; expected one of them"):
        layout.by("masks", twice, "model", "selector")


def test_one_of_is_one_of_the_names_and_nothing_else():
    assert re.fullmatch(layout.one_of(["", "sets/a.b/"]), "sets/a.b/")
    assert re.fullmatch(layout.one_of(["", "sets/a.b/"]), "")
    assert not re.fullmatch(layout.one_of(["sets/a.b/"]), "sets/aXb/")
    assert not re.fullmatch(layout.one_of(iter([])), "")
