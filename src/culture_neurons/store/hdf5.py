"""HDF5 as all our files use it: errors in one line, metadata, and arrays with checksums."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from culture_neurons.errors import FileError
from culture_neurons.files import atomic, damaged, first_line

SCHEMA = 1
#: Metadata that is the same in all shards of one file; attributes show it to other readers too.
IDENTITY = ("model", "revision", "dtype", "token_rule", "mantissa_bits")
#: Which filters a chunk skips, and its compressed bytes.
Chunk = tuple[int, bytes]


@contextmanager
def open_file(path: str | Path, cache_bytes: int = 8 << 20) -> Iterator[h5py.File]:
    """Open for reading; whatever HDF5 finds wrong, now or while reading, becomes a FileError."""
    try:
        with h5py.File(path, "r", rdcc_nbytes=cache_bytes) as file:
            yield file
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (OSError, LookupError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        raise damaged(path, f"damaged, or no HDF5 file of this project ({first_line(error)})") from None


@contextmanager
def create_file(path: str | Path) -> Iterator[h5py.File]:
    """Open a new file for writing and rename it to `path` at the end; after an error there is none.

    Chunks are written at once, and not by way of a cache: what can't be written when a data set is let go is no error
    in Python. Raises FileError when the file can't be written at the end; for the rest see `naming_errors`.
    """
    with atomic(path) as temporary:
        with naming_errors(path):
            file = h5py.File(temporary, "w", libver="latest", rdcc_nbytes=0)
        try:
            yield file
            with naming_errors(path):
                file.flush()
        except BaseException:
            _discard(file)
            raise
        file.close()


@contextmanager
def naming_errors(path: str | Path) -> Iterator[None]:
    """Whatever HDF5 can't write (the disk is full) becomes a FileError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = re.search(r"error message = '([^']*)'", str(error))
        raise FileError(f"{path}: can't be written ({reason[1] if reason else first_line(error)})") from None


def _discard(file: h5py.File) -> None:
    """Close a file that nobody wants any more.

    When HDF5 can't write what it still holds in memory, it does not close the file, tries again when the process
    ends, and crashes. So the rest goes where there is always room.
    """
    with open(os.devnull, "r+b") as nowhere, suppress(OSError, RuntimeError):
        os.dup2(nowhere.fileno(), file.id.get_vfd_handle())
        file.close()


def compression_options(chunks: tuple[int, ...]) -> dict[str, Any]:
    """Options of a large data set: compressed, with a checksum per chunk; none for an empty one."""
    if not all(chunks):
        return {}
    # The quickest level. Shuffled bytes compress to about their entropy, so that the others gain next to nothing;
    # level 9 saves 3 % of the raw size at a thirtieth of the speed, and shuffling bits is worse on activations.
    blosc = hdf5plugin.Blosc2(cname="zstd", clevel=1, filters=hdf5plugin.Blosc2.SHUFFLE)
    return {"chunks": chunks, "fletcher32": True, **blosc}


def same_storage(one: h5py.Dataset, other: h5py.Dataset) -> bool:
    """Whether chunks of `one` can be copied to `other` as they lie on the disk: single rows, same type and filters."""

    def storage(dataset: h5py.Dataset) -> tuple:
        plist = dataset.id.get_create_plist()
        return dataset.dtype, dataset.chunks, [plist.get_filter(i) for i in range(plist.get_nfilters())]

    return one.chunks[0] == 1 and storage(one) == storage(other)


def read_chunk(dataset: h5py.Dataset, row: int) -> Chunk:
    """The chunk of one row as it lies on the disk."""
    return dataset.id.read_direct_chunk((row, *(0 for _ in dataset.shape[1:])))


def write_chunk(dataset: h5py.Dataset, row: int, chunk: Chunk) -> None:
    """Write what `read_chunk` read from a data set of the same storage."""
    mask, content = chunk
    dataset.id.write_direct_chunk((row, *(0 for _ in dataset.shape[1:])), content, mask)


def write_array(file: h5py.File, name: str, values: np.ndarray) -> None:
    """A small array, in one chunk with a checksum."""
    # With filters that every HDF5 has.
    options = {"chunks": values.shape, "compression": "gzip", "fletcher32": True} if values.size else {}
    file.create_dataset(name, data=values, **options)


def write_strings(file: h5py.File, name: str, values: Sequence[str]) -> None:
    """Texts, as UTF-8."""
    encoded = [value.encode() for value in values]
    width = max([len(value) for value in encoded] + [1])
    # Fixed width keeps the text in the chunk, under its checksum; variable-length text has none.
    write_array(file, name, np.array(encoded, dtype=h5py.string_dtype("utf-8", width)))


def read_strings(file: h5py.File, name: str) -> list[str]:
    """Texts that `write_strings` wrote."""
    return [value.decode() for value in file[name][()]]


def write_metadata(file: h5py.File, site: str, metadata: Mapping[str, Any]) -> None:
    """Schema, site and `metadata`, which goes into a file as JSON."""
    file.attrs["schema"] = SCHEMA
    file.attrs["site"] = site
    for key in IDENTITY:
        if key in metadata:
            file.attrs[key] = metadata[key]
    # What is read back is a data set: attributes, which are there for other readers, have no checksum.
    write_strings(file, "metadata", [json.dumps({**metadata, "site": site}, sort_keys=True, ensure_ascii=False)])


def read_metadata(file: h5py.File, path: str | Path) -> tuple[str, dict[str, Any]]:
    """The site and the metadata. Raises FileError for a file of another layout."""
    schema = file.attrs.get("schema")
    if schema != SCHEMA:
        raise damaged(path, f"file layout {schema!r}, expected {SCHEMA}")
    metadata = json.loads(read_strings(file, "metadata")[0])
    return metadata.pop("site"), metadata
