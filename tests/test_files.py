from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from culture_neurons import files
from culture_neurons.errors import FileError

TABLE = pd.DataFrame({"culture": ["India-Marathi", "日本", "NA"], "n": [1, 2, 3], "x": [0.1, np.nan, 1 / 3]})


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


KILLED = """
import os, signal, sys
from culture_neurons.files import atomic
with atomic(sys.argv[1]) as temporary:
    temporary.write_text("half of") if sys.argv[2] == "file" else (temporary / "sub").mkdir(parents=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_full_disk_of_a_library_in_rust_is_the_systems(tmp_path: Path) -> None:
    named = r"model: can't be written \(No space left on device\)"
    with pytest.raises(FileError, match=named), files.atomic(tmp_path / "model"):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(RuntimeError, match="os error 2"), files.atomic(tmp_path / "model"):
        raise RuntimeError("I/O error: No such file or directory (os error 2)")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_the_file(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "a[1].txt"
    target.write_text("old")
    other = tmp_path / f".a[1].txt.{os.uname().nodename}.elsewhere.999999999.tmp"
    other.write_text("of another machine, whose name has a dot")
    done = subprocess.run([sys.executable, "-c", KILLED, str(target), kind], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert len(names(tmp_path)) == 3
    living = tmp_path / f".a[1].txt.{os.uname().nodename}.{os.getppid()}.tmp"
    living.write_text("of a process that is still there")
    with files.atomic(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert names(tmp_path) == sorted([living.name, other.name, target.name])


def test_atomic_puts_the_file_in_place_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with files.atomic(target) as temporary:
        assert temporary.parent == target.parent
        temporary.write_text("x")
        assert not target.exists()
    assert target.read_text() == "x"
    assert names(target.parent) == ["a.txt"]


class Interrupted(BaseException):
    """Like KeyboardInterrupt: no Exception."""


@pytest.mark.parametrize("error", [ValueError, Interrupted])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write() -> None:
        with files.atomic(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_text("theirs")
    (tmp_path / "a.txt").symlink_to(tmp_path / "elsewhere" / "a.txt")
    (tmp_path / "model").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "nowhere").symlink_to(tmp_path / "none" / "a.txt")
    for name in ("a.txt", "nowhere"):
        files.write_text(tmp_path / name, "ours")
        assert (tmp_path / name).read_text() == "ours"
        assert not (tmp_path / name).is_symlink()
    with files.atomic(tmp_path / "model") as temporary:
        temporary.mkdir()
    assert list((tmp_path / "model").iterdir()) == []
    assert (tmp_path / "elsewhere" / "a.txt").read_text() == "theirs"
    assert names(tmp_path) == ["a.txt", "elsewhere", "model", "nowhere"]


FULL_DISK = """
import resource, sys
import numpy as np, pandas as pd
from culture_neurons import files
from culture_neurons.errors import FileError
table = pd.DataFrame({"x": np.random.default_rng(0).random(100_000)})
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
for name, write in {
    "table": lambda p: files.write_table(p, table, {}), "csv": lambda p: files.write_csv(p, table),
    "text": lambda p: files.write_text(p, "x" * 400_000),
}.items():
    try:
        write(f"{sys.argv[1]}/{name}")
    except FileError as error:
        print(error)
