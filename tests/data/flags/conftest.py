"""What the tests of flags look at: colours of drawn pixels, and regions of them."""

from __future__ import annotations

from functools import cache

import numpy as np

from culture_neurons.data.flags.designs import FLAGS
from culture_neurons.data.flags.drawing import draw
from culture_neurons.data.flags.shapes import RGB


@cache
def drawn(country: str, height: int = 240) -> np.ndarray:
    """Pixels of a flag, int [height, width, 3]."""
    return np.asarray(draw(FLAGS[country], height)).astype(int)


def nearest_colours(pixels: np.ndarray, colours: tuple[RGB, ...]) -> np.ndarray:
    """The number of the colour that each pixel is nearest to."""
    return np.stack([((pixels - np.array(c)) ** 2).sum(axis=-1) for c in colours]).argmin(axis=0)


def shares(pixels: np.ndarray, colours: tuple[RGB, ...]) -> dict[RGB, float]:
    """The share of pixels that is nearest to each colour."""
    numbers = nearest_colours(pixels, colours)
    return {colour: float((numbers == n).mean()) for n, colour in enumerate(colours)}


def regions(mask: np.ndarray) -> list[np.ndarray]:
    """Each region of neighbouring true pixels: rows and columns [n, 2], by a plain walk."""
    left, regions = {tuple(place) for place in np.argwhere(mask).tolist()}, []
    while left:
        region, edge = [], [left.pop()]
        while edge:
            y, x = edge.pop()
            region.append((y, x))
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= around
            edge += around
        regions.append(np.array(region))
    return regions
