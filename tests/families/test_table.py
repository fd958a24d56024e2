"""docs/model-families.md says what was checked, of the families that there are."""

import re
from importlib.metadata import version

import pytest

from tests.families import table
from tests.families.registry import families
from tests.families.running import works

KEPT = table.read()
OF = {mode: [n for n, result in KEPT["families"].items() if works(result, mode)] for mode in ("text", "images")}
AGAIN = "run make check-models"


def test_the_table_has_the_families_of_the_registries_and_no_others():
    assert sorted(KEPT["families"]) == sorted(families()), AGAIN
    assert KEPT["versions"]["transformers"] == version("transformers"), AGAIN


def test_the_page_is_what_the_results_say():
    assert table.TABLE.read_text(encoding="utf-8") == table.text(KEPT), AGAIN


def test_each_family_has_one_row_and_the_numbers_above_are_those_of_the_rows():
    page = table.TABLE.read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")]
    assert {len(row) for row in rows} == {9}
    assert sorted(row[0].strip("`") for row in rows) == sorted(families())
    answering = [sum(row[column] == "yes" for row in rows) for column in (1, 2)]
    text, everything, images = map(int, re.search(r"(\d+) of (\d+) families .* (\d+) questions", page).groups())
    assert [text, images] == answering == [len(OF["text"]), len(OF["images"])]
    assert everything == len(rows)
    for row in rows:  # whatever does not work has a reason
        assert row[-1] or not {"no", "text", "images"} & set(row[1:7]), row[0]


@pytest.mark.parametrize(("mode", "at_least"), [("text", 115), ("images", 45)])
def test_as_many_families_work_as_the_docs_promise(mode, at_least):
    assert len(OF[mode]) >= at_least


RESULT = {
    "text": dict.fromkeys(("answer", "record", "ablate", "attribute", "generate"), "") | {"attribute": "no q | proj"},
    "images": {"answer": "tiles differ"} | dict.fromkeys(("record", "ablate", "attribute", "generate"), "no answers"),
    "vision": True,
    "sites": ["gate_proj", "up_proj"],
    "plain": False,
}


def test_a_row_says_what_works_and_why_not():
    assert table.row("some", RESULT) == [
        "`some`", "yes", "no", "text", "text", "no", "text", "needed",
        "attribute: no q / proj; answer of images: tiles differ; attribution without q_proj, k_proj, v_proj",
    ]  # fmt: skip
    plain = RESULT | {"sites": ["gate_proj", "q_proj", "k_proj", "v_proj"], "plain": True}
    assert table.row("plain", plain)[-1] == "attribute: no q / proj; answer of images: tiles differ"
    assert table.row("other", {"refused": "holds experts"}) == [
        "`other`", "no", "", "no", "no", "no", "no", "", "holds experts",
    ]  # fmt: skip
