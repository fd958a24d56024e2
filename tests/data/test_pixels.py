from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageMode

from culture_neurons.data import images, pixels, reasons
from culture_neurons.errors import DataError

#: mode -> the bytes of a black pixel and those of a white one, in the type of that mode.
BLACK_AND_WHITE: dict[str, tuple[bytes, bytes]] = {
    "1": (b"\x00", b"\xff"),
    "L": (b"\x00", b"\xff"),
    "P": (b"\x00", b"\xff"),
    "LA": (b"\x00\xff", b"\xff\xff"),
    "La": (b"\x00\xff", b"\xff\xff"),
    "PA": (b"\x00\xff", b"\xff\xff"),
    "RGB": (b"\x00" * 3, b"\xff" * 3),
    "RGBX": (b"\x00" * 4, b"\xff" * 4),
    "RGBA": (b"\x00\x00\x00\xff", b"\xff" * 4),
    "RGBa": (b"\x00\x00\x00\xff", b"\xff" * 4),
    "CMYK": (b"\x00\x00\x00\xff", b"\x00" * 4),
    "YCbCr": (b"\x00\x80\x80", b"\xff\x80\x80"),
    "HSV": (b"\x00\x00\x00", b"\x00\x00\xff"),
    "LAB": (b"\x00\x00\x00", b"\xff\x00\x00"),
    "I": (struct.pack("=i", -7), struct.pack("=i", 1_000_000)),
    "F": (struct.pack("=f", 0.25), struct.pack("=f", 0.75)),
    "I;16": (b"\x00\x00", b"\xff\xff"),
    "I;16L": (b"\x00\x00", b"\xff\xff"),
    "I;16B": (b"\x00\x00", b"\xff\xff"),
    "I;16N": (b"\x00\x00", b"\xff\xff"),
}


def halves(mode: str, side: int = 16) -> Image.Image:
    """An image whose left half is black, and whose right half is white."""
    if mode == "1":  # eight pixels a byte
        return halves("L", side).convert("1")
    black, white = BLACK_AND_WHITE[mode]
    image = Image.frombytes(mode, (2 * side, side), (black * side + white * side) * side, "raw", mode)
    if mode in ("P", "PA"):
        image.putpalette([level for level in range(256) for _ in "RGB"])
    return image


def decoded(data: bytes) -> list[Any]:
    """The grey values of an image's first row, as `images.decode` gives it."""
    image = images.decode(data, "x")
    assert image.mode == "RGB"
    row = np.asarray(image)[0]
    assert (row == row[:, :1]).all()
    return row[:, 0].tolist()


def encoded(values: np.ndarray, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, form, **options)
    return buffer.getvalue()


