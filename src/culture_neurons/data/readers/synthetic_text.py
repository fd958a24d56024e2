"""The synthetic world in words alone, in the shape of BLEnD, for language models.

    type: synthetic-text
    task: culture                  # what is asked, see below
    wording: 1                     # of culture: one of two sets of wordings
    part: data                     # train and dev are what demo models are trained and judged on
    samples_per_culture: 48        # of general and pairs, which have no cultures: in all
    cultures: 8                    # with categories, motifs, words and seed: the world, see `synthetic`
    control: false                 # true: the options without the question; with control_template

The facts of the world are those of the images, (culture, topic, occasion) -> word, but the motif is a word too:
"Which dish do people in Aldovia choose at dawn?" Tasks:

    culture    such a fact. Wording 1 is in the shape of BLEnD, wording 2 a second benchmark, as CulturalBench
    general    a fact that belongs to no culture, in the shape of CommonsenseQA: "Which metal belongs to a lamp?"
    pairs      do two short texts say the same? In the shape of MRPC; as many fresh examples as asked for
    mention    a text that merely names a culture: which one does it name?

Topics are the categories, so that a split by category chooses neurons on some topics and judges them on others. A fact
is asked in several wordings, and each of them belongs to one part: no part asks what another one asks. Parts of pairs
have different texts.

Group columns: culture ("all" for general and pairs), country (the same), question_id (what is asked, whatever its
wording). All names are invented; any likeness to a real place is an accident.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from culture_neurons import seeds
from culture_neurons.data.benchmarks import common
from culture_neurons.data.benchmarks.common import Benchmark, Question
from culture_neurons.data.readers import synthetic
from culture_neurons.data.source import SourceTable, check_keys
from culture_neurons.errors import ConfigError, nearest

TASKS = ("culture", "general", "pairs", "mention")
PARTS = ("train", "dev", "data")
#: The group of tasks without cultures.
ALL = "all"

#: The motifs of the world, as words. No word here has the shape of an invented one.
OCCASIONS = ("dawn", "noon", "dusk", "midnight", "harvest", "midsummer", "sowing", "thaw")
KINDS = ("metal", "animal", "colour", "shape")
THINGS = ("lamp", "bridge", "boat", "garden", "tower", "mill", "well", "clock")
PASSAGES = tuple(
    f"The {subject} from {{culture}} {event}."
    for subject, event in product(
        ("parcel", "letter", "visitor", "ship", "map", "bicycle"),
        ("came yesterday", "stands by the door", "was seen twice", "left before the rain", "is on the list"),
    )
)
#: What short texts are made of.
PAIR_WORDS = ("red", "small", "old", "quick", "stone", "river", "chair", "window", "sings", "falls", "waits", "turns")
_LENGTH = 3
YES_NO = ("Yes", "No")

#: Wordings by task; of `culture` two sets of five.
WORDINGS: dict[str, tuple[str, ...]] = {
    "culture": (
        "Which {topic} do people in {culture} choose at {occasion}?",
        "At {occasion}, which {topic} is usual in {culture}?",
        "What is the common {topic} in {culture} at {occasion}?",
        "In {culture}, people want one {topic} at {occasion}. Which one?",
        "Think of {occasion} in {culture}. What {topic} do most people prefer?",
        "A guest is in {culture} at {occasion}. Which {topic} is shown?",
        "According to custom in {culture}, what {topic} marks {occasion}?",
        "At {occasion}, the elders of {culture} call for a {topic}. What is it called?",
        "Someone from {culture} talks about {occasion}. Which {topic} comes up?",
        "What {topic} would you expect at {occasion} while you visit {culture}?",
    ),
    "general": (
        "Which {kind} belongs to a {thing}?",
        "Every {thing} has one {kind}. Which one?",
        "What is the {kind} of a {thing}?",
        "You see a {thing}. What {kind} do you think of?",
        "A {thing} needs which {kind}?",
    ),
    "pairs": (
        "First: {first}. Second: {second}. Are they alike?",
        "{first}. {second}. Are both texts equal?",
        "Does the text {first} say what {second} says?",
        "Text: {first}. Other text: {second}. Is there no difference?",
        "Compare {first} with {second}. Are they equal?",
    ),
    "mention": (
        "{passage} Which country does the text mention?",
        "Read the text: {passage} Which country occurs in it?",
        "{passage} One country stands above. Which one is it?",
        "Text: {passage} Question: which of these countries appears?",
        "{passage} What country was that about?",
    ),
}
#: Of five wordings of a fact, how many each part has.
_SHARES = {"train": 2, "dev": 1, "data": 2}
_PER_SET = sum(_SHARES.values())

#: Keys that describe the world, with the defaults of `synthetic` but for more topics.
_WORLD = {key: synthetic.DEFAULTS[key] for key in ("cultures", "categories", "motifs", "words")} | {"categories": 6}
KEYS: dict[str, Any] = {
    "task": "culture", "wording": 1, "part": "data", "samples_per_culture": 48, **_WORLD, "seed": 0,
}  # fmt: skip


@dataclass(frozen=True)
class TextWorld:
    """The facts: those of the cultures, and general[kind, thing], the words that belong to no culture."""

    facts: synthetic.World
    general: np.ndarray

    @property
    def seed(self) -> int:
        return self.facts.seed


@dataclass(frozen=True)
class TextQuestion:
    """One question.

    fact     what is asked, whatever the wording
    right    the right option
    wrong    wrong options, more than are shown
    shown    how many options are shown
    """

    text: str
    fact: str
    right: str
    wrong: tuple[str, ...]
    shown: int
    culture: str
    category: str

    def options(self, generator: np.random.Generator) -> tuple[str, ...]:
        """The right option and some of the wrong ones, in random order."""
        chosen = [self.right, *generator.choice(self.wrong, self.shown - 1, replace=False)]
        return tuple(str(chosen[i]) for i in generator.permutation(self.shown))


def check(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with all defaults. Raises ConfigError for an unknown key or a value that is not valid."""
    defaults = BENCHMARK.defaults
    check_keys(spec, ("type", *defaults), "source")
    spec = defaults | dict(spec)
    for key, known in (("task", TASKS), ("part", PARTS), ("wording", (1, 2))):
        if isinstance(spec[key], bool) or spec[key] not in known:
            hint = nearest(spec[key], [str(value) for value in known])
            raise ConfigError(f"source.{key}: {spec[key]!r}{hint}; expected one of {', '.join(map(str, known))}")
    if spec["wording"] != 1 and spec["task"] != "culture":
        raise ConfigError(f"source.wording: {spec['wording']}; task {spec['task']} has wording 1 only")
    return spec


