"""The report in a real browser: nothing is broken, tables sort and filter, by keyboard too, on a phone, on paper."""

from __future__ import annotations

import math
import re

import pytest

from culture_neurons.report.registry import figures_of
from tests.workflow.test_run import run

PHONE = {"width": 390, "height": 844}
#: A column of a table as numbers: what stands before the bracket; NaN for a missing value.
COLUMN = """(name, heading) => {
  const table = [...document.querySelectorAll('.grid table')].find(t => t.caption.textContent.startsWith(name));
  const at = [...table.tHead.rows[0].cells].findIndex(c => c.textContent.trim() === heading);
  return [...table.tBodies[0].rows].map(r => r.cells[at].textContent.trim());
}"""
BUTTON = """(name, heading) => {
  const table = [...document.querySelectorAll('.grid table')].find(t => t.caption.textContent.startsWith(name));
  return [...table.tHead.rows[0].cells].find(c => c.textContent.trim() === heading).querySelector('button');
}"""


def column(browser, name: str, heading: str) -> list[str]:
    return browser.do(f"({COLUMN})('{name}', '{heading}')")


def numbers(texts: list[str]) -> list[float]:
    found = [re.match(r"[+-]?[\d,.]+", text.replace("\N{MINUS SIGN}", "-")) for text in texts]
    return [float(one[0].replace(",", "")) if one else math.nan for one in found]


def known(values: list[float]) -> list[float]:
    """Without missing values, which must be last."""
    there = [value for value in values if not math.isnan(value)]
    assert all(math.isnan(value) for value in values[len(there) :])
    return there


def sorting(browser, name: str, heading: str) -> str:
    return browser.do(f"({BUTTON})('{name}', '{heading}').closest('th').getAttribute('aria-sort')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_broken(browser, report, scheme):
    browser.problems.clear()
    browser.open(report, scheme=scheme)
    assert browser.problems == []
    assert browser.do("document.querySelectorAll('script').length") == 1
    # The page's own script ran, so its digest in the security policy is right, and so is that of its style.
    assert browser.do("document.querySelectorAll('thead button').length") > 20
    assert browser.do("getComputedStyle(document.querySelector('.scroll')).overflowX") == "auto"


def test_the_security_policy_stops_what_is_not_ours(browser, made_up):
    browser.open(made_up)
    browser.do("""(() => { const s = document.createElement('script'); s.textContent = 'window.ran = true';
                  document.body.append(s); })()""")  # fmt: skip
    assert browser.do("window.ran === undefined")
    assert browser.do("fetch('http://127.0.0.1:1/').then(() => 'sent', e => 'refused')") == "refused"
    browser.problems.clear()


def test_figures_are_there_with_words(browser, report):
    browser.open(report)
    found = browser.do("""Promise.all([...document.images].map(i => i.decode().catch(() => 0))).then(() =>
        [...document.images].map(i => [i.naturalWidth, i.alt.length, !!i.closest('figure, .samples')]))""")
    assert len(found) >= 4
    assert all(width > 0 and words > 10 and placed for width, words, placed in found)
    assert browser.do("[...document.querySelectorAll('figure')].every(f => f.querySelector('figcaption').textContent)")


def test_all_figures_of_the_demo_are_shown(browser, demo):
    browser.open(demo)
    drawn = {path.stem for path in (demo.parent / "figures").glob("*.png")}
    assert drawn == {figure.stem for figure in figures_of(run("config.yaml"))}
    assert browser.do("document.querySelectorAll('figure img').length") == len(drawn)


def test_numbers_sort_as_numbers_in_both_directions(browser, report):
    browser.open(report)
    table, heading = "tables/summary.csv", "self change"
    before = column(browser, table, heading)
    browser.do(f"({BUTTON})('{table}', '{heading}').click()")
    assert sorting(browser, table, heading) == "ascending"
    up = known(numbers(column(browser, table, heading)))
    assert up == sorted(up)
    browser.do(f"({BUTTON})('{table}', '{heading}').click()")
    assert sorting(browser, table, heading) == "descending"
    down = known(numbers(column(browser, table, heading)))
    assert down == sorted(up, reverse=True)
    assert len(set(up)) > 1
    browser.do(f"({BUTTON})('{table}', '{heading}').click()")
    assert sorting(browser, table, heading) == "none"
    assert column(browser, table, heading) == before


def test_texts_sort_and_only_one_column_does(browser, report):
    browser.open(report)
    table = "tables/baseline.csv"
    for heading in ("n", "culture"):
        browser.do(f"({BUTTON})('{table}', '{heading}').click()")
    assert (sorting(browser, table, "n"), sorting(browser, table, "culture")) == ("none", "ascending")
    assert browser.do(f"""(({COLUMN})('{table}', 'culture')).every((v, i, all) => !i ||
        new Intl.Collator('en', {{numeric: true, sensitivity: 'base'}}).compare(all[i - 1], v) <= 0)""")


def test_tables_sort_by_keyboard(browser, demo):
    browser.open(demo)
    table, heading = "tables/summary.csv", "self change"
    browser.do(f"({BUTTON})('{table}', 'top fraction').focus()")
    browser.press("Tab")
    assert browser.do("document.activeElement.textContent") == heading
    for key, expected in (("Enter", "ascending"), (" ", "descending")):
        browser.press(key)
        assert sorting(browser, table, heading) == expected
    assert browser.do("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_first_stop_of_the_keyboard_is_the_skip_link(browser, report):
    browser.open(report)
    browser.press("Tab")
    assert browser.do("document.activeElement.className") == "skip"
    assert browser.do("document.activeElement.getBoundingClientRect().left") >= 0
    browser.press("Enter")
    assert browser.do("location.hash") == "#summary"


FILTER = """(name, words, choices) => {
  const grid = [...document.querySelectorAll('.grid')].find(
    g => g.querySelector('caption').textContent.startsWith(name));
  const field = grid.querySelector('input');
  field.value = words;
  for (const label of grid.querySelectorAll('label'))
    if (label.firstChild.textContent in choices)
      label.querySelector('select').value = '=' + choices[label.firstChild.textContent];
  field.dispatchEvent(new Event('input', {bubbles: true}));
  const rows = [...grid.querySelector('table').tBodies[0].rows];
  return [rows.filter(r => r.getClientRects().length).map(r => r.textContent), rows.length,
          grid.querySelector('output').textContent];
}"""  # fmt: skip


def test_filters_leave_the_rows_that_were_asked_for(browser, report):
    browser.open(report)
    shown, total, said = browser.do(f"({FILTER})('tables/evidence.csv', '', {{}})")
    assert len(shown) == total
    shown, _, said = browser.do(f"({FILTER})('tables/evidence.csv', 'SELF-VS-random', {{measure: 'logprob'}})")
    assert 0 < len(shown) < total
    assert all("self-vs-random" in row and "logprob" in row for row in shown)
    assert said == f"{len(shown)} of {total} rows"
    shown, _, said = browser.do(f"({FILTER})('tables/evidence.csv', 'nothing is called so', {{measure: 'logprob'}})")
    assert (shown, said) == ([], f"0 of {total} rows")


def test_controls_have_names(browser, report):
    browser.open(report)
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node.get("ignored") and node.get("role", {}).get("value") in
        ("searchbox", "combobox", "button", "img", "image", "link", "table", "region")
    ]  # fmt: skip
    assert {"searchbox", "combobox", "button", "table"} <= {role for role, _ in found}
    assert [pair for pair in found if not pair[1].strip()] == []


@pytest.mark.parametrize("opened", [False, True])
def test_a_phone_does_not_scroll_sideways(browser, report, opened):
    browser.open(report, **PHONE)
    if opened:
        browser.do("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    width, room = browser.do("[document.documentElement.scrollWidth, innerWidth]")
    wide = browser.do("""[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, pre, .skip') &&
        e.getBoundingClientRect().right > innerWidth + 1).slice(0, 5).map(e => e.tagName + '.' + e.className)""")
    assert (width, room, wide) == (PHONE["width"], PHONE["width"], [])
    assert browser.do("[...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)")


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1280])
def test_the_table_of_cultures_fits(browser, made_up, width):
    browser.open(made_up, width=width, height=844)
    room, needed = browser.do("""(() => { const e = document.querySelector('.cultures').closest('.scroll');
        return [e.clientWidth, e.scrollWidth]; })()""")
    assert needed <= room
    named = browser.do("""[...document.querySelectorAll('.cultures tbody td')].slice(0, 3).map(e =>
        getComputedStyle(e, '::before').display !== 'none')""")
    assert set(named) == {width <= 640}  # without its head, each cell says whose it is


