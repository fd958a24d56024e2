"""What the groups of a run are called: the config's `group_noun`, in every sentence, title and label.

All texts here are written for cultures; a run on emotions or countries has them reworded where they leave: `reword`
knows the forms of one word, and leaves names of data alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: The noun that texts are written with.
CULTURE = "culture"
_WORD = re.compile(r"\b(?:(?P<article>[Aa])(?P<space>\s))?(?P<word>[Cc]ulture)(?P<plural>s?)\b")


def plural_of(noun: str) -> str:
    """The regular plural: countries, classes, emotions."""
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return noun + ("es" if re.search(r"(s|x|z|ch|sh)$", noun) else "s")


def reword(text: str, noun: str, names: Iterable[str] = ()) -> str:
    """The text with `noun` in place of "culture", in its plural and with its article; `names` of data stay as they are.

    "a culture's mask" -> "an emotion's mask", "Cultures" -> "Emotions", "culture-specific" -> "emotion-specific".
    """
    if noun == CULTURE:
        return text
    kept = sorted((name for name in names if _WORD.search(name)), key=len, reverse=True)
    if not kept:
        return _WORD.sub(lambda found: _form(found, noun), text)
    pieces = re.split(f"({'|'.join(map(re.escape, kept))})", text)
    return "".join(
        piece if i % 2 else _WORD.sub(lambda found: _form(found, noun), piece) for i, piece in enumerate(pieces)
    )


def _form(found: re.Match[str], noun: str) -> str:
    word = plural_of(noun) if found["plural"] else noun
    if found["word"][0].isupper():
        word = word[0].upper() + word[1:]
    if not found["article"]:
        return word
    vowel = re.match(r"[aeio]|u(?!ni)", noun, re.IGNORECASE)
    return f"{found['article']}{'n' if vowel else ''}{found['space']}{word}"
