from __future__ import annotations

import re
from collections import Counter

import pandas as pd
import pytest

from culture_neurons.data import filtering, reasons, splitting
from culture_neurons.data.facts import countries, questions
from culture_neurons.data.facts.countries import Country
from culture_neurons.data.facts.items import Item
from culture_neurons.data.facts.spelling import fold, script
from culture_neurons.question_groups import units
from tests.data.conftest import kept, read_facts
from tests.data.facts.conftest import NATIVE

PLACES = [Country(code, name) for code, name in (("AA", "Alba"), ("BB", "Borea"), ("CC", "Corvia"), ("DD", "Doria"))]


def item(country: str, text: str, kind: str = "family name", native: str = "", **more) -> Item:
    return Item(kind, country, text, native, **more)


def rows(items: list[Item], options: int = 3, native: bool = False, seed: int = 1, places: list[Country] = PLACES):
    return questions.rows(items, places, ("recognise", "recall"), native, options, seed)


def options_of(table: list[dict], name: str) -> list[str]:
    return next(sorted(row["options"]) for row in table if row["sample_id"] == name)


def test_an_item_is_asked_in_both_directions():
    table = rows([item("AA", "Tanaka"), item("BB", "Kovacs"), item("CC", "Molnar")])
    one = {row["direction"]: row for row in table if row["item"] == "Tanaka"}
    recognise, recall = one["recognise"], one["recall"]
    assert recognise["sample_id"] == "aa-family-name-tanaka-recognise"
    assert recognise["options"][recognise["label"]] == "Alba"
    assert "Tanaka" in recognise["question"]
    assert "Tanaka" not in recognise["neutral"]
    assert recall["options"][recall["label"]] == "Tanaka"
    assert sorted(recall["options"]) == ["Kovacs", "Molnar", "Tanaka"]
    assert "Alba" in recall["question"]
    assert "Alba" not in recall["neutral"]
    assert recognise["question_id"] == recall["question_id"]
    assert recognise["half"] == recall["half"]
    for row in (recognise, recall):
        assert (row["culture"], row["country"], row["kind"], row["category"]) == ("Alba", "Alba", *["family name"] * 2)
        assert (row["script"], row["spelling"]) == ("Latin", "Latin")


def test_every_option_says_whose_it_is():
    items = [item("AA", "Tanaka", native="田中"), item("BB", "Kovacs"), item("CC", "Molnar"),
             item("BB", "", native="鈴木"), item("CC", "", native="李")]  # fmt: skip
    places = [Country("AA", "Alba Islands"), *PLACES[1:]]  # "the Alba Islands" within a sentence
    owner = {"the Alba Islands": "Alba Islands", "Borea": "Borea", "Corvia": "Corvia", "Doria": "Doria",
             "Tanaka": "Alba Islands", "田中": "Alba Islands", "Kovacs": "Borea", "鈴木": "Borea", "Molnar": "Corvia",
             "李": "Corvia"}  # fmt: skip
    table = rows(items, native=True, places=places)
    assert {row["direction"] for row in table} == {"recognise", "recall"}
    for row in table:
        assert row["option_cultures"] == [owner[text] for text in row["options"]]
        assert row["option_cultures"][row["label"]] == row["culture"]


def test_countries_without_items_of_the_kind_are_no_options():
    items = [item("AA", "Tanaka"), item("BB", "Kovacs"), item("CC", "Molnar"), item("DD", "Szeged", kind="city")]
    assert options_of(rows(items), "aa-family-name-tanaka-recognise") == ["Alba", "Borea", "Corvia"]


def test_countries_with_more_items_are_more_often_wrong_options():
    names = [f"{a}a{b}o{c}e" for a in "bdfg" for b in "klm" for c in "prst"]
    few = [item("BB", "zuze")]
    items = [item(code, name) for part, code in enumerate(("AA", "CC", "DD")) for name in names[part::3]]
    table = [row for row in rows([*items, *few], options=2) if row["country"] != "Borea"]
    for wrong, direction in (("Borea", "recognise"), ("zuze", "recall")):
        options = [row["options"] for row in table if row["direction"] == direction]
        # A 33rd of the others' items: uniform over countries it would be a third.
        assert 0 <= sum(wrong in pair for pair in options) / len(options) < 0.15


def test_words_are_compared_with_words_for_the_same_day():
    days = {"Monday": ("mona", "monb", "monc"), "Friday": ("fria", "frib", "fric")}
    items = [item(code * 2, word, kind="weekday", about=day)
             for day, words in days.items() for code, word in zip("ABC", words, strict=True)]  # fmt: skip
    table = rows(items)
    assert options_of(table, "aa-weekday-monday-mona-recall") == ["mona", "monb", "monc"]
    assert options_of(table, "cc-weekday-friday-fric-recall") == ["fria", "frib", "fric"]


