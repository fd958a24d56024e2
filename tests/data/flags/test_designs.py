from __future__ import annotations

import numpy as np
import pytest

from culture_neurons.data.flags.designs import FLAGS, WHITE
from culture_neurons.data.flags.shapes import Band, Cross, Disc, Lens, Star, Stripes, Wheel, outlines
from culture_neurons.data.readers.facts import COUNTRIES
from tests.data.flags.conftest import drawn, nearest_colours, regions, shares

#: Area of a regular star of five points in squares of its radius.
STAR = 1.12257
PROPORTIONS = {
    "Brazil": (14, 20), "China": (2, 3), "Finland": (11, 18), "Hungary": (2, 3), "India": (2, 3), "Indonesia": (2, 3),
    "Italy": (2, 3), "Japan": (2, 3), "Kenya": (2, 3), "Mexico": (4, 7), "Nigeria": (1, 2), "Poland": (5, 8),
    "Thailand": (2, 3), "Turkey": (2, 3),
}  # fmt: skip

RED, GREEN, BLUE, YELLOW, BLACK, ORANGE = "red", "green", "blue", "yellow", "black", "orange"


def named(colour: tuple[int, int, int]) -> str:
    """The plain name of a colour."""
    red, green, blue = colour
    if min(colour) > 200:
        return "white"
    if max(colour) < 10:
        return BLACK
    if red > 200 and green > 200:
        return YELLOW
    if red > 200 and green > 100:
        return ORANGE
    return RED if red > max(green, blue) else GREEN if green > blue else BLUE


def by_name(country: str, part: tuple[slice, slice] = (slice(None), slice(None))) -> dict[str, float]:
    """Name of a colour -> its share of a part of a flag."""
    total: dict[str, float] = {}
    for colour, share in shares(drawn(country)[part], FLAGS[country].colours).items():
        total[named(colour)] = total.get(named(colour), 0.0) + share
    return {name: share for name, share in total.items() if share}


def test_there_is_a_flag_of_each_country() -> None:
    assert tuple(FLAGS) == COUNTRIES
    assert {country: flag.width / flag.height for country, flag in FLAGS.items()} == pytest.approx(
        {country: width / height for country, (height, width) in PROPORTIONS.items()}
    )
    with pytest.raises(TypeError):
        FLAGS["Japan"] = FLAGS["China"]  # type: ignore[index]


#: Shares that follow from the laws' lengths.
DISC, SKY, RHOMBUS = np.pi * 0.09 / 1.5, np.pi * 3.5**2 / 280, 2 * 8.3 * 5.3 / 280
CHINA = STAR * (0.15**2 + 4 * 0.05**2) / 1.5
FINLAND = (3 * 18 + 3 * 11 - 3 * 3) / (11 * 18)
WHOLE = {
    "China": {YELLOW: CHINA, RED: 1 - CHINA},
    "Finland": {BLUE: FINLAND, "white": 1 - FINLAND},
    "Hungary": {RED: 1 / 3, "white": 1 / 3, GREEN: 1 / 3},
    "Indonesia": {RED: 1 / 2, "white": 1 / 2},
    "Italy": {GREEN: 1 / 3, "white": 1 / 3, RED: 1 / 3},
    "Japan": {RED: DISC, "white": 1 - DISC},
    "Nigeria": {GREEN: 2 / 3, "white": 1 / 3},
    "Poland": {"white": 1 / 2, RED: 1 / 2},
    "Thailand": {RED: 1 / 3, "white": 1 / 3, BLUE: 1 / 3},
}


@pytest.mark.parametrize("country", WHOLE)
def test_colours_have_the_shares_of_the_law(country: str) -> None:
    assert by_name(country) == pytest.approx(WHOLE[country], rel=0.01, abs=0.003)


#: Country -> names of the colours from the top down at the fly, or from the hoist at the lower edge.
DOWN = {
    "Hungary": [RED, "white", GREEN], "India": [ORANGE, "white", GREEN], "Indonesia": [RED, "white"],
    "Kenya": [BLACK, "white", RED, "white", GREEN], "Poland": ["white", RED],
    "Thailand": [RED, "white", BLUE, "white", RED],
}  # fmt: skip
ACROSS = {
    "Italy": [GREEN, "white", RED], "Mexico": [GREEN, "white", RED], "Nigeria": [GREEN, "white", GREEN],
    "Finland": ["white", BLUE, "white"],
}  # fmt: skip
LENGTHS = {
    "Kenya": [6 / 20, 1 / 20, 6 / 20, 1 / 20, 6 / 20], "Thailand": [1 / 6, 1 / 6, 2 / 6, 1 / 6, 1 / 6],
    "Finland": [5 / 18, 3 / 18, 10 / 18],
}  # fmt: skip


