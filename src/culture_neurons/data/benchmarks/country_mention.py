"""Reading comprehension that merely mentions a country, made here: neurons that answer to a name, not to a culture.

    type: country-mention
    countries: [Algeria, China, Mexico, Spain, US]    # at least four
    per_country: 12                # passages per country
    passages: ["... {country} ..."]                   # optional: your own, at least per_country of them

A passage is about an everyday thing and names one country; the question asks which. Which passages a country gets, and
the three other countries among the options, are drawn with `seed`. `templates` join the passage and the question: field
{passage}. Group columns: country, culture (the same), passage (its number, from 1).
"""

from __future__ import annotations

from collections.abc import Iterator

from culture_neurons import seeds
from culture_neurons.data.benchmarks import wording
from culture_neurons.data.benchmarks.common import Benchmark, Question, Spec, require_integer
from culture_neurons.data.text import clean_line
from culture_neurons.errors import ConfigError, printable

PASSAGES = (
    "The parcel had been on its way for nine days. According to the label it came from {country}, and the box was only "
    "a little dented.",
    "Our new neighbour waters the plants every evening. She told us that she had grown up in {country} and moved here "
    "for work.",
    "The weather report was short today: rain in the north, wind at the coast, and a calm, dry week in {country}.",
    "He lost his umbrella on the train. A traveller from {country} found it and gave it to the conductor.",
    "The library has put up a new shelf for maps. The one of {country} hangs next to the door, above the copier.",
    "Before the meeting began, the chairs were counted. Two were missing, since the guests from {country} had come "
    "with a colleague.",
    "The printer in the office ran out of paper twice. A spare part was ordered from {country} and should arrive on "
    "Friday.",
    "My cousin collects pencils. The newest is green, has no eraser, and was bought at an airport in {country}.",
    "The lift stops at every floor in the morning. On the third floor there is a travel agency with a poster of "
    "{country} in the window.",
    "She learned to type with ten fingers from a video. Its author lives in {country} and speaks very slowly.",
    "The bus was late again. While they waited, two students talked about an online course from {country} that starts "
    "in March.",
    "A blue bicycle has stood in the yard since May. Its owner is in {country} until the end of the month.",
    "The radio played quietly in the waiting room. Between two songs, a listener who called from {country} greeted her "
    "sister.",
    "They painted the fence on Saturday. The brush had been made in {country}, the bucket was borrowed.",
    "The form has four pages. On the last one there is an example that somebody from {country} filled in.",
    "The clock in the hall is two minutes fast. The man who repairs it is on a business trip to {country}.",
)


def questions(spec: Spec) -> Iterator[Question]:
    """`per_country` questions per country, by name."""
    countries = _countries(spec["countries"])
    passages = wording.check(spec["passages"], ("country",), "source.passages")
    number = require_integer(spec, "per_country", 1)
    if number > len(passages):
        raise ConfigError(f"source.per_country: {number}; expected at most {len(passages)}, the number of passages")
    for name in countries:
        random = seeds.generator("country-mention", spec["seed"], name)
        others = [other for other in countries if other != name]
        for i in sorted(int(i) for i in random.choice(len(passages), size=number, replace=False)):
            options = [name, *(others[int(k)] for k in random.choice(len(others), size=3, replace=False))]
            options = [options[int(k)] for k in random.permutation(4)]
            yield Question(
                sample_id=f"{name}-{i + 1:02d}",
                fields={"passage": wording.fill(passages[i], {"country": name})},
                options=options,
                label=options.index(name),
                groups={"culture": name, "country": name, "passage": str(i + 1)},
            )


def _countries(names: object) -> list[str]:
    """The countries, sorted: their order in the config does not matter. Raises ConfigError."""
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) and clean_line(n) for n in names):
        raise ConfigError(f"source.countries: expected a list of names, found {names!r}")
    countries = sorted({clean_line(name) for name in names})
    if len(countries) < 4 or len(countries) < len(names):
        raise ConfigError(
            f"source.countries: expected at least four different names, found {', '.join(map(printable, names))}"
        )
    return countries


BENCHMARK = Benchmark(
    questions,
    ("passage",),
    (
        "{passage}\nWhich country does the text name?",
        "Read the text: {passage}\nWhich country is mentioned in it?",
        "{passage}\nThe name of one country occurs above. Which one is it?",
        "Text: {passage}\nQuestion: Which of these countries appears in the text?",
    ),
    keys={"countries": None, "per_country": 12, "passages": PASSAGES},
)
