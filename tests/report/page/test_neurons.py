"""Cards on the page: what a reader sees and hears of a neuron, and that nothing of a file gets in unescaped."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from culture_neurons.errors import FileError
from culture_neurons.report import figures
from culture_neurons.report.page import neurons
from tests.figures_tables import build
from tests.report.test_page import EVIL, Page, page

MODEL = "planted-qwen2.5-vl"


def jpeg() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode()


def content(**changes):
    card = {
        "culture": "A", "layer": 3, "neuron": 17, "rank": 1, "score": 0.25,
        "ranks": {"cas": 1, "lap": 1234, "mad": None},
        "planted": True, "selected_again": 0.875, "value": [0.3, 0.1], "low": [0.25, None], "high": [0.37, None],
        "samples": [{"sample_id": "q1", "activation": 1.5}, {"sample_id": "q2", "activation": 0.5}],
    }  # fmt: skip
    samples = {
        "q1": {"culture": "A", "question": "Which dish?", "answer": "zigi", "image": jpeg()},
        "q2": {"culture": "B", "question": "Which dance?", "answer": "", "image": None},
    }
    return {"selector": "cas", "top_fraction": "0.01", "cultures": ["A", "B"], "cards": [{**card, **changes}],
            "samples": samples}  # fmt: skip


@pytest.fixture
def tables(tmp_path):
    return figures.read(build(tmp_path / "tables", cultures=["A", "B"], selectors=["cas"], fractions=(0.01,)))


def test_a_card_says_where_when_and_for_what(tmp_path, tables):
    html = page(tmp_path, tables, cards={MODEL: content()})
    parsed = Page(html)
    assert 'Layer 3, neuron 17 <span class="mark">planted neuron</span>' in html
    (facts,) = [p for p in parsed.parts["p"] if "Rank by selector" in p]
    assert "score 0.250, rank 1, chosen again in 88\u00a0% of resamples" in facts
    assert "CAS\u00a01, LAP\u00a01,234, MAD\u00a0–" in facts
    (drawing,) = [a for tag, a in parsed.tags if tag == "svg"]
    assert drawing["aria-label"] == (
        "Fires at 30.0\u00a0% [25.0, 37.0] of the tokens of A; of other cultures most for B, 10.0\u00a0%"
    )
    assert [a["alt"] for tag, a in parsed.tags if tag == "img"] == ["Picture of this question"]
    items = [" ".join(item.split()) for item in parsed.parts["li"] if "mean activation" in item]
    assert items == [
        "A (own culture) Which dish? zigi mean activation 1.5",
        "no pictureB Which dance? mean activation 0.5",
    ]
    assert f"{MODEL} (planted): chosen by CAS" in html


@pytest.mark.parametrize("share", [1.0, None])
def test_one_image_is_no_evidence_that_a_neuron_would_be_chosen_again(tmp_path, tables, share):
    html = page(tmp_path, tables, cards={MODEL: {**content(selected_again=share), "units": {"A": 1, "B": 9}}})
    (facts,) = [p for p in Page(html).parts["p"] if "Rank by selector" in p]
    assert "rank 1, not known whether other questions would choose it (all recorded ones are about one image)" in facts
    assert "chosen again" not in html.split("<main>")[1]
    html = page(tmp_path, tables, cards={MODEL: {**content(selected_again=share), "units": {"A": 2, "B": 9}}})
    assert ("chosen again in 100\u00a0% of resamples" in html) == (share is not None)
    assert "not known whether" not in html


def test_models_without_cards_have_no_section(tmp_path, tables):
    assert 'id="neurons"' not in page(tmp_path, tables)
    assert 'href="#neurons"' not in page(
        tmp_path, tables, cards={"other": content(), MODEL: {**content(), "cards": []}}
    )


def test_the_drawing_is_to_scale():
    made = neurons._drawing(content()["cards"][0], ["A", "B"])
    own, other = made["rows"]
    room = neurons.WIDTH - neurons.LEFT - 6
    assert [text for _, text in made["ticks"]] == ["0", "25", "50"]
    assert own["value"] == pytest.approx(neurons.LEFT + room * 0.3 / 0.5, abs=0.1)
    assert other["value"] == pytest.approx(neurons.LEFT + room * 0.1 / 0.5, abs=0.1)
    assert (own["own"], other["own"], other["low"]) == (True, False, None)


@pytest.mark.parametrize(("value", "end"), [(0, 1), (0.3, 0.5), (1, 1), (37, 50), (51, 100), (100, 100), (2.0001, 5)])
def test_scales_end_at_round_numbers(value, end):
    assert neurons._round_up(value) == pytest.approx(end)


def test_texts_of_cards_are_escaped(tmp_path, tables):
    evil = content(culture=EVIL, ranks={EVIL: 1})
    evil["cultures"] = [EVIL, "B"]
    for sample in evil["samples"].values():
        sample |= {"culture": EVIL, "question": EVIL, "answer": f"\u202e{EVIL}"}
    html = page(tmp_path, tables, cards={MODEL: evil})
    tags = Page(html).tags
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    assert [a["src"][:23] for tag, a in tags if tag == "img"] == ["data:image/jpeg;base64,"]
    assert "\u202e" not in html


@pytest.mark.parametrize(
    "change",
    [{"value": [0.1]}, {"layer": "x"}, {"samples": [{"sample_id": "none"}]}, {"ranks": []}, {"rank": None}],
)
def test_a_file_of_another_layout_is_named(tmp_path, tables, change):
    with pytest.raises(FileError, match=rf"cards\.json of {MODEL}: not what steps\.cards writes"):
        page(tmp_path, tables, cards={MODEL: content(**change)})


@pytest.mark.parametrize("image", ['"><script>', "PHN2Zz4=", base64.b64encode(b"GIF89a").decode()])
def test_a_picture_that_is_none_is_refused(tmp_path, tables, image):
    bad = content()
    bad["samples"]["q1"]["image"] = image
    with pytest.raises(FileError, match=r"cards\.json"):
        page(tmp_path, tables, cards={MODEL: bad})
