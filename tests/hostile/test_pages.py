"""The report and the captions, made from tables whose every name is hostile: they show names as text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import docutils.core
import docutils.nodes
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from culture_neurons import files
from culture_neurons.errors import printable
from culture_neurons.report import figures, words
from culture_neurons.report.figures import caption_text
from culture_neurons.report.page import document, grids
from culture_neurons.report.registry import FigureFile
from tests.figures_tables import build
from tests.hostile.conftest import cases
from tests.report.test_page import PNG

#: Ways out of the text of an element, of an attribute, of a script, of a template, and of what is visible.
NAMES = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "</td></table><h1>x",
    "<!-- ", "]]>", "</pre><iframe src=//example.org>", "{{ 7*7 }}{% raw %}", "&lt;b&gt;&#60;b&#62;",
    "<svg/onload=alert(1)>", "javascript:alert(1)", "a\u202eb\u2066c", '=HYPERLINK("//x")', "-x", "all cultures",
    "</style><style>*{display:none}", "\x1b[31mred", "\ufeffx", "<plaintext>", "\x0c<b\x0bonclick=x>",
]  # fmt: skip
FINE = [f"name {i:02d}" for i in range(len(NAMES))]


class Elements(HTMLParser):
    """Every element with its attributes, but for the words of those that are shown as text; and the text between."""

    #: `data-who` is shown by the stylesheet, in front of a cell (`content: attr(...)`), as text.
    TEXT = ("alt", "data-who")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[Any] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, [(name, "" if name in self.TEXT else value) for name, value in attributes]))

    def handle_data(self, data: str) -> None:
        self.text += data

    def unknown_decl(self, data: str) -> None:
        self.elements.append(("declaration", data))

    handle_comment = handle_pi = unknown_decl


def made(folder: Path, names: list[str]) -> Elements:
    """The report of a run in which everything that can have a name has one of `names`, read from files."""
    model = names[1]
    build(folder / "tables", cultures=sorted(names[:9]), models=(names[1], names[6]), selectors=[*names[:3], "random"],
          fractions=(0.01,))  # fmt: skip
    tables = figures.read(folder / "tables")
    (folder / "overview.png").write_bytes(PNG)
    counts = pd.DataFrame(
        [(name, names[i % 4], side, 5) for i, name in enumerate(names) for side in ("identify", "evaluate")],
        columns=["culture", "category", "split", "n"],
    )
    dropped = pd.DataFrame({"sample_id": names, "culture": names, "reason": names})
    files.write_csv(folder / "counts.csv", counts)
    files.write_csv(folder / "dropped.csv", dropped)
    text = ["culture", "category", "split", "sample_id", "reason"]
    run = {
        "dataset": names[0], "config": {names[2]: names[6], "selectors": {names[3]: {"method": "random"}}},
        "models": {model: {"path": names[3], "chat_template": names[0]}}, "code": {names[0]: names[4]}, names[8]: names,
    }  # fmt: skip
    page = document.render(
        tables, folder, files.read_csv(folder / "counts.csv", text=text),
        files.read_csv(folder / "dropped.csv", text=text), run, {model: {f"accuracy {names[5]}": 0.5}},
        files=[FigureFile("overview")],
    )  # fmt: skip
    files.write_text(folder / "report.html", page)
    assert not any(character in page for character in "\u202e\u2066\x1b\x0c\x0b")
    return Elements(page)


def test_names_add_no_element_and_no_attribute_to_the_report(tmp_path: Path) -> None:
    hostile, fine = made(tmp_path / "hostile", NAMES), made(tmp_path / "fine", FINE)
    assert len(hostile.elements) > 500
    assert hostile.elements == fine.elements
    for name in NAMES:
        assert words.plain(name) in hostile.text
    for name in FINE:
        assert name in fine.text


def test_a_culture_called_like_the_sum_keeps_its_row() -> None:
    counts = pd.DataFrame({"culture": ["all cultures", "b"], "category": "x", "split": "identify", "n": [1, 2]})
    table = grids.counts_table(counts)
    assert table["culture"].to_list() == ["all cultures", "b", "all cultures"]
    assert table["all"].to_list() == [1, 2, 3]


markup = st.text(st.sampled_from('*`_|:<>\\[]().#=-~^ a1\n\t\r\u00a0\u2028\u202e\0é日"'), min_size=1, max_size=12)


@cases("captions")
@given(st.one_of(markup, st.sampled_from([*NAMES, "|x|", "`a`_", "x_", "__x", ".. raw:: html", "[1]_", "http://x.org",
                                          "a*b*", "**", "::", "- x", "\\", "me@x.org", ":sub:`2`"])))  # fmt: skip
def test_captions_show_names_literally(name: str) -> None:
    said = {f"drops_{name}": f"{name}: of {name} and {name}. {name}", "other": f"of {name}."}
    page = docutils.core.publish_doctree(caption_text.as_rst(said), settings_overrides={"report_level": 5})
    kinds = {type(node).__name__ for node in page.findall()}
    assert kinds == {"document", "bullet_list", "list_item", "paragraph", "strong", "Text"}
    shown = [": ".join(printable(" ".join(text.split())) for text in pair) for pair in said.items()]
    assert [item.astext() for item in page.findall(docutils.nodes.list_item)] == shown


@pytest.mark.parametrize("name", ["x\u202ey", "x\ny"])
def test_captions_are_one_line(name: str) -> None:
    text = caption_text.as_rst({name: name})
    assert text.count("\n") == 1
    assert "\u202e" not in text
