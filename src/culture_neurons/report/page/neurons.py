"""Cards of single neurons: when they fire, who else ranks them, and what they fire for most."""

from __future__ import annotations

import binascii
import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from culture_neurons.errors import FileError
from culture_neurons.report.figures.tables import Tables, percent, selector_name
from culture_neurons.report.figures.titles import DASH, named, number
from culture_neurons.report.words import bracket, plain
from culture_neurons.types import FEWEST_UNITS

#: The drawing, in units of about a pixel: width, room for names on its left, height of a row, foot with the scale.
WIDTH, LEFT, ROW, FOOT = 300, 108, 13, 16
#: Characters of a culture's name that have room there.
NAME = 18


def cards(tables: Tables, files: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Per model that has cards (model -> content of its cards.json): who, selector, and the cards of each culture.

    Raises FileError for a file of another layout.
    """
    result = []
    for model in tables.models:
        if model in files and files[model].get("cards"):
            try:
                result.append(_model(tables, model, files[model]))
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise FileError(f"cards.json of {model}: not what steps.cards writes ({error!r})") from None
    return result


def _model(tables: Tables, model: str, content: Mapping[str, Any]) -> dict[str, Any]:
    by_culture: dict[str, list[dict[str, Any]]] = {}
    for card in content["cards"]:
        by_culture.setdefault(plain(card["culture"]), []).append(_card(card, content))
    return {
        "who": named(tables, model),
        "selector": selector_name(plain(content["selector"])),
        "top": percent(float(content["top_fraction"])),
        "cultures": list(by_culture.items()),
    }


def _card(card: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    selected_again = card.get("selected_again")
    return {
        "layer": int(card["layer"]),
        "neuron": int(card["neuron"]),
        "planted": bool(card["planted"]),
        "score": "" if card["score"] is None else number(float(card["score"]), 3),
        "rank": int(card["rank"]),
        "again": _selected_again_in_words(selected_again, content.get("units", {}).get(card["culture"])),
        "ranks": [
            (selector_name(plain(name)), DASH if place is None else f"{int(place):,}")
            for name, place in card["ranks"].items()
        ],
        "drawing": _drawing(card, content["cultures"]),
        "samples": [_sample(sample, content["samples"][sample["sample_id"]], card) for sample in card["samples"]],
    }


def _selected_again_in_words(share: float | None, units: int | None) -> str:
    """How often other draws of the questions chose the neuron, in words; "" where that was not measured."""
    if units is not None and units < FEWEST_UNITS:  # also of a file that says 1: one question gives no other draw
        return "not known whether other questions would choose it (all recorded ones are about one image)"
    return "" if share is None else f"chosen again in {100 * float(share):.0f}\N{NO-BREAK SPACE}% of resamples"


def _drawing(card: Mapping[str, Any], cultures: list[str]) -> dict[str, Any]:
    """Places of a dot and a bar per culture, and what they say in words."""
    top = max([v for end in ("value", "high") for v in card[end] if v is not None], default=0.0)
    scale = _round_up(100 * top) / 100
    places = [
        {
            "name": plain(name) if len(name) <= NAME else f"{plain(name[: NAME - 1])}…",
            "y": ROW * i + ROW / 2,
            "own": name == card["culture"],
            **{end: None if card[end][i] is None else round(LEFT + (WIDTH - LEFT - 6) * card[end][i] / scale, 1)
               for end in ("value", "low", "high")},
        }
        for i, name in enumerate(cultures)
    ]  # fmt: skip
    own = next((i for i, name in enumerate(cultures) if name == card["culture"]), None)
    own_rate = "unknown" if own is None or card["value"][own] is None else _percent(card, own)
    others = [(card["value"][i], i) for i in range(len(cultures)) if i != own and card["value"][i] is not None]
    most = max(others, default=None)
    return {
        "rows": places,
        "height": ROW * len(cultures) + FOOT,
        "base": ROW * len(cultures),
        "ticks": [(round(LEFT + (WIDTH - LEFT - 6) * part, 1), f"{100 * scale * part:g}") for part in (0, 0.5, 1)],
        "words": f"Fires at {own_rate} of the tokens of {plain(card['culture'])}"
        + (f"; of other cultures most for {plain(cultures[most[1]])}, {_percent(card, most[1])}" if most else ""),
    }


def _percent(card: Mapping[str, Any], i: int) -> str:
    low, high = (None if card[end][i] is None else 100 * card[end][i] for end in ("low", "high"))
    return f"{number(100 * card['value'][i], 1)}\N{NO-BREAK SPACE}% {bracket(low, high, 1)}".rstrip()


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10 ... that is not below: where a scale ends; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def _sample(shown: Mapping[str, Any], sample: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "culture": plain(sample["culture"]),
        "own": sample["culture"] == card["culture"],
        "question": plain(sample["question"]),
        "answer": plain(sample["answer"]),
        "activation": number(float(shown["activation"])),
        "image": None if sample["image"] is None else _image(sample["image"]),
    }


def _image(text: str) -> Markup:
    """A thumbnail as a data URL; decoded and encoded again, so that nothing but base64 gets into the page."""
    data = binascii.a2b_base64(text, strict_mode=True)
    if not data.startswith(b"\xff\xd8\xff"):
        raise ValueError("a picture that is no JPEG")
    return Markup("data:image/jpeg;base64," + binascii.b2a_base64(data, newline=False).decode())
