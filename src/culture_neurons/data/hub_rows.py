"""Data sets in the formats of the Hugging Face hub, read in place: nothing is decoded, nothing copied.

Three homes: a name on the hub (its parquet files are downloaded once into the hub's own cache),
a folder that `datasets` saved with `save_to_disk` (mapped into memory), and local parquet, one
file or a folder of them (read by row group).
"""

from __future__ import annotations

import bisect
import glob
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from os.path import isdir, isfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from culture_neurons import hub
from culture_neurons.data import tabular
from culture_neurons.errors import DataError, nearest
from culture_neurons.files import first_line

#: Rows whose images are in memory at once while their bytes are streamed.
BATCH = 64
#: Files of a data set on the hub that say which others belong to which split.
ABOUT = ("README.md", ".huggingface.yaml")


@dataclass(frozen=True)
class Rows:
    """An opened data set.

    names      its columns
    read       (columns) -> pyarrow table of those columns, all rows in order
    batches    (column) -> the cells of one column, a batch of rows at a time, in order
    cell       (column, row) -> one cell, as a Python value
    revision   the commit of the hub that was read, or None
    files      names of the files on the hub that hold the rows, so that they are found again offline
    """

    names: Sequence[str]
    read: Callable[[Sequence[str]], pa.Table]
    batches: Callable[[str], Iterator[list[Any]]]
    cell: Callable[[str, int], Any]
    revision: str | None = None
    files: Sequence[str] | None = None

    def image(self, column: str, row: int) -> bytes:
        """The encoded bytes of the image in a row. Raises DataError when there are none."""
        data = image_bytes(self.cell(column, row))
        if data is None:
            raise DataError(f"row {row}: column {column!r} holds no bytes of an image")
        return data


def image_bytes(cell: Any) -> bytes | None:
    """The bytes in a cell of an image column: {"bytes", "path"} as `datasets` stores it, or bytes."""
    data = cell.get("bytes") if isinstance(cell, Mapping) else cell
    return data if isinstance(data, bytes) else None


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Whatever pyarrow can't read or convert becomes a DataError."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError) as error:
        raise DataError(f"{where}: no readable parquet ({first_line(error)})") from None


def open_rows(path: str, revision: str | None, split: str, files: Sequence[str] | None = None) -> Rows:
    """Open split `split` of a data set: a parquet file, a folder, or a name on the hub.

    `files` are names of files on the hub from an earlier `Rows`, which spare asking the hub for them.
    Raises DataError when there is no such data set or split, or the hub can't be reached.
    """
    local = Path(path)
    if isfile(path):
        return _parquet([local])
    if isfile(local / "state.json") or isfile(local / "dataset_dict.json"):
        return _saved(local, split)
    if isdir(path):
        return _parquet(_of_split(local, split))
    if not on_hub(path):
        raise DataError(f"{path}: no such file or folder")
    revision, files = (revision, files) if files else _ask(path, revision, split)
    return _parquet([hub.download(path, "dataset", revision, name) for name in files], revision, files)


def read_columns(
    path: str,
    names: Sequence[str],
    *,
    revision: str | None = None,
    split: str = "test",
    config: str | None = None,
    literal: Sequence[str] = (),
) -> dict[str, list[Any]]:
    """Columns of a data set without images, as Python values; beside what `open_rows` opens, CSV, TSV, JSON and JSONL.

    `config` is one of several of a data set on the hub; `literal` as in `tabular.read`. Raises DataError when there is
    no such data set, config, split or column, or the hub can't be reached.
    """
    if isfile(path):
        files = [Path(path)]
    elif on_hub(path):
        commit, file_names = _ask(path, revision, split, config, tabular.SUFFIXES)
        files = [hub.download(path, "dataset", commit, name) for name in file_names]
    else:
        rows = open_rows(path, revision, split)
        for name in names:
            if name not in rows.names:
                raise DataError(
                    f"{path}: no column {name!r}{nearest(name, rows.names)}; it has {', '.join(rows.names)}"
                )
        with readable(path):
            table = rows.read(names)
            return {name: table[name].to_pylist() for name in names}
    tables = [tabular.read(file, names, "source.path", literal) for file in files]
    return {name: [cell for table in tables for cell in table[name]] for name in names}