def tiff(values: np.ndarray, kind: int, photometric: int = 1, bits: int | None = None) -> bytes:
    """An uncompressed TIFF of one row, byte by byte: Pillow writes few of those that it reads."""
    order = ">" if values.dtype.byteorder == ">" else "<"
    data = values.tobytes()
    bits = bits or values.dtype.itemsize * 8
    width = len(data) * 8 // bits
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 1),
            (279, len(data)), (339, kind)]  # fmt: skip
    data += b"\0" * (len(data) % 2)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data))
    entries = b"".join(struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    return start + data + struct.pack(order + "H", len(tags)) + entries + b"\0" * 4


def grey_png(depth: int, row: bytes, width: int, transparent: bytes, colour: int = 0) -> bytes:
    """A PNG of one row with one transparent colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    heading = struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0)
    parts = ((b"IHDR", heading), (b"tRNS", transparent), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_every_mode_that_pillow_knows_is_in_the_table() -> None:
    """A new mode of Pillow fails here: give it a line in `pixels.MODES`, or leave it out on purpose."""
    names = set(Image.MODES) | {f"I;{bits}{more}" for bits in (16, 32) for more in ("", "L", "B", "N", "S", "BS")}
    usable = set()
    for name in names:
        try:
            Image.new(name, (1, 1))
        except (ValueError, KeyError):
            continue
        usable.add(name)
        assert ImageMode.getmode(name)
    assert usable == set(pixels.MODES) == set(BLACK_AND_WHITE)


@pytest.mark.parametrize("mode", sorted(pixels.MODES))
def test_black_stays_black_and_white_stays_white_in_every_mode(mode: str) -> None:
    converted = pixels.to_rgb(halves(mode))
    assert (converted.mode, converted.size) == ("RGB", (32, 16))
    expected = np.repeat([0, 255], 16)[None, :, None].repeat(16, 0).repeat(3, 2)
    # Of 16 bits an image in memory tells the type alone; of wider ones its own range is used.
    np.testing.assert_allclose(np.asarray(converted, int), expected, atol=3)


#: format -> the modes that Pillow stores in it, and reads again; what it writes of YCbCr in a TIFF it can't.
STORED = {
    "BMP": "1 L P RGB RGBA",
    "GIF": "1 L LA P RGB RGBA",
    "JPEG": "1 CMYK L RGB RGBX YCbCr",
    "JPEG2000": "CMYK I;16 I;16B L LA RGB RGBA YCbCr",
    "PNG": "1 I I;16 I;16B L LA P RGB RGBA",
    "PPM": "1 F I I;16 L RGB RGBA",
    "TIFF": "1 CMYK F I I;16 I;16B I;16L L LA LAB P PA RGB RGBA RGBX",
    "WEBP": "1 CMYK HSV L LA LAB P PA RGB RGBA RGBX RGBa YCbCr",
}


@pytest.mark.parametrize("form", images.FORMATS)
def test_every_mode_comes_through_every_format_that_can_hold_it(form: str) -> None:
    stored = []
    for mode in sorted(pixels.MODES):
        picture = halves(mode)
        if pixels.MODES[mode] == "scale" and form in ("GIF", "WEBP"):
            continue  # of 8 bits: their writers clip what is wider
        if mode == "I":  # a PNG or PGM of mode I has 16 bits
            picture = Image.fromarray(np.asarray(picture).clip(0, 65535).astype(np.int32))
        buffer = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what later versions won't write any more
                picture.save(buffer, form)
            colours = np.asarray(images.decode(buffer.getvalue(), "x"), int)
        except (OSError, KeyError, ValueError, DataError):
            continue
        stored.append(mode)
        assert colours[:, :12].max() < 10, mode
        assert colours[:, -12:].min() > 245, mode
    assert " ".join(stored) == STORED[form]


RAMP = np.array([[0, 257, 32767, 32896, 65278, 65535]], np.uint16)
RAMP_8 = [0, 1, 127, 128, 254, 255]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_sixteen_bits_are_scaled_by_their_range(form: str) -> None:
    options = {"irreversible": False} if form == "JPEG2000" else {}
    assert decoded(encoded(RAMP, form, **options)) == RAMP_8


def test_the_range_is_that_of_the_mode_not_of_the_image() -> None:
    """A dark photograph of 16 bits stays dark."""
    assert decoded(encoded(np.array([[1000, 2000]], np.uint16), "PNG")) == [4, 8]


@pytest.mark.parametrize(("data", "expected"), [
    (tiff(RAMP.astype("<u2"), 1), RAMP_8),
    (tiff(RAMP.astype(">u2"), 1), RAMP_8),
    (tiff(RAMP.astype("<u2"), 1, photometric=0), RAMP_8[::-1]),  # zero is white
    (tiff(np.frombuffer(b"\xff\xf0\x00\x80\x00\x00", np.uint8), 1, bits=12), [255, 0, 128, 0]),
    (tiff(np.array([0, 2**31, 2**32 - 1], "<u4"), 1), [0, 128, 255]),
    (tiff(np.array([-2000, 0, 2000], "<i4"), 2), [0, 128, 255]),
    (tiff(np.array([-200, 0, 200], ">i2"), 2), [0, 128, 255]),
    (tiff(np.array([-100, 0, 100], "i1"), 2), [0, 128, 255]),
    (tiff(np.array([0, 7, 255], "u1"), 1), [0, 7, 255]),
    (tiff(np.array([0, 7, 255], "u1"), 1, photometric=0), [255, 248, 0]),
    (tiff(np.array([0, 0.5, 1], "<f4"), 3), [0, 128, 255]),
    (tiff(np.array([-1e30, 0, 1e30], ">f4"), 3), [0, 128, 255]),
    (tiff(np.array([0, 0.25, 1], "<f4"), 3, photometric=0), [255, 191, 0]),
    (tiff(np.array([0, 4, np.nan, np.inf, -np.inf, 2], "<f4"), 3), [0, 255, 0, 255, 0, 128]),
    (tiff(np.array([7, 7, 7], "<f4"), 3), [0, 0, 0]),  # of one value: black
    (tiff(np.array([7, np.inf, np.nan], "<f4"), 3), [0, 255, 0]),
    (b"P5 3 1 300\n" + struct.pack(">3H", 0, 150, 300), [0, 128, 255]),
    (b"Pf\n3 1\n-1.0\n" + struct.pack("<3f", 0, 0.5, 1), [0, 128, 255]),
])  # fmt: skip
def test_what_the_file_says_of_its_values_is_heeded(data: bytes, expected: list[int]) -> None:
    assert decoded(data) == expected


def test_an_image_without_a_finite_value_is_dropped_with_a_reason() -> None:
    data = tiff(np.array([np.nan, np.inf], "<f4"), 3)
    with pytest.raises(DataError, match=r"^x: unreadable image \(none of its values is finite\)$"):
        images.decode(data, "x")
    assert list(images.inspect([{"bytes": data}], {"type": "embedded"})) == [(reasons.BAD_IMAGE, None)]


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(pixels.MODES, "L")
    with pytest.raises(DataError, match="mode 'L'; expected one of 1, P, RGB"):
        images.decode(encoded(np.zeros((2, 2), np.uint8), "PNG"), "x")


@pytest.mark.parametrize(("data", "expected"), [
    (grey_png(16, struct.pack(">3H", 700, 40000, 701), 3, struct.pack(">H", 700)), [255, 156, 3]),
    (grey_png(8, bytes([7, 9]), 2, struct.pack(">H", 7)), [255, 9]),
    (grey_png(4, b"\x1f", 2, struct.pack(">H", 1)), [255, 255]),
    (grey_png(2, b"\x1b", 4, struct.pack(">H", 1)), [0, 255, 170, 255]),
    (grey_png(1, b"\x80", 2, struct.pack(">H", 0)), [255, 255]),
    (grey_png(16, struct.pack(">6H", 9000, 9000, 9000, 65535, 65535, 65535), 2, struct.pack(">3H", 9000, 9000, 9000),
              colour=2), [255, 255]),
])  # fmt: skip
def test_the_transparent_colour_of_a_png_becomes_white_at_every_depth(data: bytes, expected: list[int]) -> None:
    assert decoded(data) == expected


@pytest.mark.parametrize(("mode", "clear"), [
    ("LA", b"\x00\x00"), ("La", b"\x00\x00"), ("PA", b"\x00\x00"), ("RGBA", b"\x00" * 4), ("RGBa", b"\x00" * 4),
])  # fmt: skip
def test_what_is_transparent_is_white_in_every_mode(mode: str, clear: bytes) -> None:
    assert pixels.to_rgb(Image.frombytes(mode, (1, 1), clear, "raw", mode)).getpixel((0, 0)) == (255, 255, 255)


def test_colours_keep_their_hue() -> None:
    red = {"HSV": (0, 255, 255), "CMYK": (0, 255, 255, 0), "YCbCr": (76, 85, 255), "LAB": (138, 208, 195)}
    for mode, colour in red.items():
        converted = pixels.to_rgb(Image.new(mode, (1, 1), colour)).getpixel((0, 0))
        np.testing.assert_allclose(converted, (255, 0, 0), atol=12, err_msg=mode)


def test_a_wide_image_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    image = images.decode(encoded(RAMP, "PNG", exif=exif), "x")
    assert image.size == (1, 6)
    assert np.asarray(image)[:, 0, 0].tolist() == RAMP_8
