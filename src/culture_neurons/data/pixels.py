"""Decoded images as 8-bit RGB, whatever mode Pillow opens them in.

`Image.convert("RGB")` clips wide values: a grey image of 16 bits becomes white, one of floats from 0 to 1 black. Here
values are scaled, v -> round(255 (v - low) / (high - low)):

    I;16 ...    unsigned 16 bits: 0 to 65535, or 0 to 4095 where the file has 12 bits
    I           of a PNM file, which Pillow scales to 16 bits: 0 to 65535; else as F
    F           floats, and integers of 32 or signed 16 bits: the image's own least and greatest finite value

In the last, NaN and negative infinity become black, infinity white, and an image of one value black. An image without a
finite value is refused. A TIFF whose zero is white is turned round, and its signed bytes are scaled as F.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from culture_neurons.errors import DataError

#: Every mode of Pillow, and how it becomes RGB: as Pillow converts it, laid over white, or scaled.
MODES = {
    **dict.fromkeys(("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"), "convert"),
    **dict.fromkeys(("LA", "La", "PA", "RGBA", "RGBa"), "overlay"),
    **dict.fromkeys(("I", "F", "I;16", "I;16L", "I;16B", "I;16N"), "scale"),
}

#: Tags of TIFF: bits per sample, photometric interpretation (0: zero is white), sample format (1: unsigned, 2: signed).
_BITS, _PHOTOMETRIC, _FORMAT = 258, 262, 339

#: What a grey value of a PNG with less than 8 bits is multiplied by as Pillow decodes it; its transparent value is not.
_FEW_BITS = {"L;2": 85, "L;4": 17}


@dataclass(frozen=True)
class _Stored:
    """What an image's file says of its grey values, beyond the mode.

    dtype       what the values are, where Pillow reads them as another type of the same width; or None
    low, high   the values of black and white, or None: the image's own
    inverted    whether low is white
    """

    dtype: Any = None
    low: float | None = None
    high: float | None = None
    inverted: bool = False


def to_rgb(image: Image.Image) -> Image.Image:
    """An image as opened -> the same in 8-bit RGB, upright, transparent pixels white; see the module's text.

    Raises DataError for a mode that is not in `MODES`, and where no value is finite; else whatever Pillow raises.
    """
    how = MODES.get(image.mode)
    if how is None:
        raise DataError(f"mode {image.mode!r}; expected one of {', '.join(MODES)}")
    stored, transparent = _stored(image), _transparent(image)
    image.load()
    image = ImageOps.exif_transpose(image)
    if how == "scale" or stored.dtype is not None:
        return _scaled(image, stored, transparent)
    if transparent is not None:
        image.info["transparency"] = transparent
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":  # converts to LA alone
        image = image.convert("LA")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    white.alpha_composite(layer)
    return white.convert("RGB")


def _stored(image: Image.Image) -> _Stored:
    """What the file of an image says of its grey values; before `load`, which closes it."""
    if image.format == "PPM" and image.mode == "I":
        return _Stored(low=0, high=65535)
    sixteen = image.mode.startswith("I;16")
    if image.format != "TIFF":
        return _Stored(low=0, high=65535) if sixteen else _Stored()
    tags = image.tag_v2
    bits, kind = (tuple(tags.get(tag, (1,))) for tag in (_BITS, _FORMAT))
    inverted = tags.get(_PHOTOMETRIC) == 0
    if sixteen:
        return _Stored(low=0, high=4095 if bits == (12,) else 65535, inverted=inverted)
    if image.mode == "I" and (bits, kind) == ((32,), (1,)):  # read as signed
        return _Stored(np.uint32, inverted=inverted)
    if image.mode == "L" and (bits, kind) == ((8,), (2,)):  # read as unsigned
        return _Stored(np.int8, inverted=inverted)
    return _Stored(inverted=inverted)


def _transparent(image: Image.Image) -> Any:
    """The colour that is transparent, in the values that Pillow decodes to; None without one."""
    value = image.info.get("transparency")
    if image.format != "PNG" or not image.tile or value is None:
        return value
    raw = image.tile[0].args
    if isinstance(value, tuple) and raw == "RGB;16B":
        return tuple(part >> 8 for part in value)
    return value * _FEW_BITS[raw] if raw in _FEW_BITS else value


def _scaled(image: Image.Image, stored: _Stored, transparent: Any) -> Image.Image:
    """A grey image of wide values, scaled to RGB. Raises DataError where it needs a finite value and has none."""
    raw = np.asarray(image)  # not image.convert: of I;16N it takes the low byte alone
    values = raw if stored.dtype is None else raw.view(stored.dtype)
    low, high = stored.low, stored.high
    if low is None:
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise DataError("none of its values is finite")
        low, high = float(finite.min()), float(finite.max())
    if stored.inverted:
        low, high = high, low
    grey = values.astype(np.float64)
    grey -= low
    grey *= 255
    grey /= high - low if high != low else 1.0
    np.nan_to_num(grey, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    result = np.rint(np.clip(grey, 0, 255, out=grey), out=grey).astype(np.uint8)
    if isinstance(transparent, int):
        result[raw == transparent] = 255
    return Image.fromarray(result).convert("RGB")