@pytest.mark.parametrize("country", [*DOWN, *ACROSS])
def test_stripes_have_their_order_and_lengths(country: str) -> None:
    pixels, colours = drawn(country), FLAGS[country].colours
    line = pixels[:, -3] if country in DOWN else pixels[-3]
    names = [named(colours[number]) for number in nearest_colours(line, colours)]
    starts = [0] + [n for n in range(1, len(names)) if names[n] != names[n - 1]]
    order = DOWN.get(country) or ACROSS[country]
    assert [names[start] for start in starts] == order
    lengths = np.diff([*starts, len(names)]) / len(names)
    assert lengths.tolist() == pytest.approx(LENGTHS.get(country, [1 / len(order)] * len(order)), abs=0.006)
    assert {named(c) for c in colours} >= set(order)


def test_the_disc_of_japan_is_in_the_middle() -> None:
    red = nearest_colours(drawn("Japan"), FLAGS["Japan"].colours) == 1
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max() + 1) == pytest.approx((0.2 * 240, 0.8 * 240), abs=1)
    assert (columns.min(), columns.max() + 1) == pytest.approx((0.45 * 240, 1.05 * 240), abs=1)


def test_the_cross_of_finland_is_nearer_to_the_hoist() -> None:
    blue = nearest_colours(drawn("Finland"), FLAGS["Finland"].colours) == 1
    assert isinstance(FLAGS["Finland"].shapes[1], Cross)
    assert np.nonzero(blue[:, -1])[0][[0, -1]].tolist() == pytest.approx([4 / 11 * 240, 7 / 11 * 240], abs=1)


def test_china_has_five_stars_and_the_small_ones_point_to_the_large_one() -> None:
    yellow = nearest_colours(drawn("China"), FLAGS["China"].colours) == 1
    found = sorted(regions(yellow), key=len, reverse=True)
    assert len(found) == 5
    assert [len(region) for region in found] == pytest.approx(
        [STAR * (0.15 * 240) ** 2] + [STAR * (0.05 * 240) ** 2] * 4, rel=0.06
    )
    # All in the upper quarter at the hoist.
    assert max(np.concatenate(found)[:, 0]) < 120
    assert max(np.concatenate(found)[:, 1]) < 180
    for star in FLAGS["China"].shapes[2:]:
        assert isinstance(star, Star)
        ((_, points),) = outlines(star, 1.5)
        away = np.hypot(star.x - 0.25, star.y - 0.25)
        assert np.hypot(*(points - 0.25).T).min() == pytest.approx(away - star.radius)
    # The large one points up.
    ((_, points),) = outlines(FLAGS["China"].shapes[1], 1.5)
    np.testing.assert_allclose(points[points[:, 1].argmin()], [0.25, 0.1])


def test_the_wheel_of_india() -> None:
    (wheel,) = [shape for shape in FLAGS["India"].shapes if isinstance(shape, Wheel)]
    pixels = drawn("India", 720)
    navy = nearest_colours(pixels, FLAGS["India"].colours) == 3
    rows, columns = np.nonzero(navy)
    assert (rows.min() + rows.max() + 1, columns.min() + columns.max() + 1) == pytest.approx((720, 1080), abs=2)
    assert rows.max() + 1 - rows.min() == pytest.approx(1295 / 4200 * 720, abs=2)
    # On a circle in the middle between hub and rim, spokes and gaps take turns.
    turns = np.radians(np.arange(0, 360, 0.5) + 3)
    middle = wheel.radius / 2 * 720
    ring = navy[(360 - middle * np.cos(turns)).astype(int), (540 + middle * np.sin(turns)).astype(int)]
    assert (ring & ~np.roll(ring, 1)).sum() == 24
    # Nothing of it on saffron and green.
    assert rows.min() > 240
    assert rows.max() < 480


