"""Opening the images that samples refer to.

A reference is a mapping with exactly one of
    bytes    the encoded image itself (a source that embeds its images)
    path     a file, relative to the image root (a table with paths)
    row      a row of a data set that lies elsewhere (CVQA: gigabytes that are never copied)
How references are opened is one JSON-able mapping per data set, kept in the metadata of
`samples.parquet`: {"type": "embedded"}, {"type": "files", "root": folder}, {"type": "datasets",
"path": ..., "revision": ..., "split": ..., "column": ...} or {"type": "none"}.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from culture_neurons.data import pixels, reasons
from culture_neurons.errors import ConfigError, DataError
from culture_neurons.files import first_line

#: Formats that are decoded. A list, because Pillow runs other programs for some (EPS).
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

#: Largest file of an image that is read, in bytes.
MAX_BYTES = 256 << 20

Reference = Mapping[str, Any]
Opener = Callable[[Reference | None], Image.Image | None]
Loader = Callable[[Reference], bytes]


class Inspected(NamedTuple):
    """What a look at an image found: why it can't be used, or "", and its width and height as opened, in pixels."""

    problem: str
    size: tuple[int, int] | None = None


class OutsideRoot(DataError):
    """A path leads out of the image root."""


def opener(images: Mapping[str, Any]) -> Opener:
    """A function from a reference (or None) to its image (or None): RGB, upright, fully decoded.

    Transparent pixels become white, values wider than 8 bits are scaled (`pixels`), an EXIF orientation is applied,
    and of several frames the first is taken. The function raises DataError, naming the reference, when the image
    can't be had.
    """
    load = loader(images)

    def open_image(reference: Reference | None) -> Image.Image | None:
        return None if reference is None else decode(load(reference), describe(reference))

    return open_image


def loader(images: Mapping[str, Any]) -> Loader:
    """A function from a reference to the encoded bytes of its image; nothing is decoded.

    Raises ConfigError for an unknown type; the function raises DataError when there are no such bytes.
    """
    kind = images.get("type")
    if kind in ("embedded", "none"):
        return _embedded
    if kind == "files":
        root = Path(images["root"])
        return lambda reference: _file(root, reference)
    if kind == "datasets":
        return _dataset(images)
    raise ConfigError(f"images: unknown type {kind!r}; known: embedded, files, datasets, none")


def decode(data: bytes, name: str) -> Image.Image:
    """Decode an image to RGB, see `pixels`. Raises DataError for data that is none, is cut short, or is too large."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise DataError(f"{image.width} × {image.height} pixels, more than {Image.MAX_IMAGE_PIXELS}")
            return pixels.to_rgb(image)
    except Exception as error:  # Decoders of damaged data raise anything: OSError, SyntaxError, struct.error, ...
        raise DataError(f"{name}: unreadable image ({first_line(error)})") from None


def inspect(references: Sequence[Reference | None], images: Mapping[str, Any], threads: int = 1) -> Iterator[Inspected]:
    """Decode every image once; yield per reference, in order, whether it can be used, and its size.

    Only one image per thread is held in memory, and none is kept.
    """
    open_image = opener(images)

    def look(reference: Reference | None) -> Inspected:
        try:
            image = open_image(reference)
        except OutsideRoot:
            return Inspected(reasons.IMAGE_OUTSIDE)
        except DataError:
            return Inspected(reasons.BAD_IMAGE)
        return Inspected("", None if image is None else image.size)

    # Pillow warns of odd images, also of those that `decode` refuses as too large. Filters are global
    # and not safe to change in a thread: set them once, around the pool.
    with warnings.catch_warnings(), ThreadPoolExecutor(max(1, threads)) as pool:
        warnings.simplefilter("ignore")
        yield from pool.map(look, references)


def content_id(data: bytes) -> str:
    """The identity of an image: 32 hexadecimal digits of the BLAKE2b hash of its encoded bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def describe(reference: Reference) -> str:
    """A short name of a reference for messages."""
    if reference.get("path") is not None:
        return f"image {reference['path']!r}"
    if reference.get("row") is not None:
        return f"image of row {reference['row']}"
    return "embedded image"


def _embedded(reference: Reference) -> bytes:
    data = reference.get("bytes")
    if data is None:
        raise DataError(f"{describe(reference)}: expected an embedded image")
    return data


def _file(root: Path, reference: Reference) -> bytes:
    name = reference.get("path")
    if name is None:
        raise DataError(f"{describe(reference)}: expected a path below {root}")
    try:
        base = root.resolve()
        path = (base / name).resolve()  # follows links, so that none leads out unseen
        if not path.is_relative_to(base):
            raise OutsideRoot(f"image {name!r}: lies outside the image root {root}")
        if not path.is_file():
            raise DataError(f"image {name!r}: no such file below {root}")
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"image {name!r}: more than {MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"image {name!r}: {first_line(error)}") from None


def _dataset(images: Mapping[str, Any]) -> Loader:
    opened: list[Loader] = []

    def load(reference: Reference) -> bytes:
        if reference.get("row") is None:
            raise DataError(f"{describe(reference)}: expected a row number")
        # Opened at the first image: a run of text alone needs neither the data set nor its library.
        if not opened:
            from culture_neurons.data import hub_rows

            rows = hub_rows.open_rows(images["path"], images.get("revision"), images["split"], images.get("files"))
            column = images.get("column", "image")
            opened.append(lambda reference: rows.image(column, reference["row"]))
        return opened[0](reference)

    return load
