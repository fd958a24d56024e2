"""Files between steps: atomic writes, tables, and the provenance each one carries.

A step writes to a name that is unique to its process, in the folder of the target,
and renames it into place at the end: a killed or failed job leaves nothing half written,
and two jobs that write the same target can't mix their bytes.
"""

from __future__ import annotations

import csv
import errno
import glob
import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from culture_neurons.errors import FileError

# Loading these takes longer than many a job that writes no table, so that only functions which need them do.
if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

#: Key of the JSON object of provenance in the metadata of a parquet file.
METADATA_KEY = b"culture_neurons"
#: Bytes of the digests in a parquet file, and of what is digested at a time.
_DIGEST, _BLOCK = 16, 1 << 20
#: A text that a spreadsheet would compute or split, and the same once it has been quoted.
_FORMULA, _QUOTED = (re.compile(rf"'{n}[=+\-@\t\r\n＝＋－＠]") for n in "*+")
#: In a model's folder: how a demo model came about, and which GGUF file one was converted from. No part of the model.
_NOTES = ("training.json", "gguf.json")
#: What the system may say when a file can't be written, whatever its content.
_CANT_WRITE = {errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EPERM, errno.EROFS}


def damaged(path: str | Path, why: str) -> FileError:
    """The error of a file that must be made again: what is wrong, in a few words, and how it is rebuilt."""
    return FileError(f"{path}: {why}; rebuild it: rm {shlex.quote(str(path))}, then the same snakemake command again")


