"""The page as a document: what may run, what can be read, and what a reader without sight or mouse gets."""

from __future__ import annotations

import base64
import hashlib
import re
from itertools import pairwise
from pathlib import Path

import pytest

from culture_neurons.report import figures
from culture_neurons.report.page import document as page_module
from culture_neurons.report.words import units_on_line
from tests.figures_tables import build
from tests.report.test_page import PNG, Page, page

CSS = (Path(page_module.__file__).with_name("document.css.j2")).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    build(folder / "tables", selectors=["cas", "random"], fractions=(0.01,))
    (folder / "overview.png").write_bytes(PNG)
    return page(folder, figures.read(folder / "tables"))


def test_nothing_runs_but_the_page_s_own_script(html):
    (policy,) = [a["content"] for tag, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not any("style" in attributes for _, attributes in Page(html).tags)  # the policy would not apply it


def test_the_page_can_be_read_by_a_screen_reader(html):
    tags = Page(html).tags
    assert dict(tags)["html"] == {"lang": "en"}
    assert [a.get("content") for t, a in tags if a.get("name") == "viewport"] == ["width=device-width, initial-scale=1"]
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(a.get("alt") and a.get("width") and a.get("height") for t, a in tags if t == "img")
    assert all(a.get("scope") in ("col", "row") for t, a in tags if t == "th")
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"].removeprefix("#") for t, a in tags if t == "a" and a["href"].startswith("#")]
    assert links[0] == "summary"  # the skip link
    assert set(links) <= set(ids)


def test_without_the_script_the_page_is_whole(html):
    tags = Page(html).tags
    assert not {"button", "input", "select"} & {tag for tag, _ in tags}  # nothing that does nothing
    assert not any("hidden" in attributes for _, attributes in tags)


def colours(block: str) -> dict[str, str]:
    """Names and values of the colours of one :root block."""
    return dict(re.findall(r"--(\w+): (#\w+)", block))


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of #rgb or #rrggbb."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
        for v in (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_texts_stand_out_from_their_ground():
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    schemes = [colours(block) for block in re.findall(r":root \{(.*?)\}", CSS, re.S)]
    assert len(schemes) == 3  # light, dark, paper
    for scheme in schemes:
        for name in ("ink", "soft", "link", "good", "bad", "none"):
            for ground in ("paper", "panel"):
                assert contrast(scheme[name], scheme[ground]) >= 4.5, (name, ground, scheme)
        if "field" in scheme:
            assert contrast(scheme["field"], scheme["paper"]) >= 3


def test_the_page_has_the_noun_of_the_run_and_names_stay(tmp_path):
    made = build(tmp_path / "tables", selectors=["cas", "random"], fractions=(0.01,), cultures=["joy", "Pop culture"])
    html = page(tmp_path, figures.read(made, ["cultures"], "emotion"))
    text = re.sub(r"<style>.*?</style>|<script>.*?</script>|<[^>]*>", " ", html, flags=re.S)
    assert "Emotion-sensitive neurons" in text
    assert "emotion-specific" in text
    assert "Pop culture" in text
    assert re.findall(r"(?<!Pop )\b[Cc]ultures?\b.{20}", text) == []


def test_numbers_keep_their_units_on_the_line():
    nbsp = "\N{NO-BREAK SPACE}"
    said = units_on_line("by 2.0 points (95 % interval, p = 0.020; p < 0.001), 0.3 nats of 3 pointsmen")
    assert said == (
        f"by 2.0{nbsp}points (95{nbsp}% interval, p{nbsp}={nbsp}0.020; p{nbsp}<{nbsp}0.001), 0.3{nbsp}nats "
        "of 3 pointsmen"
    )
