"""Where a flag lies in a picture, and how it is seen: turned, in perspective, waving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Width and height of the cells in which the way from picture to flag is taken as bilinear, in pixels: waves run from
#: left to right.
CELL = np.array([12, 28])

Matrix = NDArray[np.float64]
#: Points [..., 2]: x and y.
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Wave:
    """Folds that run from the hoist to the fly.

    height      of the wave at the fly, in heights of the flag; at the hoist three tenths of it
    waves       how many there are between hoist and fly
    phase       where the first one begins, in waves
    slant       how much later a wave comes at the lower edge, in waves
    shade       how much darker and lighter its sides are: 0.2 stands for a fifth
    """

    height: float
    waves: float
    phase: float
    slant: float
    shade: float

    def turns(self, flag_points: Points, ratio: float) -> Matrix:
        """How far the wave has come at points of a flag, in radians."""
        x, y = flag_points[..., 0] / ratio, flag_points[..., 1]
        return 2 * np.pi * (self.waves * x + self.slant * y + self.phase)

    def lift(self, flag_points: Points, ratio: float) -> Points:
        """Points of the waving flag -> the points of the flat one that are seen there."""
        height = self.height * (0.3 + 0.7 * np.clip(flag_points[..., 0] / ratio, 0, 1))
        moved = flag_points.copy()
        moved[..., 1] += height * np.sin(self.turns(flag_points, ratio))
        return moved


@dataclass(frozen=True)
class Placement:
    """A flag in a picture: `matrix` takes a point of the flat flag, in its heights, to pixels (homogeneous)."""

    ratio: float
    matrix: Matrix
    wave: Wave

    def to_picture(self, flag_points: Points) -> Points:
        return _projected(self.matrix, flag_points)

    def to_flag(self, picture_points: Points) -> Points:
        """The points of the flag that are seen at points of the picture, in its heights."""
        return self.wave.lift(self.to_flat(picture_points), self.ratio)

    def to_flat(self, picture_points: Points) -> Points:
        """The same without the wave."""
        return _projected(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64), picture_points)

    @property
    def height(self) -> float:
        """The flag's height in the picture, in pixels: the mean of both sides."""
        corners = self.to_picture(_corners(self.ratio))
        return float(np.hypot(*(corners[3] - corners[0])) + np.hypot(*(corners[2] - corners[1]))) / 2


def place(ratio: float, width: int, height: int, generator: np.random.Generator) -> Placement:
    """A flag of a width in heights, in a picture of a size in pixels.

    It is turned by up to 12 degrees and takes 45 to 95 % of the width or of the height. In a third of the cases it
    reaches over one side of the picture by up to 12 % of itself. The generator is used alike for every ratio.
    """
    turn, across, down = np.radians(generator.uniform(-12, 12)), *generator.uniform(-0.08, 0.08, 2)
    share, room_x, room_y = generator.uniform(0.45, 0.95), generator.random(), generator.random()
    is_cropped, side, crop = generator.random() < 1 / 3, int(generator.integers(4)), generator.uniform(0, 0.12)
    wave = _wave(generator)

    middle = np.array([[1, 0, -ratio / 2], [0, 1, -0.5], [0, 0, 1]])
    # The side that is further off is up to 8 % smaller than the middle, the nearer one as much larger.
    perspective = np.array([[1, 0, 0], [0, 1, 0], [2 * across / ratio, 2 * down, 1]])
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    view = rotation @ perspective @ middle
    corners = _projected(view, _corners(ratio, wave.height))
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.array([width, height])
    scale = share * float((size / (high - low)).min())
    free = size - scale * (high - low)
    corner = free * (room_x, room_y)
    if is_cropped:
        axis, end = divmod(side, 2)
        over = crop * scale * (high - low)[axis]
        corner[axis] = free[axis] + over if end else -over
    shift = corner - scale * low
    return Placement(ratio, np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]]) @ view, wave)


def _wave(generator: np.random.Generator) -> Wave:
    """Folds; in two fifths of the cases the flag lies flat, as one that is painted or printed."""
    strength = max(0.0, generator.uniform(-0.67, 1))
    waves, phase, slant = generator.uniform(0.8, 2.4), generator.random(), generator.uniform(-0.2, 0.4)
    return Wave(0.05 * strength, waves, phase, slant, strength * generator.uniform(0.1, 0.35))


def warp(drawn: Image.Image, placement: Placement, width: int, height: int) -> Image.Image:
    """A flag that is drawn flat, as it is seen in a picture of this size: RGBA, transparent around it.

    Its edge must be transparent, at least one pixel wide on all sides; it is no part of the flag.
    """
    flag_height = drawn.height - 2
    corners = placement.to_picture(_corners(placement.ratio, placement.wave.height))
    first = np.maximum(np.floor(corners.min(axis=0)) // CELL, 0).astype(int)
    last = np.ceil(np.minimum(corners.max(axis=0), (width, height)) / CELL).astype(int)
    columns, rows = (
        np.minimum(np.arange(a, b + 1) * side, end)
        for a, b, side, end in zip(first, last, CELL, (width, height), strict=True)
    )
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).astype(float)
    source = placement.to_flag(grid) * ((drawn.width - 2) / placement.ratio, flag_height) + 1.0
    # The corners of each cell in Pillow's order: north-west, south-west, south-east, north-east.
    quads = np.concatenate([source[:-1, :-1], source[1:, :-1], source[1:, 1:], source[:-1, 1:]], axis=-1).tolist()
    boxes = [
        ((x, y, right, below), quads[row][column])
        for row, (y, below) in enumerate(zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True))
        for column, (x, right) in enumerate(zip(columns[:-1].tolist(), columns[1:].tolist(), strict=True))
    ]
    return drawn.transform((width, height), Image.Transform.MESH, boxes, Image.Resampling.BILINEAR)


def shading(placement: Placement, width: int, height: int) -> NDArray[np.float32]:
    """The light on the folds: factors around 1, float32 [height, width]."""
    # A wave is much longer than eight pixels: what lies between is interpolated.
    small = max(2, -(-width // 8)), max(2, -(-height // 8))
    x, y = ((np.arange(n) + 0.5) * full / n for n, full in zip(small, (width, height), strict=True))
    points = np.stack(np.meshgrid(x, y), axis=-1)
    light = 1 + placement.wave.shade * np.cos(placement.wave.turns(placement.to_flat(points), placement.ratio))
    return np.asarray(Image.fromarray(light.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))


def _corners(ratio: float, more: float = 0.0) -> Points:
    """The corners of a flag, in its heights, from the upper hoist clockwise; `more` is added above and below."""
    return np.array([[0, -more], [ratio, -more], [ratio, 1 + more], [0, 1 + more]])


def _projected(matrix: Matrix, points: Points) -> Points:
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return moved[..., :2] / moved[..., 2:]