@contextmanager
def atomic(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it onto `target` when the block succeeds.

    A link called `target` is replaced, not followed. Raises FileError when the disk is full or may not be written.
    """
    target = Path(target)
    temporary = target.with_name(f".{target.name}.{os.uname().nodename}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_over(target)
        yield temporary
        if temporary.is_dir() and target.is_symlink():
            target.unlink()
        elif temporary.is_dir() and target.is_dir():
            shutil.rmtree(target)
        os.replace(temporary, target)
    except Exception as error:
        code = _system_code(error)
        if code not in _CANT_WRITE:
            raise
        raise FileError(f"{target}: can't be written ({os.strerror(code)})") from None
    finally:
        _remove(temporary)


def _system_code(error: Exception) -> int | None:
    """The system's number of an error; libraries in Rust (safetensors) have it in the text alone."""
    if isinstance(error, OSError):
        return error.errno
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None


def _remove_left_over(target: Path) -> None:
    """Remove what processes of this machine that were killed while they wrote `target` left beside it."""
    start = f".{target.name}.{os.uname().nodename}."
    for path in target.parent.glob(f"{glob.escape(start)}*.tmp"):
        process = path.name[len(start) : -len(".tmp")]
        try:
            # No signal: it only asks whether the process is there.
            os.kill(int(process), 0) if process.isdecimal() else None
        except ProcessLookupError:
            _remove(path)
        except (OSError, OverflowError):
            continue  # another user's process


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_table(path: str | Path, table: pd.DataFrame | pa.Table, metadata: Mapping[str, Any]) -> None:
    """Write a parquet file whose schema metadata holds `metadata` as JSON, with digests of all of its bytes.

    Raises FileError when it can't be written.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    blob = json.dumps(dict(metadata), sort_keys=True, ensure_ascii=False).encode()
    table = table.replace_schema_metadata({METADATA_KEY: blob})
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        _seal(temporary)


def read_table(
    path: str | Path, columns: Sequence[str] = (), only: bool = False, optional: Sequence[str] = ()
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a parquet file that `write_table` wrote: the data frame and the metadata.

    With `only`, no column but `columns`, and those of `optional` that there are, is read: embedded images need not be
    loaded to look up labels.
    Raises FileError when the file is missing, damaged (any byte of what is read), or lacks one of `columns`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        known = _unseal(path, [*columns, *optional] if only else None)
        chosen = [c for c in (*columns, *optional) if c in known] if only else None
        table = pq.read_table(path, columns=chosen, partitioning=None)
        metadata = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
        if not isinstance(metadata, dict):
            raise ValueError("its metadata is no JSON object")
        frame = table.to_pandas()
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        raise damaged(path, f"damaged, or no parquet file of this project ({first_line(error)})") from None
    missing = [c for c in columns if c not in table.column_names]
    if missing:
        raise FileError(f"{path}: column {missing[0]!r} is missing; found {', '.join(known)}")
    return frame, metadata


def _seal(path: Path) -> None:
    """Add digests to a parquet file: its pages have checksums, but their headers and the footer have none.

    The file becomes: pages | a digest per column of each row group | digest of the footer | footer, length, "PAR1".
    Readers start at the footer and go from there to the pages, so that they do not notice.
    """
    import pyarrow.parquet as pq

    extents = [extent for _, extent in _extents(pq.read_metadata(path))]
    with open(path, "r+b") as file:
        start, footer = _footer(file)
        digests = [_digest(file, *extent) for extent in extents]
        file.seek(start)
        file.write(b"".join([*digests, hashlib.blake2b(footer, digest_size=_DIGEST).digest(), footer]))


def _unseal(path: str | Path, columns: Sequence[str] | None) -> list[str]:
    """Compare the digests of the footer and of `columns` (None: of all); the names of all columns of the file.

    Raises ValueError for bytes that `_seal` did not see: nothing unseen reaches the decoders.
    """
    import pyarrow.parquet as pq

    with open(path, "rb") as file:
        start, footer = _footer(file)
        end = start - _DIGEST
        file.seek(max(0, end))
        if file.read(_DIGEST) != hashlib.blake2b(footer, digest_size=_DIGEST).digest():
            raise ValueError("wrong checksum of the footer")
        metadata = pq.read_metadata(path)
        extents = list(_extents(metadata))
        file.seek(end - len(extents) * _DIGEST)
        digests = file.read(len(extents) * _DIGEST)
        for i, (name, extent) in enumerate(extents):
            wanted = columns is None or any(name == c or name.startswith(f"{c}.") for c in columns)
            if wanted and _digest(file, *extent) != digests[i * _DIGEST : (i + 1) * _DIGEST]:
                raise ValueError(f"wrong checksum of column {name!r}")
        return metadata.schema.to_arrow_schema().names


def _footer(file: BinaryIO) -> tuple[int, bytes]:
    """Where the footer of a parquet file begins, and its bytes to the end of the file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    start = size - 8 - int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or start < 0:
        raise ValueError("cut short, or another kind of file")
    file.seek(start)
    return start, file.read()


def _extents(metadata: pq.FileMetaData) -> Iterator[tuple[str, tuple[int, int]]]:
    """Per row group and column the column's path, and where its pages lie: first byte and number of bytes."""
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            yield chunk.path_in_schema, (start, chunk.total_compressed_size)


def _digest(file: BinaryIO, start: int, size: int) -> bytes:
    """The BLAKE2b digest of some bytes of a file."""
    digest = hashlib.blake2b(digest_size=_DIGEST)
    file.seek(start)
    for done in range(0, size, _BLOCK):
        digest.update(file.read(min(_BLOCK, size - done)))
    return digest.digest()


def file_digest(path: str | Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def model_digest(folder: Path) -> str:
    """The revision of a model in a folder: first 12 hexadecimal digits of the SHA-256 over names and contents of its
    files, without notes on how it was made."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.iterdir() if p.is_file() and p.name not in _NOTES):
        digest.update(file.name.encode() + b"\0" + bytes.fromhex(file_digest(file)))
    return digest.hexdigest()[:12]


def check_same_model(
    path: str | Path, identity: Mapping[str, Any], other: str | Path, other_identity: Mapping[str, Any]
) -> None:
    """Raise FileError when `other`, whose metadata is `other_identity`, has another model or revision than `path`."""
    for key, value in identity.items():
        if other_identity.get(key) != value:
            raise FileError(
                f"{other}: {key} {other_identity.get(key)!r}, but {path} is from {value!r};"
                " a results folder from another model revision? Delete the older file and run again"
            )


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a CSV table: UTF-8, line feed, floats with 10 significant digits, missing as empty.

    A text that a spreadsheet would take for a formula (it begins with = + - @, a tab or a line break) gets an
    apostrophe in front, and so does one that looks as if it had got one; `read_csv` takes it away. Numbers stay.
    Raises FileError when the file can't be written.
    """
    table = _each_text(table, lambda text: f"'{text}" if _FORMULA.match(text) else text)
    # A carriage return ends a line too, but only line feeds are quoted where they end the lines.
    texts = table.select_dtypes(exclude="number").astype(object)
    returns = any("\r" in cell for name, column in texts.items() for cell in (name, *column) if isinstance(cell, str))
    quoting = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n", quoting=quoting)


def read_csv(path: str | Path, columns: Sequence[str] = (), text: Sequence[str] = ()) -> pd.DataFrame:
    """Read one of our CSV tables; only an empty field is missing (a culture named "NA" is not).

    Columns listed in `text` stay text, so that a culture named "007" keeps its name.

    Raises FileError when the file is missing, empty, or lacks one of `columns`.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(text, str))
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise damaged(path, f"no readable CSV table ({first_line(error)})") from None
    table = _each_text(table, lambda text: text[1:] if _QUOTED.match(text) else text)
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise FileError(f"{path}: column {missing[0]!r} is missing; found {', '.join(table.columns)}")
    return table


def _each_text(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """A copy of a table with `change` made to every text in its cells and headings. A text that stays has to be the
    same object."""
    import pandas as pd

    def one(cell: Any) -> Any:
        return change(cell) if isinstance(cell, str) else cell

    result = table.rename(columns=one)
    for i, kind in enumerate(table.dtypes):
        if pd.api.types.is_numeric_dtype(kind):
            continue
        text = isinstance(kind, pd.StringDtype)
        # One by one, Arrow's cells take ten times as long; and few columns have a text to change.
        cells = table.iloc[:, i].to_numpy(dtype=object)
        changed = [one(cell) for cell in cells]
        if not text or any(new is not cell for new, cell in zip(changed, cells, strict=True)):
            result.isetitem(i, pd.Series(changed, table.index, kind if text else object))
    return result


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object. Raises FileError when there is none."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
        reason = f"a {type(content).__name__}"
    except FileNotFoundError:
        raise FileError(f"{path}: no readable JSON object (no such file)") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = first_line(error)
    raise damaged(path, f"no readable JSON object ({reason})")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