def test_wrong_items_look_like_the_right_one():
    near = [item("BB", "Kovacs"), item("CC", "Molnar")]
    items = [item("AA", "Tanaka"), *near, item("BB", "Szentgyorgyvari"), item("CC", "de la Cruz Gomez")]
    for seed in range(5):
        assert options_of(rows(items, seed=seed), "aa-family-name-tanaka-recall") == ["Kovacs", "Molnar", "Tanaka"]
    words = (("AA", "Kovač"), ("BB", "Šimunić"), ("BB", "Simunic"), ("CC", "Žižek"), ("CC", "Zizek"))
    marked = [item(code, text, kind="month") for code, text in words]
    assert options_of(rows(marked), "aa-month-kovac-recall") == ["Kovač", "Šimunić", "Žižek"]


def test_variants_of_the_right_item_are_no_options():
    items = [item("AA", "Kowalski"), item("BB", "Kowalska"), item("CC", "Molnar"), item("DD", "Kovacs")]
    assert options_of(rows(items), "aa-family-name-kowalski-recall") == ["Kovacs", "Kowalski", "Molnar"]


def test_where_no_other_script_fits_an_item_is_left_out_in_both_directions():
    items = [item("AA", "Tanaka", native="田中"), item("BB", "Kovacs", native="Kovács"), item("CC", "Molnar")]
    table = [row for row in rows(items, native=True) if row["item"] == "田中"]
    assert [(row["sample_id"], row["excluded"]) for row in table] == [
        ("aa-family-name-田中-native", reasons.GIVEN_AWAY)
    ]
    items += [item("AA", "", native="鈴木"), *(item("CC", "", native=name) for name in ("王", "李"))]
    table = {row["direction"]: row for row in rows(items, native=True) if row["item"] == "田中"}
    assert sorted(table["recall"]["options"]) == ["李", "王", "田中"]
    # The other country of the script is an option of recognise; the rest fill up.
    assert {"Alba", "Corvia"} < set(table["recognise"]["options"])


def test_an_item_that_is_not_asked_is_no_option():
    items = [item("AA", "", native=name) for name in ("李", "王", "林", "张")] + [item("BB", "", native="田中")]
    table = rows(items, options=4, native=True)
    # The four have one wrong item each, and without them the fifth has none.
    assert {row["excluded"] for row in table} == {reasons.GIVEN_AWAY}
    assert len(table) == len(items)


def test_native_spellings_stay_with_their_item():
    items = [item("AA", "Tanaka", native="田中"), item("AA", "", native="鈴木"), item("BB", "Kovacs"),
             item("CC", "Molnar"), item("CC", "", native="王"), item("CC", "", native="李")]  # fmt: skip
    table = [row for row in rows(items, native=True) if row["item"] in ("Tanaka", "田中")]
    assert {row["spelling"] for row in table} == {"Latin", "native"}
    assert len({row["question_id"] for row in table}) == len({row["half"] for row in table}) == 1


def test_rows_that_are_left_out_have_a_reason_and_ids_of_their_own():
    bad = item("AA", "Silva", reason=reasons.SHARED)
    items = [item("AA", "Tanaka"), item("BB", "Kovacs"), item("CC", "Molnar"), bad, bad]
    left = [(row["sample_id"], row["excluded"]) for row in rows(items) if row["excluded"]]
    assert left == [("aa-family-name-silva", reasons.SHARED), ("aa-family-name-silva-2", reasons.SHARED)]


def test_halves_are_even_and_keep_units_together():
    items = [item("AA", f"N{a}m{b}r", kind=kind) for kind in ("city", "region") for a in "bcdfg" for b in "klpst"]
    entries = questions.entries(items, {place.code: place for place in PLACES}, native=False)
    half = questions.halves(entries, 1)
    by_unit: dict[str, set[str]] = {}
    for entry in entries:
        by_unit.setdefault(entry.unit, set()).add(half[entry])
    assert len(by_unit) == 25
    assert all(len(sides) == 1 for sides in by_unit.values())
    for kind in ("city", "region"):
        counts = Counter(half[entry] for entry in entries if entry.item.kind == kind)
        assert abs(counts["identify"] - counts["evaluate"]) <= 1
    assert half != questions.halves(entries, 2)


# What holds of all questions that are asked by default.


def test_options_are_different_and_one_is_right(rows_used: pd.DataFrame):
    home = dict(zip(zip(rows_used["kind"], rows_used["item"], strict=True), rows_used["country"], strict=True))
    for row in rows_used.itertuples():
        assert len({fold(option) for option in row.options}) == len(row.options) == 4
        right = countries.known()[row.country].text if row.direction == "recognise" else row.item
        assert row.options[row.label] == right
        assert row.option_cultures[row.label] == row.culture
        if row.direction == "recognise":
            assert [countries.known()[name].text for name in row.option_cultures] == row.options
        else:
            assert [home[row.kind, text] for text in row.options] == row.option_cultures
        assert len({script(option) for option in row.options}) == 1


def test_contexts_name_neither_the_answer_nor_a_country(rows_used: pd.DataFrame):
    for row in rows_used.itertuples():
        words = f" {fold(row.question)} "
        assert f" {fold(row.options[row.label])} " not in words
        assert re.fullmatch(r".*\w", row.question)
        if row.direction == "recognise":
            assert not [name for name in rows_used["country"].unique() if f" {fold(name)} " in words]
            assert row.item in row.question
            assert row.item not in row.neutral
        else:
            assert row.country not in row.neutral


