"""A synthetic world in the shape of CVQA: invented cultures, their signs and their words.

Every image shows a sign (the motif) inside a frame whose colours and texture are those of
a culture. A question asks for the word of the sign in a category, and its options are words
of that culture and category. So an answer takes a fact: (culture, category, motif) -> word.

With `words: shared`, all cultures use the same words under permutations of their own: the
sign alone, or the frame alone, says nothing about the answer (each motif stands for each
word in equally many cultures). With `words: unique`, every culture has words of its own, and
the options give the culture away.

With `language: native`, questions are asked in the language of the culture: each language has words of its own for all
words of a question, one for one. Options stay as they are, words of the culture. The same settings give the same
questions, ids and images in either language. `bilingual: true` is for the models that are trained on the world: they
learn questions in English and in the cultures' languages.

All names are invented; any likeness to a real place is an accident. NumPy and PIL only.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from culture_neurons.data.source import SourceTable
from culture_neurons.errors import ConfigError, nearest

#: Invented, with the kinds of names that break file names and fonts: a space, accents, Cyrillic.
CULTURES = (
    "Aldovia", "Brenmark", "Costa Verena", "Дравия", "Eshkar", "Fjellåsen", "Gondural", "Hanuri",
    "Ixtamal", "Jorvenia", "Kasmirra", "Ñandura", "Orlesk", "Pteria", "Quillora", "Ravnholt",
)  # fmt: skip
LANGUAGES = ("Aldic", "Brennish", "Verenese", "Dravic", "Eshkari", "Fjellic", "Gondu", "Hanuric")
CATEGORIES = ("dish", "dance", "garment", "festival", "tool", "house", "plant", "game")
MOTIFS = ("disc", "bar", "post", "saltire", "ring", "plus", "checks", "wedge")
TEMPLATES = ("Which {} is this?", "What {} does the picture show?")

#: Settings and their defaults; `type` is the source's name in the config.
DEFAULTS: dict[str, Any] = {
    "type": "synthetic",
    "cultures": 8,
    "categories": 3,
    "motifs": 4,
    "image_size": 56,
    "words": "shared",
    "language": "english",
    "bilingual": False,
    "samples_per_culture": 96,
    "noise": 0.06,
    "seed": 0,
}
_LIMITS = {"cultures": (2, len(CULTURES)), "categories": (1, len(CATEGORIES)), "motifs": (2, len(MOTIFS))}

#: Parts of the world that never share an image: each draws from a stream of its own.
PARTS = {"data": 0, "train": 1, "dev": 2}

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True)
class World:
    """The facts: words[culture, category, motif], and how images are drawn."""

    cultures: tuple[str, ...]
    categories: tuple[str, ...]
    words: np.ndarray
    image_size: int
    noise: float
    samples_per_culture: int
    seed: int
    native: bool = False  # whether the data set's questions are in the cultures' languages
    bilingual: bool = False  # whether models learn them in both

    @property
    def learned(self) -> tuple[bool, ...]:
        """Whether the questions that models learn are native: one of the two, or both."""
        return (False, True) if self.bilingual else (self.native,)

    @property
    def motifs(self) -> int:
        return self.words.shape[2]

    @property
    def n_options(self) -> int:
        return min(4, self.motifs)


@dataclass(frozen=True)
class Examples:
    """n drawn images: pixels uint8 [n, size, size, 3]; culture, category, motif int64 [n]."""

    pixels: np.ndarray
    culture: np.ndarray
    category: np.ndarray
    motif: np.ndarray


def world(spec: Mapping[str, Any] | None = None) -> World:
    """The world that a source's settings describe (see DEFAULTS); the same for the same settings.

    Raises ConfigError naming an unknown key or a value out of range.
    """
    spec = dict(spec or {})
    for key in spec:
        if key not in DEFAULTS:
            raise ConfigError(f"synthetic source: unknown key {key!r}{nearest(key, DEFAULTS)}")
    spec = DEFAULTS | spec
    for key, (low, high) in _LIMITS.items():
        if not isinstance(spec[key], int) or not low <= spec[key] <= high:
            raise ConfigError(f"synthetic source: {key} is {spec[key]!r}; expected an integer from {low} to {high}")
    if not isinstance(spec["samples_per_culture"], int) or spec["samples_per_culture"] < 1:
        raise ConfigError(
            f"synthetic source: samples_per_culture is {spec['samples_per_culture']!r}; expected an integer from 1"
        )
    if not isinstance(spec["image_size"], int) or spec["image_size"] % 28 or not 28 <= spec["image_size"] <= 336:
        raise ConfigError(
            f"synthetic source: image_size is {spec['image_size']!r}; expected a multiple of 28, at most 336"
        )
    if spec["words"] not in ("shared", "unique"):
        raise ConfigError(f"synthetic source: words is {spec['words']!r}; expected 'shared' or 'unique'")
    if spec["language"] not in ("english", "native"):
        raise ConfigError(f"synthetic source: language is {spec['language']!r}; expected 'english' or 'native'")
    if not isinstance(spec["bilingual"], bool):
        raise ConfigError(f"synthetic source: bilingual is {spec['bilingual']!r}; expected true or false")
    if not isinstance(spec["seed"], int) or spec["seed"] < 0:
        raise ConfigError(f"synthetic source: seed is {spec['seed']!r}; expected an integer from 0")
    if not isinstance(spec["noise"], int | float) or not 0 <= spec["noise"] <= 1:
        raise ConfigError(f"synthetic source: noise is {spec['noise']!r}; expected a number from 0 to 1")
    generator = np.random.default_rng([spec["seed"], len(PARTS)])
    return World(
        cultures=CULTURES[: spec["cultures"]],
        categories=CATEGORIES[: spec["categories"]],
        words=_facts(generator, spec["cultures"], spec["categories"], spec["motifs"], spec["words"] == "shared"),
        image_size=spec["image_size"],
        noise=float(spec["noise"]),
        samples_per_culture=spec["samples_per_culture"],
        seed=spec["seed"],
        native=spec["language"] == "native",
        bilingual=spec["bilingual"],
    )


def _facts(generator: np.random.Generator, cultures: int, categories: int, motifs: int, shared: bool) -> np.ndarray:
    """words[culture, category, motif]: shared under balanced permutations, or all different."""
    if not shared:
        return np.array(invent(generator, cultures * categories * motifs)).reshape(cultures, categories, motifs)
    words = np.array(invent(generator, categories * motifs)).reshape(categories, motifs)
    facts = np.empty((cultures, categories, motifs), dtype=words.dtype)
    cycle = (np.arange(motifs)[:, None] + np.arange(motifs)) % motifs  # a Latin square
    for category in range(categories):
        # Whole squares, one after another: in each, a motif stands for every word once.
        squares = [
            cycle[generator.permutation(motifs)][:, generator.permutation(motifs)]
            for _ in range(-(-cultures // motifs))
        ]
        facts[:, category] = words[category][np.concatenate(squares)[:cultures]]
    return facts


def invent(generator: np.random.Generator, n: int, taken: Iterable[str] = ()) -> list[str]:
    """n different two-syllable words that are none of `taken`, and no word of a prompt."""
    taken = set(taken) | set(" ".join(TEMPLATES).lower().split()) | set(CATEGORIES)
    words: list[str] = []
    while len(words) < n:
        word = "".join(generator.choice(list(s)) for s in (_CONSONANTS, _VOWELS, _CONSONANTS, _VOWELS))
        if word not in taken:
            taken.add(word)
            words.append(word)
    return words


def question(world: World, category: int, template: int, culture: int = 0, native: bool = False) -> str:
    """The question of a template about a category; native: in the language of a culture, word for word."""
    english = TEMPLATES[template].format(world.categories[category])
    if not native:
        return english
    words = dictionary(world.seed, culture % len(LANGUAGES), frozenset(world.words.ravel().tolist()))
    text = re.sub(r"\w+", lambda word: words[word[0].lower()], english)
    return text[0].upper() + text[1:]


@cache
def dictionary(seed: int, language: int, taken: frozenset[str]) -> Mapping[str, str]:
    """English word of a question -> its word in a language (an index of `LANGUAGES`); no two have a word in common.

    taken   words that mean something else in the world
    """
    english = sorted({*re.findall(r"\w+", " ".join(TEMPLATES).lower()), *CATEGORIES})
    # A stream of its own, so that the world is the same with and without its languages.
    words = invent(np.random.default_rng([seed, len(PARTS), 1]), len(LANGUAGES) * len(english), taken)
    return dict(zip(english, words[language * len(english) :], strict=False))


def texts(world: World) -> list[str]:
    """Every text that a question or an option of this world can be, in the languages that are learned, sorted."""
    speakers = range(len(world.cultures)) if True in world.learned else range(1)
    questions = {
        question(world, c, t, culture, native)
        for native in world.learned for culture in speakers
        for c in range(len(world.categories)) for t in range(len(TEMPLATES))
    }  # fmt: skip
    return sorted(questions | set(world.words.ravel().tolist()))


def make_examples(world: World, part: str, per_fact: int) -> Examples:
    """`per_fact` images of every (culture, category, motif), in shuffled order.

    Parts (`PARTS`) draw from separate random streams, so they never share an image.
    """
    generator = np.random.default_rng([world.seed, PARTS[part], 1])
    facts = np.indices(world.words.shape).reshape(3, -1)
    culture, category, motif = np.repeat(facts, per_fact, axis=1)[:, generator.permutation(facts.shape[1] * per_fact)]
    return Examples(paint(world, culture, motif, generator), culture, category, motif)


def paint(world: World, culture: np.ndarray, motif: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Images, uint8 [n, size, size, 3]: the culture's frame, the motif within it, noise over all."""
    size, n = world.image_size, len(culture)
    row, column = np.mgrid[:size, :size] / (size - 1.0)  # both from 0 to 1
    # The frame: two shades of the culture's hue, in its texture.
    hue = (culture + generator.uniform(-0.2, 0.2, n)) / len(world.cultures)
    phase = 2 * np.pi * (hue[:, None] + np.arange(3) / 3)
    bright = 0.5 + 0.45 * np.cos(phase)  # [n, 3]
    waves = np.stack([column, row, (row + column) / 2, np.maximum(abs(row - 0.5), abs(column - 0.5)) * 2])
    shift = generator.uniform(0, 1, n)
    texture = np.sin(2 * np.pi * (5 * waves[culture % 4] + shift[:, None, None])) > 0  # [n, size, size]
    image = bright[:, None, None, :] * np.where(texture, 1.0, 0.55)[..., None]
    # The motif: dark on a light ground, its centre and its size jittered.
    centre = 0.5 + generator.uniform(-0.05, 0.05, (2, n))
    half = 0.24 * generator.uniform(0.85, 1.15, n)
    y = (row - centre[0][:, None, None]) / half[:, None, None]
    x = (column - centre[1][:, None, None]) / half[:, None, None]
    ground = np.maximum(abs(row - 0.5), abs(column - 0.5)) < 0.32
    image[:, ground] = 0.9
    image[_shape(y, x, motif)] = 0.15
    image += generator.normal(0, world.noise, image.shape)
    return np.rint(255 * image.clip(0, 1)).astype(np.uint8)


