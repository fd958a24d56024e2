"""Drawing a flag flat, without light or folds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from culture_neurons.data.flags.shapes import Flag, Outline, outlines

#: Lines that are looked at in each row of pixels; along a line, what is covered of a pixel is exact.
SAMPLES = 8


def draw(flag: Flag, height: int) -> Image.Image:
    """A flag, RGB, `height` pixels high and as many wide as its proportions ask for, rounded."""
    width = round(height * flag.ratio)
    # The width is rounded to pixels: x is stretched with it, so that the last stripe ends at the edge.
    scale = np.array([width / flag.ratio, height])
    canvas = np.zeros((height, width, 3))
    for shape in flag.shapes:
        for colour, outline in outlines(shape, flag.ratio):
            left, top, covered = coverage(outline * scale, width, height)
            part = canvas[top : top + covered.shape[0], left : left + covered.shape[1]]
            part += (np.array(colour) - part) * covered[..., None]
    return Image.fromarray(np.rint(canvas).astype(np.uint8))


def coverage(outline: Outline, width: int, height: int) -> tuple[int, int, NDArray[np.float64]]:
    """What an outline covers of the pixels of a picture: the column and row of the first pixel that it may touch, and
    the shares covered, float64 [rows, columns], from 0 to 1.

    Pillow's polygons are half a pixel too large on all sides, which doubles a star of four pixels. Here each line
    counts where it crosses the outline: a crossing adds all to its right, or takes it away on the way up.
    """
    x, y = outline.T
    limits = np.clip([x.min(), x.max() + 1], 0, width), np.clip([y.min(), y.max() + 1], 0, height)
    (left, right), (top, bottom) = np.floor(limits).astype(int).tolist()
    columns, rows = right - left, bottom - top
    lines = top + (np.arange(rows * SAMPLES) + 0.5) / SAMPLES
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    down = (y <= lines[:, None]).astype(int) - (next_y <= lines[:, None])
    line, edge = np.nonzero(down)
    along = (lines[line] - y[edge]) / (next_y[edge] - y[edge])
    crossing = np.clip(x[edge] + along * (next_x[edge] - x[edge]) - left, 0, columns)
    pixel = np.floor(crossing).astype(int)
    share = crossing - pixel
    # Two columns more: a crossing at the right edge adds to the pixels behind it.
    steps, sign = columns + 2, down[line, edge]
    change = np.bincount(line * steps + pixel, sign * (1 - share), rows * SAMPLES * steps)
    change += np.bincount(line * steps + pixel + 1, sign * share, rows * SAMPLES * steps)
    covered = np.abs(np.cumsum(change.reshape(rows, SAMPLES, steps).mean(axis=1), axis=1))
    return left, top, np.clip(covered[:, :columns], 0, 1)
