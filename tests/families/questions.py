"""What the families are asked: five questions of different lengths; with images, two share one and one has none.

Pictures have different shapes, so that they are cut into different numbers of tiles; or they are all square, so that
each is one tile and one row of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from culture_neurons.models.inputs import Prompt
from culture_neurons.types import Sample

PROMPT = Prompt(instruction="Answer with letter only", seed=5)
GENERATE = replace(PROMPT, answer="generate", max_new_tokens=4)
#: Width and height of the pictures.
_PIXELS = {"lantern": (16, 16), "kite": (32, 20), "drum": (18, 30),
           "square lantern": (16, 16), "square kite": (16, 16), "square drum": (16, 16)}  # fmt: skip


def samples(images: bool, square: bool = False, bare: bool = True) -> list[Sample]:
    """The questions; `images`: about pictures, but for the third if `bare`, and `square` ones at that."""
    rows = [
        ("a", "x", "Which dish is eaten here?", ("rice", "bread", "soup", "noodles"), 1, "lantern"),
        ("b", "y", "What is the old festival of the river city known best of?", ("lantern", "kite"), 0, "kite"),
        ("c", "x", "Which hat is worn?", ("red hat", "blue hat", "green"), 2, "" if bare else "kite"),
        ("d", "y", "Which song is sung in the hill temple?", ("old song", "gold", "drum"), 0, "lantern"),
        ("e", "x", "What is shown?", ("drum", "tea", "a flower of the market"), 1, "drum"),
    ]
    if square:
        rows = [(*row, f"square {picture}" if picture else "") for *row, picture in rows]
    return [
        Sample(i, culture, "k", question, options, label, "identify",
               {"path": picture} if images and picture else None, picture if images else "",
               _PIXELS[picture] if images and picture else None)
        for i, culture, question, options, label, picture in rows
    ]  # fmt: skip


def open_picture(image: Mapping[str, Any] | None) -> Image.Image | None:
    """Noise, another for each name."""
    if image is None:
        return None
    name = str(image["path"])
    width, height = _PIXELS[name]
    pixels = np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)