"""


def test_a_full_disk_is_a_users_error_and_leaves_no_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    said = "".join(f"{tmp_path}/{name}: can't be written (File too large)\n" for name in ("table", "csv", "text"))
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    assert names(tmp_path) == []


def test_a_failure_leaves_no_folder(tmp_path: Path) -> None:
    def write() -> None:
        with files.atomic(tmp_path / "model") as temporary:
            temporary.mkdir()
            (temporary / "weights").write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write()
    assert names(tmp_path) == []


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.atomic(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == []


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for content in ("first", "second"):
        with files.atomic(target) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert names(tmp_path) == ["model"]
    assert names(target) == ["second"]


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    # The second one begins before the first ends, in another process; the last to end stays, whole.
    target = tmp_path / "a.txt"
    other = (
        "import sys\nfrom culture_neurons.files import atomic\n"
        "with atomic(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('b' * 100_000)\n"
        "    print(temporary.name)\n"
    )
    with files.atomic(target) as temporary:
        temporary.write_text("a" * 50_000)
        done = subprocess.run(
            [sys.executable, "-c", other, str(target)], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.strip() != temporary.name
        assert target.read_text() == "b" * 100_000
        assert temporary.read_text() == "a" * 50_000
    assert target.read_text() == "a" * 50_000
    assert names(tmp_path) == ["a.txt"]


def test_tables_come_back_with_their_metadata(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    metadata = {"step": "infer", "settings": {"seed": 0}, "model": "日本"}
    files.write_table(path, TABLE, metadata)
    table, found = files.read_table(path, ["culture", "x"])
    pd.testing.assert_frame_equal(table, TABLE, check_dtype=False)
    assert found == metadata


def test_equal_tables_are_equal_bytes(tmp_path: Path) -> None:
    files.write_table(tmp_path / "a", TABLE, {"a": 1, "b": 2})
    files.write_table(tmp_path / "b", pa.Table.from_pandas(TABLE, preserve_index=False), {"b": 2, "a": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_programs_read_our_tables_and_theirs_are_none_of_ours(tmp_path: Path) -> None:
    files.write_table(tmp_path / "ours.parquet", TABLE, {"a": 1})
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "ours.parquet"), TABLE)
    TABLE.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(FileError, match=r"t\.parquet: .*no parquet file of this project \(wrong checksum"):
        files.read_table(tmp_path / "t.parquet")


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    files.write_table(tmp_path / "a=1" / "t.parquet", TABLE, {})
    assert list(files.read_table(tmp_path / "a=1" / "t.parquet")[0]) == list(TABLE)


def test_read_table_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"t\.parquet: no such file"):
        files.read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_read_table_refuses_a_truncated_file(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "t.parquet"
    files.write_table(path, TABLE, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(FileError, match=r"t\.parquet: damaged, or no parquet file .*; rebuild it: rm .*") as caught:
        files.read_table(path)
    assert len(str(caught.value).splitlines()) == 1


def test_read_table_refuses_a_flipped_bit(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    files.write_table(path, pd.DataFrame({"n": np.arange(10_000)}), {})
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match="damaged"):
        files.read_table(path)


def test_the_command_that_rebuilds_a_file_can_be_pasted() -> None:
    error = files.damaged("results/my data/a.csv", "no readable CSV table")
    assert str(error) == (
        "results/my data/a.csv: no readable CSV table; "
        "rebuild it: rm 'results/my data/a.csv', then the same snakemake command again"
    )


def test_only_the_columns_that_are_asked_for(tmp_path: Path) -> None:
    files.write_table(tmp_path / "a.parquet", pd.DataFrame({"id": ["x"], "image": [b"large"], "label": [1]}), {"m": 1})
    table, metadata = files.read_table(tmp_path / "a.parquet", ["label", "id"], only=True)
    assert table.to_dict("list") == {"label": [1], "id": ["x"]}
    assert metadata == {"m": 1}
    table, _ = files.read_table(tmp_path / "a.parquet", ["id"], only=True, optional=["label", "culture"])
    assert table.to_dict("list") == {"id": ["x"], "label": [1]}
    with pytest.raises(FileError, match="'culture' is missing; found id, image, label"):
        files.read_table(tmp_path / "a.parquet", ["id", "culture"], only=True)


def test_read_table_names_the_missing_column(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    files.write_table(path, TABLE, {})
    with pytest.raises(FileError, match=r"column 'label' is missing; found culture, n, x"):
        files.read_table(path, ["culture", "label"])


def test_csv_format(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    files.write_csv(path, TABLE)
    assert path.read_bytes().decode() == "culture,n,x\nIndia-Marathi,1,0.1\n日本,2,\nNA,3,0.3333333333\n"


def test_a_culture_called_na_is_not_missing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    files.write_csv(path, TABLE)
    table = files.read_csv(path, ["culture"])
    assert list(table["culture"]) == ["India-Marathi", "日本", "NA"]
    assert np.isnan(table["x"][1])


def test_columns_of_text_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    files.write_csv(path, pd.DataFrame({"culture": ["007", "1e3"], "n": [7, 8]}))
    table = files.read_csv(path, text=["culture"])
    assert list(table["culture"]) == ["007", "1e3"]
    assert list(table["n"]) == [7, 8]


FORMULAS = ['=HYPERLINK("https://example.org")', "-x", "+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''-x"]


@pytest.mark.parametrize("name", FORMULAS)
def test_no_text_of_a_csv_is_a_formula(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame({name: [name, "'", "'x", None], "n": [-1.5, 2, 3, 4], "mixed": [-1, name, 0.5, None]})
    files.write_csv(tmp_path / "t.csv", table)
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        (heading, *_), (first, number, _), (_, _, mixed), *_ = csv.reader(file)
    assert heading == first == mixed == f"'{name}"
    assert number == "-1.5"
    found = files.read_csv(tmp_path / "t.csv", [name, "n"])
    assert list(found) == [name, "n", "mixed"]
    assert found[name].to_list()[:3] == [name, "'", "'x"]
    assert found["n"].to_list() == [-1.5, 2, 3, 4]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1))
@example(FORMULAS)
def test_any_name_comes_back(tmp_path_factory: pytest.TempPathFactory, cultures: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "names.csv"
    files.write_csv(path, pd.DataFrame({"culture": cultures, "n": range(len(cultures))}))
    assert list(files.read_csv(path, text=["culture"])["culture"]) == cultures


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00broken", b'a,b\n"1,2\n'])
def test_read_csv_refuses_what_is_no_table(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"t\.csv: no readable CSV table.*rebuild it: rm "):
        files.read_csv(path)


def test_read_csv_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        files.read_csv(tmp_path / "none.csv")
    files.write_csv(tmp_path / "t.csv", TABLE)
    with pytest.raises(FileError, match="column 'label' is missing; found culture, n, x"):
        files.read_csv(tmp_path / "t.csv", ["label"])


def test_text_is_utf8_with_line_feeds(tmp_path: Path) -> None:
    files.write_text(tmp_path / "t.txt", "日本\nx\n")
    assert (tmp_path / "t.txt").read_bytes() == "日本\nx\n".encode()


@pytest.mark.parametrize(
    ("error", "line"),
    [(ValueError("one\ntwo"), "one"), (KeyError(), "KeyError"), (ValueError("x" * 300), "x" * 200)],
)
def test_first_line(error: BaseException, line: str) -> None:
    assert files.first_line(error) == line
