"""What a camera makes of a scene: light, blur, noise, compression."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from culture_neurons.data.flags.backgrounds import slope, to_image, to_pixels

#: What contrast leaves as it is.
_MIDDLE = np.float32(115)


def expose(scene: Image.Image, light: NDArray[np.float32], generator: np.random.Generator) -> Image.Image:
    """A scene, RGB, and the light on it [height, width] (1: as it is), as a photograph, RGB: brightness, contrast and
    colour cast, light that falls from one side, blur, noise of the sensor in brightness, and in half of the cases the
    traces of JPEG."""
    contrast, haze = np.float32(generator.uniform(0.75, 1.1)), np.float32(generator.uniform(0, 15))
    gain = np.float32(generator.uniform(0.72, 1.12)) * generator.uniform(0.93, 1.07, (3, 1, 1)).astype(np.float32)
    uneven = np.float32(generator.uniform(0, 0.18)) * slope(*scene.size, generator.uniform(0, 2 * np.pi))
    blur, noise = max(0.0, generator.uniform(-0.6, 1.2)), np.float32(generator.uniform(0.5, 7))
    quality, is_compressed = int(generator.integers(40, 96)), generator.random() < 0.5

    pixels = to_pixels(scene.filter(ImageFilter.BoxBlur(blur)) if blur else scene)
    pixels *= light * (1 + uneven)
    pixels *= gain * contrast
    pixels += noise * generator.standard_normal(light.shape, dtype=np.float32) + (_MIDDLE * (1 - contrast) + haze)
    image = to_image(pixels)
    return compress(image, quality) if is_compressed else image


def compress(image: Image.Image, quality: int) -> Image.Image:
    """An RGB image with what JPEG of a quality (1 to 95) leaves of it."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer, formats=["JPEG"]).convert("RGB")


def encode(image: Image.Image) -> bytes:
    """An image as PNG: the same bytes for the same pixels."""
    buffer = io.BytesIO()
    # Grain hardly compresses: more effort takes five times as long for some per cent.
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
