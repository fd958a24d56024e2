"""The flags of fourteen countries: proportions, shapes, colours, and the law or standard that gives them.

Where a law names its colours in words alone, the RGB values are those that are usual on screens; what an emblem
is simplified to is said beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from culture_neurons.data.flags.shapes import (
    RGB,
    Band,
    Crescent,
    Cross,
    Disc,
    Flag,
    Lens,
    Line,
    Rhombus,
    Ring,
    Shape,
    Star,
    Stripes,
    Wheel,
)

WHITE: RGB = (255, 255, 255)
BLACK: RGB = (0, 0, 0)


def _brazil() -> Flag:
    """Law 5.700 of 1 September 1971, article 5, in modules: 14 of height, 20 of width. The rhombus ends 1.7 modules
    from the edges; the disc has a radius of 3.5, the arcs of the band have radii of 8 and 8.5 around a point 2 modules
    left of the middle of the lower edge. The stars (law 8.421 of 1992) are inscribed in circles of 3/10, 1/4, 1/5, 1/7
    and 1/10 of a module. Simplified: their places are read off the annex's plate to about a tenth of a module, and
    the motto on the band is left out."""
    green, yellow, blue = (0, 156, 59), (255, 223, 0), (0, 39, 118)
    module = 1 / 14
    sky = Disc(10 * module, 7 * module, 3.5 * module, blue)
    radii = [module * size / 2 for size in (3 / 10, 1 / 4, 1 / 5, 1 / 7, 1 / 10)]
    # Size, and x and y from the centre of the disc in hundredths of a module.
    stars = (
        (0, -286, -63),  # Canis Minor
        (0, -255, 84), (1, -298, 116), (3, -220, 63), (1, -182, 119), (2, -192, 154),  # Canis Major
        (0, 109, -109),  # Virgo: the one above the band
        (0, 245, 123), (2, 294, 126), (1, 260, 154), (1, 175, 227), (2, 175, 262), (2, 210, 200), (1, 238, 182),
        (2, 174, 193),  # Scorpius
        (1, -133, 14), (2, 95, -18),  # Hydra
        (0, 0, 157), (1, 40, 88), (1, 0, 56), (2, -35, 88), (3, -18, 112),  # Crux
        (1, 105, 236), (2, 135, 205), (2, 77, 196),  # Triangulum Australe
        (0, -140, 186),  # Carina
        (4, 0, 274),  # Octans
    )  # fmt: skip
    sizes = [(radii[size], sky.x + x * module / 100, sky.y + y * module / 100) for size, x, y in stars]
    return Flag(14, 20, (
        Stripes((1,), (green,)),
        Rhombus(10 * module, 7 * module, 8.3 * module, 5.3 * module, yellow),
        sky,
        Band(8 * module, 14 * module, 8.5 * module, 8 * module, sky, WHITE),
        *(Star(x, y, radius, WHITE) for radius, x, y in sizes),
    ))  # fmt: skip


def _china() -> Flag:
    """Note on the making of the flag, Presidium of the CPPCC, 28 September 1949 (GB 12982-2004): 20 units of height,
    30 of width. A star of radius 3 around (5, 5), and four of radius 1, each with a point towards the large one's
    centre."""
    red, yellow = (238, 28, 37), (255, 255, 0)
    unit = 1 / 20
    small = [
        Star(x * unit, y * unit, unit, yellow, turn=float(np.degrees(np.arctan2(5 - x, y - 5))))
        for x, y in ((10, 2), (12, 4), (12, 7), (10, 9))
    ]
    return Flag(2, 3, (Stripes((1,), (red,)), Star(5 * unit, 5 * unit, 3 * unit, yellow), *small))


def _finland() -> Flag:
    """Act on the flag of Finland 380/1978: 11 units of height (4, 3, 4), 18 of width (5, 3, 10); the blue of
    decree 827/1993."""
    return Flag(11, 18, (Stripes((1,), (WHITE,)), Cross(5 / 11, 4 / 11, 3 / 11, (0, 47, 108))))


def _hungary() -> Flag:
    """Fundamental Law of 2011, article I (2): three equal horizontal stripes; 2:3 by government decree 132/2000 on
    flags of public buildings (the state's own is also flown as 1:2); colours of the standard MSZ 1361:2009."""
    return Flag(2, 3, (Stripes((1, 1, 1), ((205, 42, 62), WHITE, (67, 111, 77))),))


def _india() -> Flag:
    """Flag Code of India 2002, and the standard IS 1:1968: 2:3, three equal stripes, a wheel of 24 spokes in the middle
    (of 1,295 mm on a flag of 4,200). Simplified: the small swellings of the rim between spokes are left out."""
    saffron, green, navy = (255, 153, 51), (19, 136, 8), (0, 0, 128)
    return Flag(2, 3, (
        Stripes((1, 1, 1), (saffron, WHITE, green)),
        Wheel(0.75, 0.5, 1295 / 4200 / 2, 24, navy),
    ))  # fmt: skip


def _indonesia() -> Flag:
    """Law 24 of 2009, article 4: 2:3, the upper half red, the lower white."""
    return Flag(2, 3, (Stripes((1, 1), ((255, 0, 0), WHITE)),))


def _italy() -> Flag:
    """Constitution of 1947, article 12: three equal vertical stripes; 2:3 and the colours by the government's protocol
    office (decree of the President of the Council of 14 April 2006: Pantone 17-6153, 11-0601, 18-1662)."""
    return Flag(2, 3, (Stripes((1, 1, 1), ((0, 140, 69), (244, 249, 255), (205, 33, 42)), vertical=True),))


def _japan() -> Flag:
    """Act on National Flag and Anthem, no. 127 of 1999, annex 1: 2:3, a disc in the middle of 3/5 of the height."""
    return Flag(2, 3, (Stripes((1,), (WHITE,)), Disc(0.75, 0.5, 0.3, (188, 0, 45))))


def _kenya() -> Flag:
    """Constitution of 2010, second schedule: 2:3, stripes of 6, 1, 6, 1, 6; shield and spears after its picture.
    Simplified: the shield is a lens of 3/5 of the height, its flanks, boss and four charges are lenses and a disc, and
    the spears are lines with a leaf for a head, without their black edges."""
    red, green = (187, 0, 0), (0, 102, 0)
    spears: list[Shape] = []
    for side in (-1, 1):
        tail, neck = (0.75 - side * 0.179, 0.5 + 0.297), (0.75 + side * 0.113, 0.5 - 0.209)
        spears += [
            Line(*tail, *neck, 0.013, WHITE),
            Lens(0.75 + side * 0.141, 0.5 - 0.283, 0.024, 0.087, WHITE, turn=side * 20.0),
        ]
    sides = [(x, y) for x in (-1, 1) for y in (-1, 1)]
    return Flag(2, 3, (
        Stripes((6, 1, 6, 1, 6), (BLACK, WHITE, red, WHITE, green)),
        *spears,
        Lens(0.75, 0.5, 0.15, 0.3, red),
        *(Lens(0.75 + side * 0.119, 0.5, 0.031, 0.15, BLACK) for side in (-1, 1)),
        Disc(0.75, 0.5, 0.031, WHITE),
        *(Lens(0.75 + x * 0.016, 0.5 + y * 0.168, 0.013, 0.131, WHITE) for x, y in sides),
    ))  # fmt: skip


def _mexico() -> Flag:
    """Law on the National Arms, Flag and Anthem of 1984, article 3: 4:7, three equal vertical stripes, in the middle
    the arms, whose diameter is three quarters of a stripe's width. Simplified: of the arms there are, each in one
    colour and without any drawing inside, an eagle in profile (body, head, beak, wings, tail, leg), the snake in its
    beak, two pads of the cactus, the stone, the water, the half wreath and its ribbon."""
    green, red = (0, 104, 71), (206, 17, 38)
    brown, dark, leaf, pale = (120, 78, 38), (84, 52, 26), (60, 125, 60), (140, 178, 150)
    x, y, radius = 7 / 8, 1 / 2, 7 / 4 / 3 * 3 / 4 / 2

    def at(dx: float, dy: float) -> tuple[float, float]:
        """A place in the arms, in their radii from the middle."""
        return x + dx * radius, y + dy * radius

    return Flag(4, 7, (
        Stripes((1, 1, 1), (green, WHITE, red), vertical=True),
        Ring(x, y, radius, 0.8 * radius, leaf, 95.0, 265.0),
        Line(*at(-0.3, 0.88), *at(0.3, 0.88), 0.1 * radius, red),
        Lens(*at(0.0, 0.68), 0.16 * radius, 0.5 * radius, pale, turn=90.0),
        Lens(*at(0.0, 0.55), 0.14 * radius, 0.26 * radius, (170, 120, 70), turn=90.0),
        Lens(*at(-0.22, 0.34), 0.13 * radius, 0.28 * radius, leaf, turn=-28.0),
        Lens(*at(0.26, 0.34), 0.13 * radius, 0.28 * radius, leaf, turn=28.0),
        Lens(*at(0.4, 0.16), 0.13 * radius, 0.42 * radius, dark, turn=120.0),  # tail
        Lens(*at(0.26, -0.42), 0.22 * radius, 0.48 * radius, dark, turn=24.0),  # the wing behind
        Lens(*at(0.02, -0.12), 0.24 * radius, 0.5 * radius, brown, turn=-24.0),  # body
        Lens(*at(0.42, -0.3), 0.2 * radius, 0.46 * radius, brown, turn=38.0),  # the wing before
        Line(*at(-0.05, 0.18), *at(-0.16, 0.42), 0.1 * radius, brown),  # leg
        Disc(*at(-0.28, -0.58), 0.16 * radius, brown),  # head
        Lens(*at(-0.45, -0.52), 0.06 * radius, 0.16 * radius, (225, 170, 60), turn=70.0),  # beak
        Ring(*at(-0.52, -0.22), 0.3 * radius, 0.21 * radius, leaf, 150.0, 400.0),  # snake
    ))  # fmt: skip


def _nigeria() -> Flag:
    """Flag and Coat of Arms Ordinance of 1960: 1:2, three equal vertical stripes."""
    green = (0, 135, 81)
    return Flag(1, 2, (Stripes((1, 1, 1), (green, WHITE, green), vertical=True),))


def _poland() -> Flag:
    """Act on the coat of arms, colours and anthem of 31 January 1980, articles 4 to 6: 5:8, the upper half white, the
    lower red; colours of its annex 2, converted to RGB."""
    return Flag(5, 8, (Stripes((1, 1), ((233, 232, 231), (212, 33, 61))),))


def _thailand() -> Flag:
    """Flags Act B.E. 2522 (1979), section 5: 6:9, stripes of 1, 1, 2, 1, 1; colours as the Office of the Prime Minister
    announced in 2017."""
    red, white, blue = (165, 25, 49), (244, 245, 248), (45, 42, 74)
    return Flag(6, 9, (Stripes((1, 1, 2, 1, 1), (red, white, blue, white, red)),))


def _turkey() -> Flag:
    """Law 2893 of 1983 and regulation 85/9034 of 1985: 2:3; the crescent's outer circle has a diameter of 1/2 around a
    point 1/2 from the hoist, the inner one of 2/5 around a point 1/16 further; the star lies in a circle of 1/4, one
    point on the axis towards the crescent, 1/3 from the inner circle. Simplified: the hem is left out."""
    point = 1 / 2 + 1 / 16 - 1 / 5 + 1 / 3
    return Flag(2, 3, (
        Stripes((1,), ((227, 10, 23),)),
        Crescent(1 / 2, 1 / 2, 1 / 4, 1 / 5, 1 / 16, WHITE),
        Star(point + 1 / 8, 1 / 2, 1 / 8, WHITE, turn=-90.0),
    ))  # fmt: skip


def _flags() -> Iterator[tuple[str, Flag]]:
    yield "Brazil", _brazil()
    yield "China", _china()
    yield "Finland", _finland()
    yield "Hungary", _hungary()
    yield "India", _india()
    yield "Indonesia", _indonesia()
    yield "Italy", _italy()
    yield "Japan", _japan()
    yield "Kenya", _kenya()
    yield "Mexico", _mexico()
    yield "Nigeria", _nigeria()
    yield "Poland", _poland()
    yield "Thailand", _thailand()
    yield "Turkey", _turkey()


#: English name of a country -> its flag.
FLAGS: Mapping[str, Flag] = MappingProxyType(dict(_flags()))
