from __future__ import annotations

import numpy as np
import pytest

from culture_neurons.data.flags import shapes
from culture_neurons.data.flags.shapes import (
    Band,
    Crescent,
    Cross,
    Disc,
    Lens,
    Line,
    Rhombus,
    Ring,
    Star,
    Stripes,
    Wheel,
)

RED, WHITE = (255, 0, 0), (255, 255, 255)


def area(outline: np.ndarray) -> float:
    """The area within an outline, by the shoelace formula."""
    (x, y), (next_x, next_y) = outline.T, np.roll(outline, -1, axis=0).T
    return abs(float((x * next_y - next_x * y).sum())) / 2


def outline(shape: shapes.Shape) -> np.ndarray:
    ((_, points),) = shapes.outlines(shape, 1.5)
    return points


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (Disc(0.7, 0.5, 0.3, RED), np.pi * 0.09),
        (Ring(0.7, 0.5, 0.3, 0.2, RED), np.pi * 0.05),
        (Ring(0.7, 0.5, 0.3, 0.2, RED, 30.0, 120.0), np.pi * 0.05 / 4),
        (Star(0.7, 0.5, 0.3, RED), 1.12257 * 0.09),  # 5 sin 36° sin 18° / sin 126° r²
        (Star(0.7, 0.5, 0.3, RED, points=4, inner=0.5), 4 * 0.09 * 0.5 * np.sin(np.pi / 4)),
        (Rhombus(0.7, 0.5, 0.3, 0.2, RED), 2 * 0.3 * 0.2),
        (Line(0.1, 0.2, 0.4, 0.6, 0.02, RED), 0.5 * 0.02),
        (Lens(0.7, 0.5, 0.2, 0.2, RED), np.pi * 0.04),  # as wide as it is high: a disc
        (Crescent(0.5, 0.5, 0.25, 0.2, 0.0625, RED), None),
        (Lens(0.7, 0.5, 0.1, 0.3, RED, turn=40.0), None),
        (Band(0.6, 1.0, 0.6, 0.55, Disc(0.75, 0.5, 0.25, WHITE), RED), None),
    ],
)
def test_an_outline_has_the_area_of_its_shape(shape: shapes.Shape, expected: float | None) -> None:
    # Where there is no short formula, points of a grid are counted by what the shape is said to be.
    n = 1200
    y, x = (np.mgrid[0:n, 0:n] + 0.5) / n

    def within(centre_x: float, centre_y: float, radius: float) -> np.ndarray:
        return np.hypot(x - centre_x, y - centre_y) < radius

    match shape:
        case Crescent():
            expected = (within(0.5, 0.5, 0.25) & ~within(0.5625, 0.5, 0.2)).mean()
        case Lens(turn=40.0):
            # Two circles of radius (0.1² + 0.3²) / 0.2 = 0.5, whose centres are 0.8 apart; a turn changes no area.
            expected = (within(0.1, 0.5, 0.5) & within(0.9, 0.5, 0.5)).mean()
        case Band():
            expected = (within(0.6, 1.0, 0.6) & ~within(0.6, 1.0, 0.55) & within(0.75, 0.5, 0.25)).mean()
    assert expected is not None
    assert area(outline(shape)) == pytest.approx(expected, rel=0.005)


def test_turns_are_clockwise_and_begin_above() -> None:
    up, right = outline(Star(0.5, 0.5, 0.2, RED))[0], outline(Star(0.5, 0.5, 0.2, RED, turn=90.0))[0]
    np.testing.assert_allclose([up, right], [[0.5, 0.3], [0.7, 0.5]], atol=1e-12)
    lens = outline(Lens(0.5, 0.5, 0.05, 0.2, RED, turn=30.0))
    tip = lens[lens[:, 1].argmin()]
    np.testing.assert_allclose(tip, [0.5 + 0.2 * 0.5, 0.5 - 0.2 * np.cos(np.pi / 6)], atol=0.003)
    below = outline(Ring(0.5, 0.5, 0.2, 0.1, RED, 95.0, 265.0))
    assert below[:, 1].min() > 0.5


def test_a_crescent_is_open_towards_the_fly() -> None:
    points = outline(Crescent(0.5, 0.5, 0.25, 0.2, 0.0625, RED))
    assert points[:, 0].min() == pytest.approx(0.25, abs=1e-3)
    horns = points[points[:, 0] > points[:, 0].max() - 1e-9]
    # From the inner circle's centre to the line between the horns: x = (d² + R² - r²) / 2d - d.
    assert horns[:, 0] == pytest.approx(0.5 + (0.0625**2 + 0.25**2 - 0.2**2) / 0.125)
    assert sorted(horns[:, 1] > 0.5) in ([False, True], [False, False, True, True])


def test_stripes_lie_over_each_other_from_their_edge_on() -> None:
    upright = list(shapes.outlines(Stripes((1, 2), (RED, WHITE), vertical=True), 1.5))
    level = list(shapes.outlines(Stripes((1, 3), (RED, WHITE)), 1.5))
    assert [colour for colour, _ in upright] == [RED, WHITE]
    assert [points.min(axis=0).tolist() for _, points in upright] == [[0, 0], [0.5, 0]]
    assert [points.min(axis=0).tolist() for _, points in level] == [[0, 0], [0, 0.25]]
    assert all(points.max(axis=0).tolist() == [1.5, 1.0] for _, points in upright + level)
    with pytest.raises(ValueError, match="zip"):
        list(shapes.outlines(Stripes((1, 2), (RED,)), 1.5))


def test_a_cross_reaches_all_edges() -> None:
    upright, arm = (points for _, points in shapes.outlines(Cross(0.4, 0.3, 0.2, RED), 1.5))
    assert (upright.min(axis=0).tolist(), upright.max(axis=0).tolist()) == ([0.4, 0.0], [pytest.approx(0.6), 1.0])
    assert (arm.min(axis=0).tolist(), arm.max(axis=0).tolist()) == ([0.0, 0.3], [1.5, 0.5])


def test_a_wheel_has_its_spokes_within_its_rim() -> None:
    parts = [points for _, points in shapes.outlines(Wheel(0.5, 0.5, 0.2, 8, RED), 1.5)]
    assert len(parts) == 2 + 8
    assert all(np.hypot(*(points - 0.5).T).max() <= 0.2 + 1e-12 for points in parts)
    tips = np.array([points[0] for points in parts[2:]]) - 0.5
    turns = np.degrees(np.arctan2(tips[:, 0], -tips[:, 1])) % 360
    np.testing.assert_allclose(turns, np.arange(8) * 45, atol=1e-9)


def test_what_is_no_shape_is_a_defect() -> None:
    class Blob:
        colour = RED

    with pytest.raises(TypeError, match="no shape of a flag"):
        list(shapes.outlines(Blob(), 1.5))  # type: ignore[arg-type]
