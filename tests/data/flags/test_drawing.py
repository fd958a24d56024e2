from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from culture_neurons.data.flags import drawing
from culture_neurons.data.flags.designs import FLAGS
from culture_neurons.data.flags.shapes import Flag, Stripes
from tests.data.flags.conftest import drawn


@pytest.mark.parametrize("country", FLAGS)
def test_a_flag_has_its_size_and_its_proportions(country: str) -> None:
    for height in (11, 90, 240):
        image = drawing.draw(FLAGS[country], height)
        assert image.mode == "RGB"
        assert image.size == (round(height * FLAGS[country].width / FLAGS[country].height), height)


@pytest.mark.parametrize("country", FLAGS)
def test_two_heights_agree(country: str) -> None:
    large, small = drawing.draw(FLAGS[country], 330), drawing.draw(FLAGS[country], 66)
    shrunk = np.asarray(large.resize(small.size, Image.Resampling.BOX)).astype(int)
    difference = np.abs(shrunk - np.asarray(small))
    assert difference.mean() < 0.6
    assert np.quantile(difference, 0.99) < 20


def test_drawing_is_pure() -> None:
    first = drawing.draw(FLAGS["Mexico"], 70)
    first.paste((1, 2, 3), (0, 0, 70, 70))
    again, third = drawing.draw(FLAGS["Mexico"], 70), drawing.draw(FLAGS["Mexico"], 70)
    assert again.tobytes() == third.tobytes() != first.tobytes()


def test_a_pixel_with_two_stripes_is_mixed_of_them_alone() -> None:
    # 10 rows in thirds: row 3 has a third of the first stripe and two of the second, row 6 the other way round.
    flag = Flag(1, 1, (Stripes((1, 1, 1), ((240, 0, 0), (0, 240, 0), (0, 0, 240))),))
    column = np.asarray(drawing.draw(flag, 10))[:, 0].astype(int)
    assert column[[0, 2, 4, 7]].tolist() == [[240, 0, 0], [240, 0, 0], [0, 240, 0], [0, 0, 240]]
    np.testing.assert_allclose(column[[3, 6]], [[80, 160, 0], [0, 160, 80]], atol=240 / 16)
    # Along a row what is covered is exact.
    upright = Flag(1, 1, (Stripes((1, 1, 1), ((240, 0, 0), (0, 240, 0), (0, 0, 240)), vertical=True),))
    assert np.asarray(drawing.draw(upright, 10))[5, [3, 6]].tolist() == [[80, 160, 0], [0, 160, 80]]


def placed(outline: list[tuple[float, float]], width: int = 12, height: int = 10) -> np.ndarray:
    """Coverage as a whole picture."""
    left, top, covered = drawing.coverage(np.array(outline, dtype=float), width, height)
    whole = np.zeros((height, width))
    whole[top : top + covered.shape[0], left : left + covered.shape[1]] = covered
    return whole


@pytest.mark.parametrize("order", [1, -1], ids=["clockwise", "anticlockwise"])
def test_coverage_of_a_box_by_hand(order: int) -> None:
    covered = placed([(2.25, 1), (5.5, 1), (5.5, 3.5), (2.25, 3.5)][::order])
    expected = np.zeros((10, 12))
    expected[1:4, 2:6] = np.outer([1, 1, 0.5], [0.75, 1, 1, 0.5])
    np.testing.assert_allclose(covered, expected, atol=1e-12)


def test_coverage_against_counted_points() -> None:
    # Concave, with a slanting side, and partly beyond each of the edges.
    outline = [(-3.0, 2.2), (6.1, -2.0), (14.5, 5.3), (7.0, 4.0), (8.5, 12.7), (3.3, 6.1)]
    n = 40
    y, x = (np.mgrid[0 : 10 * n, 0 : 12 * n] + 0.5) / n
    inside = np.zeros(x.shape, bool)
    for (x1, y1), (x2, y2) in zip(outline, outline[1:] + outline[:1], strict=True):
        crosses = (y1 <= y) != (y2 <= y)
        inside ^= crosses & (x > x1 + (y - y1) / (y2 - y1) * (x2 - x1))
    counted = inside.reshape(10, n, 12, n).mean(axis=(1, 3))
    assert 0.2 < counted.mean() < 0.8
    np.testing.assert_allclose(placed(outline), counted, atol=0.04)


@pytest.mark.parametrize("shift", [(-40, 0), (40, 0), (0, -40), (0, 40)])
def test_nothing_is_covered_beyond_the_edges(shift: tuple[int, int]) -> None:
    assert placed([(x + shift[0], y + shift[1]) for x, y in [(2, 1), (5, 1), (5, 4)]]).sum() == 0


def test_a_disc_of_any_size_has_its_area() -> None:
    turns = np.linspace(0, 2 * np.pi, 181)
    for radius in (0.4, 1.0, 3.7):
        circle = [(6 + radius * np.cos(t), 5 + radius * np.sin(t)) for t in turns]
        assert placed(circle).sum() == pytest.approx(np.pi * radius**2, rel=0.01)


def test_corners_of_a_flag_are_painted() -> None:
    for country in FLAGS:
        pixels = drawn(country)
        palette = {tuple(colour) for colour in FLAGS[country].colours}
        assert {tuple(pixels[y, x].tolist()) for y in (0, -1) for x in (0, -1)} <= palette
