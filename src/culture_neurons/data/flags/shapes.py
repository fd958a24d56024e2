"""The shapes that flags are made of, and their outlines.

Lengths are in heights of the flag: x from the hoist (the side at the pole, on the left) to the fly, y from the top
down. Turns are in degrees, clockwise as seen; 0 points up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RGB = tuple[int, int, int]
#: Corners [n, 2], float64: x and y of each.
Outline = NDArray[np.float64]

#: Corners of a full circle: at a height of 1000 pixels its sides leave the circle by less than a tenth of a pixel.
_CORNERS = 180
#: A regular star of five points has its inner corners at this part of the radius: sin 18° / sin 54°.
FIVE = 0.381966


@dataclass(frozen=True)
class Stripes:
    """Stripes over the whole flag: from the top down, or from the hoist where they are vertical.

    shares are in any unit, one for each of the colours.
    """

    shares: tuple[float, ...]
    colours: tuple[RGB, ...]
    vertical: bool = False


@dataclass(frozen=True)
class Cross:
    """A cross from edge to edge: the left edge of its upright, the upper edge of its arm, their width."""

    x: float
    y: float
    width: float
    colour: RGB


@dataclass(frozen=True)
class Disc:
    x: float
    y: float
    radius: float
    colour: RGB


@dataclass(frozen=True)
class Ring:
    """A ring, or the part of it between two turns."""

    x: float
    y: float
    outer: float
    inner: float
    colour: RGB
    start: float = 0.0
    stop: float = 360.0


@dataclass(frozen=True)
class Band:
    """The part of a ring around (x, y) that lies in a disc: from edge to edge, above the ring's centre."""

    x: float
    y: float
    outer: float
    inner: float
    disc: Disc
    colour: RGB


@dataclass(frozen=True)
class Star:
    """A star of n points; `inner` is the radius of its inner corners as a part of `radius`."""

    x: float
    y: float
    radius: float
    colour: RGB
    points: int = 5
    turn: float = 0.0
    inner: float = FIVE


@dataclass(frozen=True)
class Crescent:
    """A disc without a smaller one, whose centre lies `shift` further to the fly."""

    x: float
    y: float
    outer: float
    inner: float
    shift: float
    colour: RGB


@dataclass(frozen=True)
class Rhombus:
    x: float
    y: float
    half_width: float
    half_height: float
    colour: RGB


@dataclass(frozen=True)
class Wheel:
    """A rim, a hub and tapered spokes; all widths are parts of the radius."""

    x: float
    y: float
    radius: float
    spokes: int
    colour: RGB
    rim: float = 0.12
    hub: float = 0.18
    spoke: float = 0.075


@dataclass(frozen=True)
class Lens:
    """What two equal arcs enclose, with a point at both ends: a shield, a leaf, a wing, the head of a spear."""

    x: float
    y: float
    half_width: float
    half_height: float
    colour: RGB
    turn: float = 0.0


@dataclass(frozen=True)
class Line:
    """A straight bar between two points."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float
    colour: RGB


Shape = Stripes | Cross | Disc | Ring | Band | Star | Crescent | Rhombus | Wheel | Lens | Line


@dataclass(frozen=True)
class Flag:
    """A flag: its height and width in the law's units, and its shapes from back to front."""

    height: int
    width: int
    shapes: tuple[Shape, ...]

    @property
    def ratio(self) -> float:
        """Width in heights."""
        return self.width / self.height

    @property
    def colours(self) -> tuple[RGB, ...]:
        """The colours of its shapes, each once, from back to front."""
        both = (shape.colours if isinstance(shape, Stripes) else (shape.colour,) for shape in self.shapes)
        return tuple(dict.fromkeys(colour for colours in both for colour in colours))


def outlines(shape: Shape, ratio: float) -> Iterator[tuple[RGB, Outline]]:
    """The parts of a shape on a flag that is `ratio` heights wide, from back to front: colour and outline."""
    if isinstance(shape, Stripes):
        starts = (np.cumsum((0.0, *shape.shares[:-1])) / sum(shape.shares)).tolist()
        for colour, start in zip(shape.colours, starts, strict=True):
            # To the far edge: the next stripe lies over it, and nothing behind shows where a pixel has both.
            yield colour, _box(start * ratio if shape.vertical else 0.0, 0.0 if shape.vertical else start, ratio, 1.0)
        return
    for outline in _outlines(shape, ratio):
        yield shape.colour, outline