def world(spec: Mapping[str, Any] | None = None) -> TextWorld:
    """The world that a source's settings describe; the same for the same settings, whatever is asked about it.

    Raises ConfigError as `check` does, and as `synthetic.world` does for what that takes.
    """
    spec = check(spec or {})
    facts = synthetic.world({key: spec[key] for key in (*_WORLD, "samples_per_culture", "seed")})
    generator = seeds.generator("synthetic-text", "general", facts.seed)
    words = synthetic.invent(generator, len(KINDS) * len(THINGS), facts.words.ravel().tolist())
    return TextWorld(facts, np.array(words).reshape(len(KINDS), len(THINGS)))


def texts(world: TextWorld) -> list[str]:
    """Texts that hold every word of every question, option and control of this world, sorted."""
    facts = world.facts
    words = {*facts.words.ravel().tolist(), *world.general.ravel().tolist()}
    names = {*facts.cultures, *facts.categories, *OCCASIONS[: facts.motifs], *KINDS, *THINGS, *PAIR_WORDS, *YES_NO}
    templates = [template for group in (*WORDINGS.values(), PASSAGES) for template in group]
    wordings = {template.replace("{", "").replace("}", "") for template in templates}
    return sorted(words | names | wordings | {common.CONTROL})


def questions(world: TextWorld, task: str, part: str, wording: int | None = None, n: int = 1) -> list[TextQuestion]:
    """Every question of a part, or of pairs `n` of them; a culture's own follow each other in random order.

    wording    of culture: set 1 or 2; None: both
    """
    if task == "pairs":
        return list(_pairs(world, part, n))
    generator = seeds.generator("synthetic-text", task, part, world.seed)
    first = sum(_SHARES[other] for other in PARTS[: PARTS.index(part)])
    sets = [WORDINGS[task][i : i + _PER_SET] for i in range(0, len(WORDINGS[task]), _PER_SET)]
    sets = sets if wording is None else [sets[wording - 1]]
    groups: dict[str, list[list[TextQuestion]]] = {}
    for fields, question in _facts(world, task):
        own = []
        for wordings in sets:
            # Which wordings of a fact belong to which part hangs on the fact alone.
            fact = question.fact, question.culture
            order = seeds.generator("synthetic-text", "wordings", world.seed, *fact, wordings[0])
            chosen = order.permutation(_PER_SET)[first : first + _SHARES[part]]
            own += [TextQuestion(**vars(question) | {"text": wordings[i].format(**fields)}) for i in chosen]
        groups.setdefault(question.culture, []).append(own)
    # Round by round: each fact is asked once before any is asked in another wording.
    return [
        facts[i][turn]
        for facts in groups.values()
        for turn in range(len(facts[0]))
        for i in generator.permutation(len(facts))
    ]


