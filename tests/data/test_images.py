from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import pytest
from PIL import Image

from culture_neurons.data import images, reasons
from culture_neurons.errors import ConfigError, DataError
from tests.data.conftest import BROKEN, png

EMBEDDED = {"type": "embedded"}


def test_no_reference_no_image() -> None:
    assert images.opener({"type": "none"})(None) is None


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM"])
def test_formats(form: str) -> None:
    image = images.opener(EMBEDDED)({"bytes": png((255, 255, 255), form=form)})
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (6, 4), (255, 255, 255))


@pytest.mark.parametrize(("mode", "colour", "seen"), [
    ("L", 7, (7, 7, 7)), ("1", 1, (255, 255, 255)), ("RGBA", (0, 9, 0, 255), (0, 9, 0)),
    ("RGBA", (0, 9, 0, 0), (255, 255, 255)), ("LA", (50, 255), (50, 50, 50)),
])  # fmt: skip
def test_modes_become_rgb_on_white(mode: str, colour: object, seen: tuple[int, int, int]) -> None:
    image = images.opener(EMBEDDED)({"bytes": png(colour, mode=mode)})
    assert image.mode == "RGB"
    assert image.getpixel((3, 2)) == seen


def test_a_transparent_palette_becomes_white() -> None:
    buffer = io.BytesIO()
    Image.new("P", (4, 4), 0).save(buffer, "PNG", transparency=b"\x00" * 256)
    assert images.opener(EMBEDDED)({"bytes": buffer.getvalue()}).getpixel((0, 0)) == (255, 255, 255)


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    buffer = io.BytesIO()
    Image.new("RGB", (8, 2)).save(buffer, "JPEG", exif=exif)
    assert images.opener(EMBEDDED)({"bytes": buffer.getvalue()}).size == (2, 8)


@pytest.mark.parametrize("data", [b"", BROKEN, png(size=(40, 40))[:-30], b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_bytes_that_are_no_image(data: bytes) -> None:
    with pytest.raises(DataError, match="embedded image: unreadable image"):
        images.opener(EMBEDDED)({"bytes": data})


def test_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    bombs = [{"bytes": png(size=(6, 6))}, {"bytes": png(size=(9, 9))}, {"bytes": png(size=(4, 5))}]
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")  # as outside the tests: Pillow itself only warns of the first
        inspected = list(images.inspect(bombs, EMBEDDED))
        assert inspected == [(reasons.BAD_IMAGE, None), (reasons.BAD_IMAGE, None), ("", (4, 5))]
        with pytest.raises(DataError, match="6 × 6 pixels, more than 20"):
            images.opener(EMBEDDED)(bombs[0])


def test_decompression_bombs_are_refused() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 20_000
    pixels = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    pixels += chunk(b"IDAT", zlib.compress(bytes((side // 8 + 1) * side)))
    comment = chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(50_000_000)))
    small = png()
    bombs = [
        small[:8] + pixels + chunk(b"IEND", b""),
        small[:33] + comment + small[33:],
        b"P6 60000 60000 255\n" + b"x" * 99,
    ]
    assert max(map(len, bombs)) < 60_000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inspected = list(images.inspect([{"bytes": bomb} for bomb in bombs], EMBEDDED))
    assert inspected == [(reasons.BAD_IMAGE, None)] * 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "a b").mkdir(parents=True)
    (folder / "a b" / "ü.png").write_bytes(png())
    (folder / "broken.png").write_bytes(BROKEN)
    (tmp_path / "secret.png").write_bytes(png())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    os.mkfifo(folder / "pipe.png")
    with open(folder / "huge.png", "wb") as file:
        file.truncate(images.MAX_BYTES + 1)  # takes no disk
    return folder


def test_paths_below_the_root(root: Path) -> None:
    open_image = images.opener({"type": "files", "root": str(root)})
    for path in ("a b/ü.png", "./a b/../a b/ü.png", str(root / "a b" / "ü.png")):
        assert open_image({"path": path}).size == (6, 4)


@pytest.mark.parametrize("path", ["../secret.png", "a b/../../secret.png", "link.png", "/etc/hostname"])
def test_paths_never_leave_the_root(root: Path, path: str) -> None:
    how = {"type": "files", "root": str(root)}
    with pytest.raises(DataError, match="lies outside the image root"):
        images.opener(how)({"path": path})
    assert list(images.inspect([{"path": path}], how)) == [(reasons.IMAGE_OUTSIDE, None)]


@pytest.mark.parametrize(
    "path", ["none.png", "a b", "broken.png", "pipe.png", "huge.png", "a\x00b", "\ud800", "", "a" * 5000]
)
def test_paths_without_an_image(root: Path, path: str) -> None:
    how = {"type": "files", "root": str(root)}
    assert list(images.inspect([{"path": path}], how)) == [(reasons.BAD_IMAGE, None)]


def test_findings_keep_the_order_and_sizes_are_those_of_the_open_image(root: Path) -> None:
    references = [{"path": p} for p in ("a b/ü.png", "broken.png", "../secret.png")] * 20 + [None]
    expected = [("", (6, 4)), (reasons.BAD_IMAGE, None), (reasons.IMAGE_OUTSIDE, None)] * 20 + [("", None)]
    assert list(images.inspect(references, {"type": "files", "root": str(root)}, threads=4)) == expected


@pytest.mark.parametrize(("how", "reference"), [
    (EMBEDDED, {"path": "a"}), ({"type": "files", "root": "."}, {"row": 1}),
    ({"type": "datasets", "path": "x", "split": "test"}, {"bytes": b""}),
])  # fmt: skip
def test_a_reference_of_another_kind(how: dict, reference: dict) -> None:
    with pytest.raises(DataError, match="expected a"):
        images.opener(how)(reference)


def test_an_unknown_type() -> None:
    with pytest.raises(ConfigError, match="unknown type 'zip'; known: embedded, files"):
        images.opener({"type": "zip"})


def test_identity_is_that_of_the_bytes() -> None:
    assert images.content_id(png()) == images.content_id(png())
    assert images.content_id(png()) != images.content_id(png((10, 20, 31)))
    assert len(images.content_id(b"")) == 32