def on_hub(path: str) -> bool:
    """Whether a path can only be a name on the hub: there is no such file or folder, and it does not look like one."""
    local = Path(path)
    if local.exists() or local.suffix.lower() in tabular.SUFFIXES or path.startswith("."):
        return False
    return bool(re.fullmatch(r"[\w.-]+(/[\w.-]+)?", path))


def fetch(path: str, revision: str | None, split: str, config: str | None = None) -> tuple[str, list[Path]]:
    """Download what is read of a data set on the hub; the commit, and the files in the hub's cache.

    Offline, `open_rows` and `read_columns` find them there. Raises DataError as it does.
    """
    # This keeps what `revision` stands for, and the names of all files: offline, a missing one is noticed.
    commit = hub.fetch(path, "dataset", revision, ABOUT).name
    _, files = _ask(path, commit, split, config, tabular.SUFFIXES)
    folder = hub.fetch(path, "dataset", commit, [*ABOUT, *map(glob.escape, files)])
    return commit, [folder / name for name in files]


def _of_split(folder: Path, split: str) -> list[Path]:
    """Parquet files of a folder that carry the split's name, or all, if none carries a split's name."""
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise DataError(f"{folder}: holds no parquet file, and `datasets` did not save it (no state.json)")

    def carries(file: Path, names: str) -> bool:
        return bool(re.search(rf"(^|[^a-z])({names})([^a-z]|$)", str(file.relative_to(folder)).lower()))

    chosen = [file for file in files if carries(file, re.escape(split.lower()))]
    if not chosen and any(carries(file, "train|test|validation|dev") for file in files):
        raise DataError(f"{folder}: no parquet file of split {split!r}; it has {', '.join(f.name for f in files[:5])}")
    return chosen or files


def _saved(folder: Path, split: str) -> Rows:
    import datasets

    try:
        data = datasets.load_from_disk(str(folder))
    except Exception as error:  # `datasets` raises classes of its own, of pyarrow and of the system alike
        raise DataError(f"{folder}: `datasets` can't load this folder ({first_line(error)})") from None
    if isinstance(data, datasets.DatasetDict):
        if split not in data:
            raise DataError(f"{folder}: no split {split!r}; it has {', '.join(data)}")
        data = data[split]
    raw = data.with_format("arrow")  # cells as stored: images stay encoded

    def batches(column: str) -> Iterator[list[Any]]:
        for start in range(0, len(raw), BATCH):
            yield raw.select_columns([column])[start : start + BATCH][column].to_pylist()

    return Rows(
        names=data.column_names,
        read=lambda columns: raw.select_columns(list(columns))[:],
        batches=batches,
        cell=lambda column, row: raw.select_columns([column])[row][column][0].as_py(),
    )


def _parquet(paths: Sequence[Path], revision: str | None = None, files: Sequence[str] | None = None) -> Rows:
    shown = ", ".join(map(str, paths[:3]))
    with readable(shown):
        opened = [pq.ParquetFile(path) for path in paths]
        names = opened[0].schema_arrow.names
        schemas = [file.schema_arrow.names for file in opened]
    for path, schema in zip(paths, schemas, strict=True):
        if schema != names:
            raise DataError(f"{path}: its columns differ from those of {paths[0]}")
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise DataError(f"{paths[0]}: two columns are called {twice[0][:60]!r}")
    groups = [(file, i) for file in opened for i in range(file.num_row_groups)]
    ends = list(accumulate(file.metadata.row_group(i).num_rows for file, i in groups))
    # Image n of a split is looked up by row; neighbours lie in one row group, so a few are kept.
    lock = threading.Lock()

    @lru_cache(maxsize=2)
    def group(number: int, column: str) -> pa.ChunkedArray:
        file, i = groups[number]
        return file.read_row_group(i, columns=[column], use_threads=False)[column]

    def cell(column: str, row: int) -> Any:
        number = bisect.bisect_right(ends, row)
        if number == len(ends) or row < 0:
            raise DataError(f"row {row}: the data set has {ends[-1] if ends else 0} rows")
        with readable(f"{shown}: row {row}"):
            with lock:
                cells = group(number, column)
            return cells[row - (ends[number - 1] if number else 0)].as_py()

    def batches(column: str) -> Iterator[list[Any]]:
        with readable(f"{shown}: column {column!r}"):
            for file in opened:
                for batch in file.iter_batches(batch_size=BATCH, columns=[column], use_threads=False):
                    yield batch.column(0).to_pylist()

    def read(columns: Sequence[str]) -> pa.Table:
        with readable(shown):
            tables = [file.read(columns=list(columns)).select(list(columns)) for file in opened]
            tables = [table.replace_schema_metadata(None) for table in tables]
            return pa.concat_tables(tables, promote_options="permissive")

    return Rows(names, read, batches, cell, revision, files)


