from __future__ import annotations

from culture_neurons.data import reasons
from culture_neurons.data.facts.general import units
from culture_neurons.data.facts.general.items import Fact


def by_name(facts) -> dict[str, Fact]:
    return {fact.name: fact for fact in facts}


QUANTITIES, ABBREVIATIONS = by_name(units.quantities()), by_name(units.abbreviations())


def test_what_units_measure():
    for name, quantity in {
        "kilometer": "length", "hectare": "area", "liter": "volume", "kilogram": "mass", "hour": "time",
        "watt": "power", "joule": "energy", "pascal": "pressure", "knot": "speed", "kelvin": "temperature",
        "hertz": "frequency", "newton": "force", "radian": "angle", "byte": "information",
        "mile per hour": "speed", "cubic foot": "volume", "kilowatt hour": "energy",
    }.items():  # fmt: skip
        fact = QUANTITIES[name]
        assert (fact.right, fact.reason) == (quantity, ""), name
        assert len(fact.wrong) == len(units.QUANTITIES) - 1
        assert quantity not in fact.wrong


def test_units_are_left_out_with_a_reason():
    for name, reason in {
        "ounce": reasons.SEVERAL_QUANTITIES, "second": reasons.SEVERAL_QUANTITIES, "volt": reasons.SEVERAL_QUANTITIES,
        "sievert": reasons.SEVERAL_QUANTITIES, "pixel": reasons.SEVERAL_QUANTITIES,
        "horsepower": reasons.NAMES_ANSWER, "solar mass": reasons.NAMES_ANSWER, "pound of force": reasons.NAMES_ANSWER,
        "pound-force per square inch": reasons.NAMES_ANSWER,
        "shaku [JP]": reasons.OF_CULTURE, "Imp. gallon": reasons.OF_CULTURE, "British thermal unit": reasons.OF_CULTURE,
        "of mercury": reasons.NOT_A_NAME, "calorie [IT]": reasons.NOT_A_NAME,
    }.items():  # fmt: skip
        assert QUANTITIES[name].reason == reason, name


def test_a_name_that_only_holds_the_letters_of_a_quantity_stays():
    assert "time" in "centimeter"
    assert QUANTITIES["centimeter"].reason == ""


def test_abbreviations():
    for name, short in {
        "kilometer": "km", "kilogram": "kg", "megabyte": "MB", "mile per hour": "mph", "square meter": "m²",
        "volt": "V", "second": "sec", "pound": "lb", "teaspoon": "tsp",
    }.items():  # fmt: skip
        assert (ABBREVIATIONS[name].right, ABBREVIATIONS[name].reason) == (short, "")
    for name, reason in {
        "pint": reasons.SHARED_ABBREVIATION, "point": reasons.SHARED_ABBREVIATION, "byte": reasons.NO_ABBREVIATION,
        "percent": reasons.NO_ABBREVIATION, "degree Celsius": reasons.NO_ABBREVIATION, "carat": reasons.UNUSUAL,
        "knot": reasons.UNUSUAL, "koku [JP]": reasons.OF_CULTURE, "Beaufort 1": reasons.NOT_A_NAME,
    }.items():  # fmt: skip
        assert ABBREVIATIONS[name].reason == reason, name


def test_wrong_abbreviations_are_those_of_other_units_of_the_quantity():
    usable = {fact.right for fact in ABBREVIATIONS.values() if not fact.reason}
    for fact in ABBREVIATIONS.values():
        if not fact.reason:
            assert set(fact.wrong) <= usable
            assert len(fact.wrong) >= 8
            assert fact.right.casefold() not in {text.casefold() for text in fact.wrong}
    assert {"cm", "mi", "mm"} <= set(ABBREVIATIONS["kilometer"].wrong)
    assert {"kg", "kW"}.isdisjoint(ABBREVIATIONS["kilometer"].wrong)
    # The hour is compared with all units, since there are few of time. CLDR also writes it "h", as the henry "H".
    assert "kHz" in ABBREVIATIONS["hour"].wrong
    assert "H" not in ABBREVIATIONS["hour"].wrong


def test_a_name_is_there_once():
    assert len(QUANTITIES) == len(list(units.quantities()))
    assert len({name.casefold() for name in QUANTITIES}) == len(QUANTITIES)


def test_names_that_are_listed_are_those_of_units():
    assert set(QUANTITIES) >= units._SEVERAL | units._UNUSUAL
