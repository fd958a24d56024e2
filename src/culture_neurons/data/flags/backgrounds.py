"""What is behind a flag and beside it: sky, wall, gradient or texture, and things that are no flags."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from culture_neurons.data.flags.shapes import RGB

KINDS = ("sky", "wall", "gradient", "texture")
#: Things behind the flag, at most.
_THINGS = 5

#: Values from 0 to 255, float32 [3, height, width]: channels first, since NumPy is slow where the last axis is short.
Pixels = NDArray[np.float32]


def background(width: int, height: int, generator: np.random.Generator) -> Image.Image:
    """A picture of a random kind with up to five things in it, RGB."""
    kind = KINDS[generator.integers(len(KINDS))]
    pixels = {"sky": _sky, "wall": _wall, "gradient": _gradient, "texture": _texture}[kind](width, height, generator)
    picture = to_image(pixels)
    pen = ImageDraw.Draw(picture)
    for _ in range(generator.integers(_THINGS + 1)):
        _thing(pen, width, height, generator)
    return picture


def to_image(pixels: Pixels) -> Image.Image:
    """Pixels as an RGB picture: clipped and rounded."""
    planes = np.clip(pixels + np.float32(0.5), 0, 255).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(plane) for plane in planes])


def to_pixels(image: Image.Image) -> Pixels:
    """An RGB picture as pixels."""
    return np.stack([np.asarray(plane) for plane in image.split()]).astype(np.float32)


def random_colour(generator: np.random.Generator, least: float = 0.15, most: float = 0.95) -> RGB:
    """A colour of any hue, from grey to strong, whose brightness is between two values from 0 to 1."""
    hue, saturation, value = generator.random(), generator.random() ** 1.5, generator.uniform(least, most)
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def smooth(width: int, height: int, cells: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Blotches: random values from 0 to 1 on about `cells` points of the longer side, with smooth ways between them;
    float32 [height, width]."""
    cell = max(width, height) / cells
    shape = max(2, round(height / cell)), max(2, round(width / cell))
    points = Image.fromarray(generator.random(shape, dtype=np.float32))
    return np.asarray(points.resize((width, height), Image.Resampling.BICUBIC))


def _mixed(first: tuple[float, float, float], second: tuple[float, float, float], share: NDArray[np.float32]) -> Pixels:
    """From the first colour (where share is 0) to the second (1)."""
    start, stop = _channels(first), _channels(second)
    return start + share * (stop - start)


def _channels(colour: tuple[float, float, float]) -> Pixels:
    return np.array(colour, np.float32)[:, None, None]


def _sky(width: int, height: int, generator: np.random.Generator) -> Pixels:
    hue, strength = generator.uniform(0.53, 0.63), generator.uniform(0.05, 0.75)
    high = colorsys.hsv_to_rgb(hue, strength, generator.uniform(0.5, 0.95))
    low = colorsys.hsv_to_rgb(hue, strength * generator.uniform(0.2, 0.7), generator.uniform(0.75, 1.0))
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None] * np.ones((1, width), np.float32)
    sky = np.float32(255) * _mixed(high, low, down)
    clouds = 0.65 * smooth(width, height, 4, generator) + 0.35 * smooth(width, height, 11, generator)
    clouds = np.clip((clouds - generator.uniform(0.4, 0.8)) * 4, 0, 1) * np.float32(generator.uniform(0.3, 0.95))
    return sky + clouds * (np.float32(generator.uniform(225, 250)) - sky)


def _wall(width: int, height: int, generator: np.random.Generator) -> Pixels:
    wall, joint = random_colour(generator, 0.3, 0.9), random_colour(generator, 0.3, 0.9)
    rows, long = int(generator.integers(9, 40)), generator.uniform(1.5, 3.5)
    x, y = np.arange(width), np.arange(height)[:, None]
    course = y // rows
    # Every other course is set off by half a brick; of planks and plaster there are no upright joints.
    upright = (x + course % 2 * int(rows * long / 2)) % int(rows * long) < max(1, rows // 12)
    joints = (y % rows < max(1, rows // 10)) | (upright & (generator.random() < 0.7))
    share = joints * np.float32(generator.uniform(0, 0.8))
    return _mixed(wall, joint, share.astype(np.float32)) * _mottled(width, height, generator)


def _gradient(width: int, height: int, generator: np.random.Generator) -> Pixels:
    first, second = random_colour(generator), random_colour(generator)
    share = np.float32(0.5) * (1 + slope(width, height, generator.uniform(0, 2 * np.pi)))
    return _mixed(first, second, share)


def _texture(width: int, height: int, generator: np.random.Generator) -> Pixels:
    first, second, third = (random_colour(generator) for _ in range(3))
    coarse = smooth(width, height, int(generator.integers(3, 12)), generator)
    fine = smooth(width, height, int(generator.integers(20, 70)), generator)
    mixed = _mixed(first, second, coarse)
    return mixed + fine * np.float32(generator.uniform(0.2, 0.7)) * (_channels(third) - mixed)


def _mottled(width: int, height: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Factors around 1: what makes a plain surface uneven, [height, width]."""
    depth = np.float32(generator.uniform(0.05, 0.35))
    blotches = smooth(width, height, int(generator.integers(5, 50)), generator)
    return 1 + depth * (blotches - np.float32(0.5))


def slope(width: int, height: int, direction: float) -> NDArray[np.float32]:
    """A plane that falls in a direction (radians), from -1 to 1 at most, 0 in the middle; float32 [height, width]."""
    across, down = np.array([np.cos(direction), np.sin(direction)]) / (abs(np.cos(direction)) + abs(np.sin(direction)))
    plane = across * np.linspace(-1, 1, width) + down * np.linspace(-1, 1, height)[:, None]
    return np.asarray(plane, dtype=np.float32)


def _thing(pen: ImageDraw.ImageDraw, width: int, height: int, generator: np.random.Generator) -> None:
    """A patch, a disc, a pole or an irregular block of one colour, anywhere."""
    x, y = generator.uniform(0, width), generator.uniform(0, height)
    size = generator.uniform(0.05, 0.3) * min(width, height)
    colour, kind = random_colour(generator), generator.integers(4)
    if kind == 0:
        slim, turn = generator.uniform(0.3, 1), generator.uniform(0, np.pi)
        angles = turn + np.array([1, -1, 1, -1]) * np.arctan(slim) + np.array([0, 0, np.pi, np.pi])
        _block(pen, x + size * np.cos(angles), y + size * np.sin(angles), colour)
    elif kind == 1:
        pen.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size / 2), fill=colour)
    elif kind == 2:
        pen.line((x, y, x + generator.normal(0, 8), height + 8.0), fill=colour, width=1 + int(size / 8))
    else:
        angles = np.sort(generator.uniform(0, 2 * np.pi, 6))
        radii = size * generator.uniform(0.4, 1, 6)
        _block(pen, x + radii * np.cos(angles), y + radii * np.sin(angles), colour)


def _block(pen: ImageDraw.ImageDraw, x: NDArray[np.float64], y: NDArray[np.float64], colour: RGB) -> None:
    pen.polygon(list(zip(x.tolist(), y.tolist(), strict=True)), fill=colour)
