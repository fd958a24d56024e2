"""How items are spelled: in plain Latin letters, in their own script, and folded to find equal ones."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

#: Letters that Unicode does not take apart into a Latin letter and a mark.
_LETTERS = str.maketrans({
    "ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D",
    "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i", "ə": "a", "ǝ": "a", "Ə": "A", "ħ": "h", "Ħ": "H",
    "ŋ": "n", "Ŋ": "N", "ɓ": "b", "Ɓ": "B", "ɗ": "d", "Ɗ": "D", "ƙ": "k", "Ƙ": "K", "ɛ": "e", "Ɛ": "E",
    "ɔ": "o", "Ɔ": "O",
    "’": "'", "‘": "'", "ʻ": "'", "ʼ": "'", "ʹ": "'", "`": "'", "–": "-", "‐": "-", "‑": "-",
})  # fmt: skip

#: The first word of a letter's name in Unicode, where it is not the name of the script.
_SCRIPTS = {"Cjk": "Han"}
#: What names hold beside letters and marks.
_SIGNS = frozenset("'.&- ")


@lru_cache(maxsize=200_000)
def unmarked(text: str) -> str:
    """Latin letters without marks: "Łódź" is "Lodz". Other scripts stay as they are."""
    if text.isascii():
        return text.replace("`", "'").strip()
    text = unicodedata.normalize("NFC", text).translate(_LETTERS)
    return unicodedata.normalize("NFC", "".join(_take_apart(letter) for letter in text)).strip()


def _take_apart(letter: str) -> str:
    parts = unicodedata.normalize("NFKD", letter)
    return parts[0] if len(parts) > 1 and "LATIN" in unicodedata.name(parts[0], "") else letter


@lru_cache(maxsize=200_000)
def fold(text: str) -> str:
    """A key that is equal for spellings of one name: no marks, case, hyphens or apostrophes; words joined by spaces."""
    text = unmarked(text).casefold().replace("'", "")
    if text.isascii():
        return " ".join(re.findall("[a-z0-9]+", text))
    return " ".join("".join(c if c.isalnum() or unicodedata.category(c) in ("Mn", "Mc") else " " for c in text).split())


@lru_cache(maxsize=200_000)
def script(text: str) -> str:
    """The scripts of a text's letters, by name: "Latin", "Han", "Han, Hiragana"; "" without letters."""
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else ""
    names = {unicodedata.name(c, "").split(" ")[0].title().partition("-")[0] for c in text if c.isalpha()} - {""}
    return ", ".join(sorted({_SCRIPTS.get(name, name) for name in names}))


def is_plain(text: str) -> bool:
    """Whether a text reads as a name: it begins with a letter and holds no digits, brackets, commas or the like."""
    long = len(text) > 1 or script(text) == "Han"
    return long and text[:1].isalpha() and all(c in _SIGNS or unicodedata.category(c)[0] in "LM" for c in text)


def skeleton(text: str) -> str:
    """A key that variants of one name share more often than not: "Eid al-Adha" and "Eid ul Adha", "Kowalski" and
    "Kowalska". Consonants without doubles; the folded text where these are fewer than three."""
    key = fold(text)
    consonants = re.sub(r"(.)\1+", r"\1", re.sub(r"[aeiouy\s]", "", key))
    return consonants if len(consonants) >= 3 else key
