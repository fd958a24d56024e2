from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from culture_neurons import __version__
from culture_neurons.errors import DataError
from culture_neurons.steps import cli


def run(monkeypatch: pytest.MonkeyPatch, main: object, *arguments: str) -> None:
    """Call `cli.run` as a program does: with a root logger that has no handlers yet."""
    monkeypatch.setattr(sys, "argv", ["step", *arguments])
    parser = cli.parser("A step.")
    parser.add_argument("--seed", type=int, default=0)
    level = cli.log.level
    with monkeypatch.context() as m:
        m.setattr(logging.getLogger(), "handlers", [])
        try:
            cli.run(main, parser)  # type: ignore[arg-type]
        finally:
            for handler in logging.getLogger().handlers:
                handler.close()
            cli.log.setLevel(level)


def test_json_object() -> None:
    assert cli.json_object('{"a": [1, "日本"]}') == {"a": [1, "日本"]}


@pytest.mark.parametrize(
    ("text", "message"), [("{", "no JSON"), ("[1]", r"expected a JSON object, found '\[1\]'"), ("", "no JSON")]
)
def test_json_that_is_no_object(text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        cli.json_object(text)


def test_provenance_has_the_science_and_no_paths() -> None:
    options = argparse.Namespace(
        seed=1, top_fraction=0.01, samples=Path("/x/samples.parquet"), masks=[Path("a")], log=None, threads=4,
        batch_size=8, device_map="cpu", prompt={"seed": 0},
    )  # fmt: skip
    metadata = cli.provenance("cli", options, model="m")
    assert metadata["settings"] == {"prompt": {"seed": 0}, "seed": 1, "top_fraction": 0.01}
    assert (metadata["step"], metadata["version"], metadata["model"]) == ("cli", __version__, "m")
    assert len(metadata["code"]) == 12


def test_run_passes_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    run(monkeypatch, lambda o: seen.append(o.seed), "--seed", "7")
    assert seen == [7]


def test_a_users_error_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    def main(o: argparse.Namespace) -> None:
        cli.log.info("kept 3 of 4")
        raise DataError("table.csv: row 4: label 9")

    log = tmp_path / "logs" / "step.log"
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, main, "--log", str(log))
    assert caught.value.code == 1
    assert capsys.readouterr().err == "[step] kept 3 of 4\n[step] error: table.csv: row 4: label 9\n"
    assert log.read_text(encoding="utf-8") == "kept 3 of 4\nerror: table.csv: row 4: label 9\n"


def test_a_defect_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, lambda o: 1 / 0, "--log", str(tmp_path / "step.log"))
    assert caught.value.code == 1
    for text in (capsys.readouterr().err, (tmp_path / "step.log").read_text()):
        assert "please report it" in text
        assert "ZeroDivisionError" in text


def test_level_of_the_log_is_the_environments(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("CULTURE_NEURONS_LOG", "WARNING")
    run(monkeypatch, lambda o: cli.log.info("not shown"))
    assert capsys.readouterr().err == ""


def test_lines_on_the_terminal_say_whose_they_are_and_those_of_the_log_do_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "model-2.5" / "train.log"
    run(monkeypatch, lambda o: cli.log.info("done"), "--log", str(path))
    assert capsys.readouterr().err == "[model-2.5/train] done\n"
    assert path.read_text(encoding="utf-8") == "done\n"


def test_progress_passes_everything_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert list(cli.progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]
    assert caplog.text == ""


def test_progress_in_a_log_is_plain_lines(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        list(cli.progress("abc", 3, "letters", every=0))
    lines = [record.message for record in caplog.records]
    assert [line.split(" (")[0] for line in lines] == [f"letters: {n} of 3" for n in (1, 2, 3)]


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(cli.progress(range(3), 3, "letters")) == [0, 1, 2]
    assert "letters:" in capsys.readouterr().err


def test_a_log_that_cannot_be_opened_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, lambda o: None, "--log", str(tmp_path / "file" / "step.log"))
    assert str(caught.value.code).endswith("step.log: can't be written (File exists)")


def test_a_log_on_a_full_disk_leaves_the_message_on_the_terminal(tmp_path: Path) -> None:
    words = ["--shards", str(tmp_path / "a.parquet"), "--out", str(tmp_path / "b"), "--log", "/dev/full"]
    done = subprocess.run(
        [sys.executable, "-m", "culture_neurons.steps.gather_answers", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"[full] error: {tmp_path / 'a.parquet'}: no such file\n"
