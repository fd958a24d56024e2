from __future__ import annotations

import pytest

from culture_neurons.data.facts import spelling


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Łódź", "Lodz"),
        ("São Paulo", "Sao Paulo"),
        ("Nguyễn", "Nguyen"),
        ("İstanbul", "Istanbul"),
        ("Diyarbakır", "Diyarbakir"),
        ("Xi’an", "Xi'an"),
        ("Straße", "Strasse"),
        ("Tokyo", "Tokyo"),
        ("月曜日", "月曜日"),
        ("Киев", "Киев"),
        ("हिन्दी", "हिन्दी"),
    ],
)
def test_latin_letters_lose_their_marks_and_other_scripts_stay(text, plain):
    assert spelling.unmarked(text) == plain


def test_folded_spellings_of_one_name_are_equal():
    assert spelling.fold("São-Paulo") == spelling.fold("sao paulo") == "sao paulo"
    assert spelling.fold("Xi’an") == spelling.fold("Xian")
    assert spelling.fold("Emperor's Birthday") == "emperors birthday"
    assert spelling.fold("भारत") == "भारत", "vowel signs are no marks to be lost"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Tanaka", "Latin"),
        ("Łódź", "Latin"),
        ("Иванов", "Cyrillic"),
        ("田中", "Han"),
        ("文化の日", "Han, Hiragana"),
        ("กวาง", "Thai"),
        ("12", ""),
    ],
)
def test_scripts(text, name):
    assert spelling.script(text) == name


@pytest.mark.parametrize(
    "text", ["Rio de Janeiro", "Xi'an", "Győr-Moson-Sopron", "田中", "王", "อังคาร", "Dr. B. R. Ambedkar"]
)
def test_names_are_plain(text):
    assert spelling.is_plain(text)


@pytest.mark.parametrize(
    "text",
    ["", "A", "6th of October City", "1月", "Elgeyo/Marakwet", "Eid (estimated)", "Khakasiya, Respublika", " Rio"],
)
def test_what_holds_digits_brackets_or_commas_is_not_plain(text):
    assert not spelling.is_plain(text)


def test_variants_of_a_name_share_a_skeleton():
    assert spelling.skeleton("Eid al-Adha") == spelling.skeleton("Eid-ul-Adha")
    assert spelling.skeleton("Kowalski") == spelling.skeleton("Kowalska")
    assert spelling.skeleton("Mohamed") == spelling.skeleton("Muhammad")
    assert spelling.skeleton("Tanaka") != spelling.skeleton("Nakata")
    assert spelling.skeleton("Abe") == "abe", "too few consonants to tell names apart"