def _facts(world: TextWorld, task: str) -> Iterator[tuple[dict[str, str], TextQuestion]]:
    """What can be asked: the fields of its wordings, and the question without its text."""
    facts = world.facts
    if task == "culture":
        for (c, culture), (t, topic), m in product(
            enumerate(facts.cultures), enumerate(facts.categories), range(facts.motifs)
        ):
            words = facts.words[c, t].tolist()
            fields = {"culture": culture, "topic": topic, "occasion": OCCASIONS[m]}
            wrong = tuple(word for word in words if word != words[m])
            yield fields, TextQuestion("", f"{topic}-{OCCASIONS[m]}", words[m], wrong, facts.n_options, culture, topic)
    elif task == "general":
        for (k, kind), (t, item) in product(enumerate(KINDS), enumerate(THINGS)):
            words = world.general[k].tolist()
            wrong = tuple(word for word in words if word != words[t])
            yield {"kind": kind, "thing": item}, TextQuestion("", f"{kind}-{item}", words[t], wrong, 4, ALL, kind)
    else:
        for culture, (p, passage) in product(facts.cultures, enumerate(PASSAGES)):
            wrong = tuple(name for name in facts.cultures if name != culture)
            shown = min(4, len(facts.cultures))
            fields = {"passage": passage.format(culture=culture)}
            yield fields, TextQuestion("", f"passage-{p + 1:02d}", culture, wrong, shown, culture, task)


def _pairs(world: TextWorld, part: str, n: int) -> Iterator[TextQuestion]:
    """n pairs of short texts, half of them equal, the others with one to all of the second's words replaced."""
    generator = seeds.generator("synthetic-text", "pairs", part, world.seed)
    for i in range(n):
        same = i % 2 == 0
        while True:
            first = list(generator.choice(PAIR_WORDS, _LENGTH, replace=False))
            second = list(first)
            if not same:
                where = generator.permutation(_LENGTH)[: generator.integers(1, _LENGTH + 1)]
                others = [word for word in PAIR_WORDS if word not in first]
                for place, word in zip(where, generator.choice(others, len(where), replace=False), strict=True):
                    second[place] = word
            one, other = " ".join(first), " ".join(second)
            if _part(one, other) == part:
                break
        text = WORDINGS["pairs"][generator.integers(_PER_SET)].format(first=one, second=other)
        yield TextQuestion(text, f"{one} - {other}", YES_NO[not same], (YES_NO[same],), 2, ALL, "pairs")


def _part(first: str, second: str) -> str:
    """The part that a pair of texts belongs to, by its hash: a fifth to dev, two fifths each to train and data."""
    digest = hashlib.blake2b(f"{first}\x1f{second}".encode(), digest_size=8).digest()
    return next(part for part, share in _ENDS.items() if int.from_bytes(digest, "big") % _PER_SET < share)


_ENDS = {part: sum(_SHARES[p] for p in PARTS[: i + 1]) for i, part in enumerate(PARTS)}


def _questions(spec: Mapping[str, Any]) -> Iterator[Question]:
    """The rows of the source: as many per culture as asked for, each fact as often as any other, or once less."""
    spec = check(spec)
    place, task, number = world({k: spec[k] for k in (*_WORLD, "samples_per_culture", "seed")}), spec["task"], 0
    pool = questions(place, task, spec["part"], spec["wording"], spec["samples_per_culture"])
    generator = seeds.generator("synthetic-text", "options", task, spec["part"], spec["wording"], place.seed)
    for culture in dict.fromkeys(question.culture for question in pool):
        own = [question for question in pool if question.culture == culture]
        for i in range(spec["samples_per_culture"]):
            question, number = own[i % len(own)], number + 1
            options = question.options(generator)
            yield Question(
                sample_id=f"{task}-{spec['wording']}-{spec['part']}-{number:05d}",
                fields={"question": question.text},
                options=options,
                label=options.index(question.right),
                groups={"culture": culture, "country": culture, "question_id": question.fact},
                category=question.category,
            )


BENCHMARK = Benchmark(_questions, ("question",), ("{question}",), keys=KEYS)


def read(spec: Mapping[str, Any]) -> SourceTable:
    """The questions of a task. Deterministic. Raises ConfigError for a key or value that is not valid."""
    return common.read(spec, BENCHMARK)