def _outlines(shape: Shape, ratio: float) -> Iterator[Outline]:
    match shape:
        case Cross(x, y, width):
            yield _box(x, 0.0, x + width, 1.0)
            yield _box(0.0, y, ratio, y + width)
        case Disc(x, y, radius):
            yield _arc(x, y, radius, 0.0, 360.0)
        case Ring(x, y, outer, inner, _, start, stop):
            yield _sector(_arc(x, y, outer, start, stop), _arc(x, y, inner, start, stop))
        case Band(x, y, outer, inner, disc):
            yield _sector(*(_arc(x, y, radius, *_crossings(x, y, radius, disc)) for radius in (outer, inner)))
        case Star(x, y, radius, _, points, turn, inner):
            turns = turn + np.arange(2 * points) * 180.0 / points
            yield _polar(x, y, np.where(np.arange(2 * points) % 2, inner * radius, radius), turns)
        case Crescent(x, y, outer, inner, shift):
            # The horns, seen from the centres of both circles, as angles from the axis that points to the fly.
            cosine = (shift**2 + outer**2 - inner**2) / (2 * shift * outer)
            far = np.arccos(cosine)
            near = np.arctan2(outer * np.sin(far), outer * cosine - shift)
            far, near = float(np.degrees(far)), float(np.degrees(near))
            back = _arc(x, y, outer, 90.0 + far, 450.0 - far)
            yield _sector(back, _arc(x + shift, y, inner, 90.0 + near, 450.0 - near))
        case Rhombus(x, y, wide, high):
            yield np.array([[x - wide, y], [x, y - high], [x + wide, y], [x, y + high]])
        case Wheel():
            yield from _wheel(shape)
        case Lens(x, y, wide, high, _, turn):
            # Each arc is the part of a circle around (±(radius - wide), 0) that reaches from point to point.
            radius = (wide**2 + high**2) / (2 * wide)
            half = float(np.degrees(np.arctan2(high, radius - wide)))
            right = _arc(wide - radius, 0.0, radius, 90.0 - half, 90.0 + half)
            yield _turned(np.concatenate([right, -right]), turn) + np.array([x, y])
        case Line(x1, y1, x2, y2, width):
            across = np.array([y1 - y2, x2 - x1]) * width / 2 / np.hypot(x2 - x1, y2 - y1)
            tail, tip = np.array([x1, y1]), np.array([x2, y2])
            yield np.array([tail + across, tip + across, tip - across, tail - across])
        case _:
            raise TypeError(f"no shape of a flag: {shape!r}")


def _wheel(wheel: Wheel) -> Iterator[Outline]:
    x, y, radius = wheel.x, wheel.y, wheel.radius
    yield _sector(_arc(x, y, radius, 0.0, 360.0), _arc(x, y, radius * (1 - wheel.rim), 0.0, 360.0))
    yield _arc(x, y, radius * wheel.hub, 0.0, 360.0)
    for number in range(wheel.spokes):
        # Broadest in its middle, a point at both ends.
        spoke = np.array([[0.0, -radius], [radius * wheel.spoke / 2, -radius / 2], [0.0, 0.0]])
        spoke = np.concatenate([spoke, spoke[1:2] * (-1, 1)])
        yield _turned(spoke, number * 360.0 / wheel.spokes) + np.array([x, y])


def _box(left: float, top: float, right: float, bottom: float) -> Outline:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _polar(x: float, y: float, radius: float | Outline, turns: Outline) -> Outline:
    """Points at these turns and distances from (x, y)."""
    angles = np.radians(turns)
    return np.stack([x + radius * np.sin(angles), y - radius * np.cos(angles)], axis=-1)


def _arc(x: float, y: float, radius: float, start: float, stop: float) -> Outline:
    corners = max(8, round(_CORNERS * abs(stop - start) / 360.0)) + 1
    return _polar(x, y, radius, np.linspace(start, stop, corners))


def _sector(outer: Outline, inner: Outline) -> Outline:
    """What lies between two arcs of the same direction."""
    return np.concatenate([outer, inner[::-1]])


def _turned(outline: Outline, turn: float) -> Outline:
    """An outline, turned clockwise around (0, 0)."""
    sine, cosine = np.sin(np.radians(turn)), np.cos(np.radians(turn))
    return np.asarray(outline @ np.array([[cosine, sine], [-sine, cosine]]))


def _crossings(x: float, y: float, radius: float, disc: Disc) -> tuple[float, float]:
    """The turns, seen from (x, y), at which a circle around it enters and leaves a disc."""
    away = float(np.hypot(disc.x - x, disc.y - y))
    middle = float(np.degrees(np.arctan2(disc.x - x, y - disc.y)))
    half = float(np.degrees(np.arccos((radius**2 + away**2 - disc.radius**2) / (2 * radius * away))))
    return middle - half, middle + half