def test_paper_has_no_controls_and_everything_is_open(browser, made_up):
    browser.open(made_up)
    browser.call("Emulation.setEmulatedMedia", media="print")
    hidden = browser.do("""['nav', '.tools', '.skip'].every(s => [...document.querySelectorAll(s)].every(e =>
        !e.getClientRects().length))""")
    rows = browser.do("""[...document.querySelectorAll('.long')].map(t => [...t.tBodies[0].rows].filter(r =>
        r.getClientRects().length).length)""")
    browser.call("Emulation.setEmulatedMedia", media="")
    assert hidden
    assert rows
    assert set(rows) == {12}
    browser.do("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.do("document.querySelectorAll('details:not([open])').length") == 0
    browser.do("window.dispatchEvent(new Event('afterprint'))")
    assert browser.do("document.querySelectorAll('details:not([open])').length") > 0


def test_the_page_prints(browser, demo):
    browser.open(demo)
    paper = browser.pdf()
    assert paper.startswith(b"%PDF")
    assert len(paper) > 100_000
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) <= 25


def test_a_figure_opens_large_on_a_phone(browser, demo):
    browser.open(demo, **PHONE)
    before = browser.do("document.querySelector('figure img').getBoundingClientRect().width")
    browser.do("document.querySelector('figure .open').click()")
    after = browser.do("document.querySelector('dialog img').getBoundingClientRect().width")
    assert after > 2 * before
    assert browser.do("document.querySelector('dialog').contains(document.activeElement)")
    browser.do("document.querySelector('dialog button').click()")
    browser.do("new Promise(done => setTimeout(done, 50))")
    assert browser.do("document.querySelectorAll('dialog').length") == 0


def test_without_the_script_everything_can_be_read(browser, made_up):
    browser.open(made_up, script=False)
    html = browser.call("DOM.getOuterHTML", nodeId=browser.call("DOM.getDocument")["root"]["nodeId"])["outerHTML"]
    assert "<button" not in html
    assert "<input" not in html
    browser.open(made_up)
    assert html.count("<table") == browser.do("document.querySelectorAll('table').length") > 5
