"""Public holidays (holidays), by their English names and those that the country itself uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date

from culture_neurons.data import reasons
from culture_neurons.data.facts import countries
from culture_neurons.data.facts.items import HOLIDAY, Item, Kind
from culture_neurons.data.facts.spelling import unmarked

#: A holiday is certain that is one in each of these years: no election, no day of mourning, no day in lieu of another.
YEARS = range(2019, 2025)
#: What the package writes behind the name of a holiday whose date it estimates.
_ESTIMATED = "(estimated)"


def public_holidays() -> Iterator[Item]:
    """The public holidays of every country in `YEARS`, without those in lieu of others."""
    import holidays
    from holidays.utils import list_localized_countries

    tongues = list_localized_countries(include_aliases=False)
    for country in sorted(holidays.list_supported_countries(include_aliases=False)):
        known = tongues.get(country, ())
        if not ("en_US" in known if known else "en" in countries.languages(country)):
            continue
        english = _by_date(country, "en_US" if known else None)
        own_language = _own_language(country) or "en"
        native = {} if own_language.startswith("en") else _by_date(country, own_language)
        years, own = Counter(), {}
        for day in sorted(english):
            years.update({name for name in english[day]})
            pairs = zip(english[day], native.get(day, ()), strict=False)
            own.update(pairs if len(english[day]) == len(native.get(day, ())) else ())
        for name in sorted(years):
            native_name = own.get(name, "")
            yield Item(
                kind=HOLIDAY,
                country=country,
                text=unmarked(name),
                native=native_name if native_name != unmarked(name) else "",
                reason="" if years[name] >= len(YEARS) else reasons.NOT_REGULAR,
            )


def _own_language(country: str) -> str | None:
    import holidays

    return getattr(holidays, country).default_language


def _by_date(country: str, language: str | None) -> dict[date, list[str]]:
    """Date -> the names of its holidays, without the remark that a date is estimated."""
    import holidays

    calendar = holidays.country_holidays(country, years=YEARS, language=language, observed=False)
    return {day: [name.removesuffix(_ESTIMATED).strip() for name in calendar.get_list(day)] for day in sorted(calendar)}


HOLIDAYS = Kind(HOLIDAY, "holidays", public_holidays, space="holiday")