def test_wrong_items_belong_to_other_countries(rows_used: pd.DataFrame):
    home = {}
    for row in rows_used.itertuples():
        home.setdefault((row.kind, row.about, row.item), set()).add(row.country)
    assert all(len(homes) == 1 for homes in home.values())
    for row in rows_used[rows_used["direction"] == "recall"].itertuples():
        others = [home[row.kind, row.about, text] for text in row.options if text != row.item]
        assert all(row.country not in homes for homes in others)
        assert len(set().union(*others)) == 3


def test_every_item_is_asked_in_both_directions(rows_used: pd.DataFrame):
    pairs = rows_used.groupby(["country", "kind", "about", "item"])["direction"].agg(sorted)
    assert all(pair == ["recall", "recognise"] for pair in pairs)


def test_places_and_wordings_are_balanced(rows_used: pd.DataFrame):
    for _, part in rows_used.groupby("direction"):
        expected = len(part) / 4
        chi_squared = sum((n - expected) ** 2 / expected for n in part["label"].value_counts())
        assert chi_squared < 16.3, "p < 0.001 for 3 degrees of freedom"
        assert part["wording"].value_counts(normalize=True).between(0.28, 0.39).all()


def test_lengths_do_not_tell_the_answer(rows_used: pd.DataFrame):
    recall = rows_used[rows_used["direction"] == "recall"]
    longest = [row.options[row.label] == max(row.options, key=len) for row in recall.itertuples()]
    shortest = [row.options[row.label] == min(row.options, key=len) for row in recall.itertuples()]
    assert sum(longest) / len(recall) < 0.4
    assert sum(shortest) / len(recall) < 0.4


def test_no_unit_is_on_both_sides_of_a_split(rows_used: pd.DataFrame, facts):
    filtered = filtering.apply(facts.rows, filtering.settings({}))
    rows = filtered.kept
    assert len(rows) == len(rows_used)
    for how in (splitting.Split(), splitting.Split(by_source=True)):
        side = splitting.assign(rows, how)
        assert (rows.assign(side=side, unit=units(rows)).groupby("unit")["side"].nunique() == 1).all()
        assert (rows.assign(side=side).groupby(["country", "item"])["side"].nunique() == 1).all()
        for _, part in rows.assign(side=side == "identify").groupby("culture"):
            assert part["side"].mean() == pytest.approx(0.5, abs=0.06)


def test_one_half_of_one_direction_can_be_read(rows_used: pd.DataFrame):
    evaluate = kept(read_facts(directions=["recall"], half="evaluate"))
    assert set(evaluate["half"]) == {"evaluate"}
    chosen = (rows_used["direction"] == "recall") & (rows_used["half"] == "evaluate")
    assert set(evaluate["sample_id"]) == set(rows_used.loc[chosen, "sample_id"])


# What changes with the settings, and what does not.


def test_more_countries_change_no_wording_half_or_context(rows_used: pd.DataFrame):
    names = [name for name in rows_used["country"].unique() if name != "Turkey"]
    fewer = kept(read_facts(countries=names)).set_index("sample_id")
    both = rows_used.set_index("sample_id")
    assert set(fewer.index) == set(both.index[both["country"] != "Turkey"])
    for column in ("question", "neutral", "wording", "half", "item", "question_id"):
        assert (fewer[column] == both.loc[fewer.index, column]).all()
    there = both.loc[fewer.index]
    turkish = set(both.loc[(both["country"] == "Turkey") & (both["direction"] == "recall"), "item"]) | {"Turkey"}
    without = [name for name, options in there["options"].items() if turkish.isdisjoint(options)]
    assert len(without) > len(fewer) / 2
    assert all(set(there.loc[name, "options"]) == set(fewer.loc[name, "options"]) for name in without)


def test_native_spellings(native):
    table = kept(native)
    own = table[table["spelling"] == "native"]
    assert {"Han", "Cyrillic", "Latin"} <= set(own["script"])
    assert "Thai" not in set(own["script"]), "Thai alone would tell the country"
    assert reasons.GIVEN_AWAY in set(native.rows["excluded"])
    for row in own[own["direction"] == "recall"].itertuples():
        assert {script(option) for option in row.options} == {row.script}
    tanaka = table[table["item"].isin(["Tanaka", "田中"])]
    assert set(tanaka["item"]) == {"Tanaka", "田中"}
    assert tanaka["question_id"].nunique() == tanaka["half"].nunique() == 1


def test_native_spellings_add_rows_and_change_none(native):
    latin = kept(read_facts(**NATIVE | {"native": False})).set_index("sample_id")
    both = kept(native).set_index("sample_id")
    added = both.index.difference(latin.index)
    assert set(both.loc[added, "spelling"]) == {"native"}
    for column in ("question", "options", "label"):
        assert (latin[column] == both.loc[latin.index, column]).all()
