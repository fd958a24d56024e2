"""Files between steps: atomic writes, tables, and the provenance each one carries.

A step writes to a name that is unique to its process, in the folder of the target,
and renames it into place at the end: a killed or failed job leaves nothing half written,
and two jobs that write the same target can't mix their bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from culture_neurons.errors import FileError

# Loading these takes longer than many a job that writes no table, so that only functions which need them do.
if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: Key of the JSON object of provenance in the metadata of a parquet file.
METADATA_KEY = b"culture_neurons"


@contextmanager
def atomic(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it onto `target` when the block succeeds."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.uname().nodename}.{os.getpid()}.tmp")
    try:
        yield temporary
        if temporary.is_dir() and target.is_dir():
            shutil.rmtree(target)
        os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_table(path: str | Path, table: pd.DataFrame | pa.Table, metadata: Mapping[str, Any]) -> None:
    """Write a parquet file whose schema metadata holds `metadata` as JSON."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    blob = json.dumps(dict(metadata), sort_keys=True, ensure_ascii=False).encode()
    table = table.replace_schema_metadata({METADATA_KEY: blob})
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_table(
    path: str | Path, columns: Sequence[str] = (), only: bool = False
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a parquet file of ours: the data frame and the metadata.

    With `only`, no column but `columns` is read: embedded images need not be loaded to look up labels.
    Raises FileError when the file is missing, damaged, or lacks one of `columns`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        known = pq.read_schema(path).names
        chosen = [c for c in columns if c in known] if only else None
        table = pq.read_table(path, columns=chosen, page_checksum_verification=True)
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileError(f"{path}: damaged or no parquet file ({first_line(error)}); delete it and run again") from None
    missing = [c for c in columns if c not in table.column_names]
    if missing:
        raise FileError(f"{path}: column {missing[0]!r} is missing; found {', '.join(known)}")
    blob = (table.schema.metadata or {}).get(METADATA_KEY, b"{}")
    return table.to_pandas(), json.loads(blob)


def check_same_model(
    path: str | Path, identity: Mapping[str, Any], other: str | Path, found: Mapping[str, Any]
) -> None:
    """Raise FileError when `other`, whose metadata is `found`, is from another model or revision than `path`."""
    for key, value in identity.items():
        if found.get(key) != value:
            raise FileError(
                f"{other}: {key} {found.get(key)!r}, but {path} is from {value!r};"
                " a results folder from another model revision? Delete the older file and run again"
            )


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a CSV table: UTF-8, line feed, floats with 10 significant digits, missing as empty."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n")


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
        raise FileError(f"{path}: no readable CSV table ({first_line(error)}); delete it and run again") from None
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise FileError(f"{path}: column {missing[0]!r} is missing; found {', '.join(table.columns)}")
    return table


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object. Raises FileError when there is none."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        reason = f"a {type(found).__name__}"
    except (OSError, ValueError, RecursionError) as error:
        reason = first_line(error)
    raise FileError(f"{path}: no readable JSON object ({reason}); delete it and run again")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
