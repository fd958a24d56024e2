"""Sums per sample, unpacked into a scratch file: to be read a thousand times, a culture and a few neurons at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from culture_neurons.errors import FileError
from culture_neurons.store import hdf5, totals
from culture_neurons.store.statistics import read_experts, read_tokens, recorded_sums
from culture_neurons.types import Experts

#: Neurons that lie side by side in the scratch file, and bytes of a part at most (of one sum of all samples of a
#: culture): parts that stay in a core's cache.
_WIDTH, _PART_BYTES = 1 << 14, 4 << 20


@dataclass(frozen=True)
class SampleSums:
    """The sums of all samples of a statistics file.

    names        of the sums, fields of `Statistics`: fired, positive_sum; and where the negative part was recorded
                 mean_sum (x - x_0 of a neuron, see `Statistics`) and square_sum (its square)
    cultures     names, sorted
    sample_ids   per culture, in the order of the file
    tokens       T, per culture int64 [sample]; of a model with experts [sample, column]
    column       of each neuron, int32 [layer, neuron], of a model with experts (`types.Experts.column`)
    shape        layers, neurons
    parts        slices of layer * neuron in which the sums are read
    """

    names: tuple[str, ...]
    cultures: list[str]
    sample_ids: list[list[str]]
    tokens: list[np.ndarray]
    shape: tuple[int, int]
    parts: list[slice]
    _file: int = field(repr=False)
    _types: dict[str, np.dtype] = field(repr=False)
    _start: dict[str, int] = field(repr=False)
    column: np.ndarray | None = field(default=None, repr=False)

    def read(self, culture: int, part: slice) -> dict[str, np.ndarray]:
        """All sums of all samples of a culture, of the neurons of one of the `parts`: by name float32 [sample, neuron].

        Threads may read at the same time.
        """
        sums, samples = {}, len(self.tokens[culture])
        for name, kind in self._types.items():
            size = samples * (part.stop - part.start) * kind.itemsize
            content = os.pread(self._file, size, self._offset(name, culture, part))
            sums[name] = np.frombuffer(content, kind).reshape(samples, -1).astype(np.float32, copy=False)
        if "mean_sum" in sums:
            sums["square_sum"] = np.square(sums["mean_sum"])
        return sums

    def _offset(self, name: str, culture: int, part: slice) -> int:
        """Where a part begins: one sum after the other, in it cultures, then parts, then samples."""
        before, mine = sum(map(len, self.tokens[:culture])), len(self.tokens[culture])
        values = before * self.shape[0] * self.shape[1] + mine * part.start
        return self._start[name] + values * self._types[name].itemsize

    def _write(self, name: str, culture: int, row: int, values: np.ndarray) -> None:
        """One sum of the culture's sample `row`, [layer * neuron]."""
        for part in self.parts:
            at = self._offset(name, culture, part) + row * (part.stop - part.start) * values.itemsize
            os.pwrite(self._file, values[part].tobytes(), at)


@contextmanager
def sample_sums(path: str | Path) -> Iterator[SampleSums]:
    """Unpack a statistics file into a file of the temporary folder (TMPDIR), which is gone at the end.

    It takes the bytes of the plain arrays there, and in memory those of a chunk. Raises FileError for a damaged file,
    or when the scratch file can't be written.
    """
    with tempfile.TemporaryFile(prefix="culture-neurons-") as scratch:
        with hdf5.open_file(path) as file:
            site, metadata = hdf5.read_metadata(file, path)
            ids, cultures = hdf5.read_strings(file, "sample_id"), hdf5.read_strings(file, "culture")
            tokens, experts = read_tokens(file, site).astype(np.int64), read_experts(metadata)
            sums = recorded_sums(file, site)
            result = _layout(scratch.fileno(), ids, cultures, tokens, sums, experts)
            try:
                _copy(sums, cultures, tokens, result)
            except OSError as error:
                if error.errno is None:  # of HDF5
                    raise
                raise FileError(
                    f"{tempfile.gettempdir()}: no room to unpack {path} ({os.strerror(error.errno)});"
                    " set TMPDIR to a folder on a larger disk"
                ) from None
        yield result


def _layout(
    file: int, ids: list[str], cultures: list[str], tokens: np.ndarray, sums: dict[str, h5py.Dataset],
    experts: Experts | None,
) -> SampleSums:  # fmt: skip
    known = sorted(set(cultures))
    rows = [[i for i, name in enumerate(cultures) if name == culture] for culture in known]
    shape = sums["fired"].shape[1:]
    size, largest = shape[0] * shape[1], max(map(len, rows), default=1)
    width = max(1, min(_WIDTH, _PART_BYTES // (4 * largest), size))
    types = {"fired": sums["fired"].dtype, "positive_sum": np.dtype(np.float32)}
    types |= {"mean_sum": np.dtype(np.float32)} if "negative_sum" in sums else {}
    start = np.cumsum([0, *(len(ids) * size * kind.itemsize for kind in types.values())])
    return SampleSums(
        (*types, *(["square_sum"] if "mean_sum" in types else [])), known,
        [[ids[i] for i in mine] for mine in rows], [tokens[mine] for mine in rows], shape,
        [slice(at, min(at + width, size)) for at in range(0, size, width)], file, types,
        dict(zip(types, map(int, start), strict=False)), None if experts is None else experts.column(),
    )  # fmt: skip


def _copy(sums: dict[str, h5py.Dataset], cultures: list[str], tokens: np.ndarray, target: SampleSums) -> None:
    place, seen = [], dict.fromkeys(target.cultures, 0)
    for culture in cultures:
        place.append((target.cultures.index(culture), seen[culture]))
        seen[culture] += 1
    step, centre = sums["fired"].chunks[0] if cultures else 1, None
    for start in range(0, len(cultures), step):
        rows = slice(start, start + step)
        features = totals.features(
            tokens[rows], {name: dataset[rows] for name, dataset in sums.items()}, target.column
        )  # fmt: skip
        if "mean_sum" in features:
            # x_0 is near every x, so that squares of x - x_0 keep their digits in float32; and exactly x where all
            # samples agree.
            mean = features["mean_sum"].astype(np.float32)
            centre = np.median(mean, axis=0) if centre is None else centre
            features["mean_sum"] = mean - centre
            if target.column is not None:  # a sample of which no token reaches a neuron adds nothing
                features["mean_sum"][tokens[rows][:, target.column] == 0] = 0
        for name, kind in target._types.items():
            for (culture, row), values in zip(place[rows], features[name], strict=True):
                target._write(name, culture, row, values.ravel().astype(kind, copy=False))