def test_the_crescent_and_the_star_of_turkey() -> None:
    n = 1500
    y, x = (np.mgrid[0:n, 0 : n * 3 // 2] + 0.5) / n
    crescent = (np.hypot(x - 0.5, y - 0.5) < 0.25) & (np.hypot(x - 0.5625, y - 0.5) > 0.2)
    white = nearest_colours(drawn("Turkey"), FLAGS["Turkey"].colours) == 1
    large, small = sorted(regions(white), key=len, reverse=True)
    assert len(large) == pytest.approx(crescent.mean() * white.size, rel=0.02)
    assert len(small) == pytest.approx(STAR * (240 / 8) ** 2, rel=0.04)
    # The star's point at the crescent: a third from the inner circle's edge, on the axis; it enters the crescent.
    ((_, star),) = outlines(FLAGS["Turkey"].shapes[2], 1.5)
    np.testing.assert_allclose(star[star[:, 0].argmin()], [0.3625 + 1 / 3, 0.5])
    assert large[:, 1].max() / 240 > star[:, 0].min()
    assert large[:, 1].min() / 240 == pytest.approx(0.25, abs=0.006)


def test_the_sky_of_brazil() -> None:
    flag = FLAGS["Brazil"]
    share = by_name("Brazil")
    assert share[GREEN] == pytest.approx(1 - RHOMBUS, rel=0.01)
    assert share[YELLOW] == pytest.approx(RHOMBUS - SKY, rel=0.02)
    assert share[BLUE] + share["white"] == pytest.approx(SKY, rel=0.01)
    stars = [shape for shape in flag.shapes if isinstance(shape, Star)]
    (sky,) = [shape for shape in flag.shapes if isinstance(shape, Disc)]
    (band,) = [shape for shape in flag.shapes if isinstance(shape, Band)]
    assert len(stars) == 27
    assert all(np.hypot(star.x - sky.x, star.y - sky.y) + star.radius < sky.radius for star in stars)
    # One star above the band, none on it, and the band rises from its left end to beyond the middle.
    away = np.array([np.hypot(star.x - band.x, star.y - band.y) for star in stars])
    radii = np.array([star.radius for star in stars])
    assert ((away - radii > band.outer).sum(), (away + radii < band.inner).sum()) == (1, 26)
    ((_, points),) = outlines(band, flag.ratio)
    left, right = points[points[:, 0].argmin()], points[points[:, 0].argmax()]
    assert points[:, 1].min() < left[1] < right[1]
    # Upper edge in the middle of the flag: 14 - sqrt(8.5² - 2²) modules.
    middle = drawn("Brazil", 280)[:, 200]
    white = np.nonzero(nearest_colours(middle, flag.colours) == flag.colours.index(WHITE))[0]
    assert white.min() / 20 == pytest.approx(14 - np.sqrt(8.5**2 - 4), abs=0.06)


def test_the_arms_of_mexico_lie_in_their_circle() -> None:
    pixels = drawn("Mexico", 480)
    middle = pixels[:, 280:560]
    rows, columns = np.nonzero(np.abs(middle - 255).sum(axis=-1) > 30)
    away = np.hypot(rows + 0.5 - 240, columns + 280 + 0.5 - 420)
    radius = 0.75 * 280 / 2
    assert 0.9 * radius < away.max() < radius + 1
    assert 0.2 < len(rows) / (np.pi * radius**2) < 0.75


def test_the_shield_of_kenya_lies_over_the_stripes() -> None:
    flag, pixels = FLAGS["Kenya"], drawn("Kenya")
    assert isinstance(flag.shapes[0], Stripes)
    (shield,) = [shape for shape in flag.shapes if isinstance(shape, Lens) and shape.half_height == 0.3]
    assert (shield.x, shield.y) == (0.75, 0.5)
    # Its upper end is red on black; a spear is white on black and on green; beside them there are stripes alone.
    assert pixels[int(0.23 * 240), 180].tolist() == list(shield.colour)
    for row, stripe in ((0.17, (0, 0, 0)), (0.76, (0, 102, 0))):
        names = nearest_colours(pixels[int(row * 240)], ((255, 255, 255), stripe))
        whites = np.nonzero(names == 0)[0]
        assert 0 < (whites < 180).sum() == (whites >= 180).sum() < 20
    assert by_name("Kenya", (slice(None), slice(0, 120))) == pytest.approx(
        {BLACK: 0.3, "white": 0.1, RED: 0.3, GREEN: 0.3}, abs=0.006
    )
