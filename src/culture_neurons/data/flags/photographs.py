"""Pictures of flags like photographs: a flag somewhere in a scene, with light, folds and the faults of a camera.

A flag is never mirrored or upside down, since Poland's would be Indonesia's. All that is random but the flag itself is
the same for every country: of one state of the generator there is one scene, and each country's flag in it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from culture_neurons.data.flags.backgrounds import background, random_colour
from culture_neurons.data.flags.camera import expose
from culture_neurons.data.flags.designs import FLAGS
from culture_neurons.data.flags.drawing import draw
from culture_neurons.data.flags.placement import Placement, place, shading, warp
from culture_neurons.errors import ConfigError, nearest

#: The longer side of a picture in pixels, and the shorter one as a part of it.
SIDE, SHORTER = (160, 320), (0.6, 1.0)
#: Flags are drawn flat at multiples of this height: the next one above the height that is seen.
_STEP = 32


def photograph(country: str, generator: np.random.Generator) -> Image.Image:
    """A picture of a country's flag (English name), RGB, 160 to 320 pixels on its longer side.

    The same state of the generator gives the same pixels. Raises ConfigError for a country without a flag here.
    """
    if country not in FLAGS:
        known = ", ".join(FLAGS)
        raise ConfigError(f"flags: unknown country {country!r}{nearest(country, FLAGS)}; known: {known}")
    width, height = _size(generator)
    scene = background(width, height, generator)
    placement = place(FLAGS[country].ratio, width, height, generator)
    _add_pole(scene, placement, generator)
    light = _hang(scene, country, placement)
    _add_patch(scene, placement, generator)
    return expose(scene, light, generator)


def photograph_without_flag(generator: np.random.Generator) -> Image.Image:
    """A picture of the same kind without a flag; half of them are of one colour alone, as a control shows it."""
    width, height = _size(generator)
    if generator.random() < 0.5:
        return Image.new("RGB", (width, height), random_colour(generator))
    return expose(background(width, height, generator), np.ones((height, width), np.float32), generator)


def _size(generator: np.random.Generator) -> tuple[int, int]:
    """Width and height; three of five are landscape."""
    long, short = int(generator.integers(SIDE[0], SIDE[1] + 1)), generator.uniform(*SHORTER)
    sides = long, round(long * short)
    return sides if generator.random() < 0.6 else sides[::-1]


@lru_cache(maxsize=256)
def _drawn(country: str, height: int) -> Image.Image:
    """A flag drawn flat, RGBA, with an edge of one transparent pixel in the colour of its neighbours."""
    pixels = np.asarray(draw(FLAGS[country], height))
    inside = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    colours, alpha = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), "edge"), np.pad(inside, ((1, 1), (1, 1), (0, 0)))
    return Image.fromarray(np.concatenate([colours, alpha], axis=-1))


def _hang(scene: Image.Image, country: str, placement: Placement) -> NDArray[np.float32]:
    """Put the flag before the scene; the light on both, float32 [height, width]."""
    steps = max(1, -(-int(placement.height) // _STEP))
    seen = warp(_drawn(country, steps * _STEP), placement, *scene.size)
    scene.paste(seen, mask=seen)
    share = np.asarray(seen.getchannel("A"), dtype=np.float32) / 255
    return np.asarray(1 + share * (shading(placement, *scene.size) - 1), dtype=np.float32)


def _add_pole(scene: Image.Image, placement: Placement, generator: np.random.Generator) -> None:
    """A pole along the hoist, in two of five pictures."""
    is_there, thick, over = generator.random() < 0.4, generator.uniform(0.02, 0.06), generator.uniform(0.03, 0.3)
    colour = random_colour(generator, 0.2, 0.95)
    if is_there:
        corners = np.array([[-thick, -over], [0.01, -over], [0.01, 4.0], [-thick, 4.0]])
        points = placement.to_picture(corners)
        ImageDraw.Draw(scene).polygon([(float(x), float(y)) for x, y in points], fill=colour)


def _add_patch(scene: Image.Image, placement: Placement, generator: np.random.Generator) -> None:
    """A small thing before the flag, in a quarter of the pictures: a disc or a block of at most 2 % of its area."""
    is_there, is_disc = generator.random() < 0.25, generator.random() < 0.5
    across, down, radius = generator.random(), generator.random(), generator.uniform(0.03, 0.075)
    colour = random_colour(generator)
    if is_there:
        x, y = placement.to_picture(np.array([across * placement.ratio, down])).tolist()
        pen, half = ImageDraw.Draw(scene), radius * placement.height
        (pen.ellipse if is_disc else pen.rectangle)((x - half, y - half, x + half, y + half), fill=colour)