def _ask(
    name: str, revision: str | None, split: str, config: str | None = None, suffixes: Sequence[str] = (".parquet",)
) -> tuple[str, list[str]]:
    """Ask the hub, or offline its cache, for the files of a split and for the commit that they belong to."""
    commit = hub.commit(name, "dataset", revision)
    cache = hub.cached(name, "dataset", commit) if hub.offline() else None
    files = _declared(cache, config, split) if cache else []
    if not files:
        files = _built(name, commit, split, config, cache)
    if not all(file.lower().endswith(tuple(suffixes)) for file in files):
        kinds = " or ".join(suffix[1:] for suffix in suffixes)
        raise DataError(
            f"{name}: split {split!r} is not stored as {kinds}; save it with `save_to_disk` and give its path"
        )
    if cache:
        # Parts that a broken download did not bring are known by name: test-00001-of-00002.
        alike = [re.sub(r"\d+", "*", glob.escape(file)) for file in files]
        hub.cached(name, "dataset", commit, alike)
    return commit, files


def _declared(folder: Path, config: str | None, split: str) -> list[str]:
    """The files of a split that a README declares and that are there; none where it declares no such split.

    `datasets` would ask for the files of all splits, and for those of the first config too; `fetch` brings one split.
    """
    from huggingface_hub import DatasetCard

    try:
        configs = DatasetCard.load(folder / "README.md").data.to_dict().get("configs") or []
        default = [c for c in configs if len(configs) == 1 or c.get("default") or c.get("config_name") == "default"]
        chosen = [c for c in configs if c["config_name"] == config] if config else default
        entries = chosen[0].get("data_files") if chosen else []
        paths = [entry["path"] for entry in entries if isinstance(entry, Mapping) and entry["split"] == split]
        patterns = [p for path in paths for p in ([path] if isinstance(path, str) else path)]
        return sorted({str(file.relative_to(folder)) for pattern in patterns for file in folder.glob(pattern)})
    except Exception:  # no README, none with a heading in YAML, or one of another form: `datasets` may know better
        return []


def _built(name: str, commit: str, split: str, config: str | None, cache: Path | None) -> list[str]:
    """The files of a split as `datasets` finds them, on the hub or in the folder of its cache."""
    import datasets

    try:
        # `datasets` asks the hub even for what lies in the hub's cache, but it reads a folder like a repository.
        builder = datasets.load_dataset_builder(str(cache), config) if cache else (
            datasets.load_dataset_builder(name, config, revision=commit))  # fmt: skip
    except Exception as error:  # the stack below raises classes of five libraries
        where = f"its copy in {cache}" if cache else "the hub"
        raise DataError(f"{name}: {where} can't be read as a data set ({first_line(error)})") from None
    data_files = builder.config.data_files or {}
    if split not in data_files:
        known = ", ".join(map(str, data_files)) or "no files"
        raise DataError(f"{name}: no split {split!r} on the hub; it has {known}")
    start = f"{cache}/" if cache else f"hf://datasets/{name}@{commit}/"
    files = [str(url).removeprefix(start) for url in data_files[split] if str(url).startswith(start)]
    if len(files) < len(data_files[split]):
        raise DataError(f"{name}: split {split!r} lies elsewhere; save it with `save_to_disk` and give its path")
    return files