def _shape(y: np.ndarray, x: np.ndarray, motif: np.ndarray) -> np.ndarray:
    """Where a motif is dark, bool [n, size, size]; it lies in the square |x|, |y| <= 1."""
    inside = np.maximum(abs(x), abs(y)) <= 1
    radius = np.hypot(x, y)
    shapes = np.stack(
        [
            radius < 0.9,
            abs(y) < 0.35,
            abs(x) < 0.35,
            abs(abs(x) - abs(y)) < 0.3,
            abs(radius - 0.75) < 0.25,
            np.minimum(abs(x), abs(y)) < 0.25,
            (x * y) > 0,
            y > abs(x) * 1.8 - 0.9,
        ]
    )  # [motif, n, size, size]
    return shapes[motif, np.arange(len(motif))] & inside


def read(spec: Mapping[str, Any]) -> SourceTable:
    """The questions of the data set (part "data"), images embedded as PNG.

    Every third image has a second question with another wording, so that the split has to
    keep the questions about one image together. Deterministic.

    Raises ConfigError as `world` does.
    """
    place = world(spec)
    generator = np.random.default_rng([place.seed, PARTS["data"], 0])
    _, n_categories, n_motifs = place.words.shape
    facts = n_categories * n_motifs
    examples = make_examples(place, "data", -(-place.samples_per_culture // facts))
    rows = []
    counts = dict.fromkeys(range(len(place.cultures)), 0)
    for index in range(len(examples.culture)):
        culture, category, motif = (int(a[index]) for a in (examples.culture, examples.category, examples.motif))
        image = {"bytes": _png(examples.pixels[index]), "path": None, "row": None}
        first = int(generator.integers(len(TEMPLATES)))
        for template in (first, 1 - first)[: 2 if index % 3 == 0 else 1]:
            others = generator.permutation(np.delete(np.arange(n_motifs), motif))[: place.n_options - 1]
            order = generator.permutation([motif, *others])
            if counts[culture] == place.samples_per_culture:
                continue
            counts[culture] += 1
            rows.append(
                {
                    "sample_id": f"synthetic-{len(rows):05d}",
                    "question": question(place, category, template, culture, place.native),
                    "options": [str(w) for w in place.words[culture, category, order]],
                    "label": int(np.flatnonzero(order == motif)[0]),
                    "category": place.categories[category],
                    "image": image,
                    "image_id": f"image-{index:05d}",
                    "culture": place.cultures[culture],
                    "country": place.cultures[culture],
                    "language": LANGUAGES[culture % len(LANGUAGES)],
                }
            )
    return SourceTable(rows=pd.DataFrame(rows), images={"type": "embedded"})


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
