"""Names in any script: fonts that have the glyphs, and a visible escape where none has.

DejaVu Sans comes with matplotlib and covers Latin, Greek, Cyrillic and much of Arabic, so that
most figures depend on no font of the machine. For other scripts the fonts of the system are searched.
A character that no font has is written as Unicode calls it, where it stands for a sound (Hangul, kana and other
alphabets), else as its code point: never an empty box, never a warning. `without_font` says which names have any.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

BASE = "DejaVu Sans"
#: How Unicode names characters that stand for a sound: the last word is it, in Latin letters.
_SOUND = re.compile(r"(?:LETTER|SYLLABLE|VOWEL SIGN)(?: SMALL)? ([A-Z]+)$")
ELLIPSIS = "…"


@cache
def _face(path: str) -> FT2Font | None:
    try:
        return FT2Font(path)
    except (OSError, RuntimeError, ValueError):
        return None


def _has(path: str, character: str) -> bool:
    face = _face(path)
    return face is not None and face.get_char_index(ord(character)) != 0


@cache
def _file(family: str) -> str | None:
    """The file that matplotlib draws this family with, in its normal weight (we use no other)."""
    try:
        return str(font_manager.findfont(font_manager.FontProperties(family=family), fallback_to_default=False))
    except ValueError:
        return None


@cache
def family_has(family: str, character: str) -> bool:
    """Whether matplotlib can draw this character with this family."""
    path = _file(family)
    return path is not None and _has(path, character)


@cache
def system_fonts() -> tuple[str, ...]:
    """Font files of this machine, plain sans-serif ones first, then by path."""

    def rank(path: str) -> tuple[bool, bool, str]:
        name = Path(path).stem.lower()
        return ("sans" not in name, not ("regular" in name or "-" not in name), path)

    # Matplotlib embeds these kinds in a PDF; others (bitmap, Type 1) it does not.
    paths = {str(path) for path in font_manager.findSystemFonts()}
    return tuple(sorted((p for p in paths if p.lower().endswith((".ttf", ".otf", ".ttc"))), key=rank))


@cache
def _family_for(character: str) -> str | None:
    """The first family of the system that has the character, made known to matplotlib; None if none has."""
    for path in system_fonts():
        if not _has(path, character):
            continue
        family = _face(path).family_name
        if "Last" in family and "Resort" in family:  # draws boxes for everything
            continue
        if path not in {entry.fname for entry in font_manager.fontManager.ttflist}:
            font_manager.fontManager.addfont(path)
            _file.cache_clear()
            family_has.cache_clear()
        if family_has(family, character):
            return family
    return None


def families(texts: Iterable[str]) -> list[str]:
    """Font families, in order of preference, that together draw all of `texts` as `printable` writes them."""
    chosen = [BASE]
    for character in sorted({c for text in texts for c in text if ord(c) > 126}):
        if not any(family_has(family, character) for family in chosen):
            family = _family_for(character)
            if family is not None:
                chosen.append(family)
    return chosen


def _drawn(character: str) -> str:
    if " " <= character <= "~":
        return character
    if character.isspace():
        return " "
    if unicodedata.category(character) not in {"Cc", "Cs", "Co", "Cn"} and (
        family_has(BASE, character) or _family_for(character) is not None
    ):
        return character
    plain = unicodedata.normalize("NFKD", character)
    if plain != character and all(" " <= c <= "~" or unicodedata.combining(c) for c in plain):
        return "".join(c for c in plain if c <= "~")
    if unicodedata.category(character) == "Cf":  # joiners and marks of direction: nothing to see
        return ""
    sound = _SOUND.search(unicodedata.name(character, ""))
    return sound[1].lower() if sound else f"<{ord(character):X}>"


def _is_missing(character: str) -> bool:
    return (
        ord(character) > 126
        and unicodedata.category(character)[0] in "LMNPS"
        and not family_has(BASE, character)
        and _family_for(character) is None
    )


def without_font(texts: Iterable[str]) -> dict[str, str]:
    """Those of the texts that hold characters which no font here has -> what figures show in their place, sorted."""
    return {text: printable(text) for text in sorted(set(texts)) if any(map(_is_missing, text))}


def printable(text: str) -> str:
    """`text` on one line, with every character that no font has written as its sound, or code point: `<4E2D>`."""
    return "".join(_drawn(character) for character in str(text))


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text: str, width: int) -> str:
    """`text` with an ellipsis in the middle if it is wider than `width` columns (a wide character takes two)."""
    if _width(text) <= width:
        return text
    head, tail = text, text
    while head and _width(head) > (width - 1 + 1) // 2:
        head = head[:-1]
    while tail and (_width(tail) > (width - 1) // 2 or unicodedata.category(tail[0]).startswith("M")):
        tail = tail[1:]
    return head.rstrip() + ELLIPSIS + tail.lstrip()


def label(text: str, width: int = 18) -> str:
    """A text from data as matplotlib shall show it: printable, shortened, `$` taken literally."""
    return shorten(printable(text), width).replace("$", r"\$")


def labels(texts: Sequence[str], width: int = 18) -> list[str]:
    """Labels for different names; names that look alike once shortened get a number."""
    seen: dict[str, int] = {}
    result = []
    for text in texts:
        shown = label(text, width)
        seen[shown] = seen.get(shown, 0) + 1
        result.append(shown if seen[shown] == 1 else f"{shown} ({seen[shown]})")
    return result
