"""Steps that start as copies of a server: the same output, files and exit codes, and nothing stays behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from culture_neurons import warm

SOURCE = {"type": "synthetic", "cultures": 2, "samples_per_culture": 4}


@pytest.fixture(scope="module")
def environment():
    """Of processes that may use a server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(warm.__file__).parents[1]))
        with warm.served() as found:
            yield found


def cold(environment: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key != warm.SOCKET}


def prepare(folder: Path, environment: dict[str, str], **source) -> subprocess.CompletedProcess:
    """The step that makes samples.parquet, in a folder of its own."""
    folder.mkdir()
    outputs = [word for name in ("samples.parquet", "dropped.csv", "counts.csv")
               for word in (f"--{name.partition('.')[0]}-out", name)]  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "culture_neurons.steps.prepare", "--source", json.dumps(SOURCE | source), *outputs,
         "--log", "prepare.log"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


def wait_until(true, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def training(folder: Path, environment: dict[str, str]) -> tuple[subprocess.Popen, int]:
    """A step that takes long, and the process of the copy that does its work."""
    before = children()
    words = ["--source", json.dumps(SOURCE | {"cultures": 8}), "--architecture", "qwen2.5-vl", "--out", "model"]
    step = subprocess.Popen(
        [sys.executable, "-m", "culture_neurons.steps.train", *words], cwd=folder, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: len(children() - before) == 2)
    (copy,) = children() - before - {step.pid}
    return step, copy


def test_a_copy_writes_the_same_bytes_and_says_the_same(environment, tmp_path):
    runs = [prepare(tmp_path / name, found) for name, found in (("a", environment), ("b", cold(environment)))]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert (runs[0].stdout, runs[0].stderr) == (runs[1].stdout, runs[1].stderr)
    found = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab"]
    assert found[0] == found[1]
    assert len(found[0]) == 4


def test_it_is_a_copy_that_does_the_work(environment):
    """A module that says which process it runs in, and what that has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from types import SimpleNamespace as Of; from culture_neurons import warm;"
         " sys.modules['__main__'].__spec__ = Of(name='platform'); sys.exit(warm.forward())"],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0
    assert "Linux" in done.stdout


def test_errors_have_their_exit_code_and_message(environment, tmp_path):
    mistaken = prepare(tmp_path / "a", environment, cultures=1)
    assert mistaken.returncode == 1
    assert mistaken.stderr.startswith("error: ") or "] error: " in mistaken.stderr
    assert "Traceback" not in mistaken.stderr
    words = [sys.executable, "-m", "culture_neurons.steps.prepare", "--sauce", "x"]
    refused = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert refused.returncode == 2
    assert "usage: " in refused.stderr


def test_a_step_that_is_killed_takes_its_copy_along(environment, tmp_path):
    before = children()
    step, _ = training(tmp_path, environment)
    step.send_signal(signal.SIGKILL)
    step.wait()
    wait_until(lambda: children() <= before)
    assert not (tmp_path / "model").exists()


def test_a_copy_that_is_killed_is_a_failure(environment, tmp_path):
    step, copy = training(tmp_path, environment)
    os.kill(copy, signal.SIGKILL)
    assert step.wait(30) == 137


def test_without_a_server_a_step_does_its_work_itself(environment, tmp_path):
    assert prepare(tmp_path / "a", environment | {warm.SOCKET: str(tmp_path / "no-socket")}).returncode == 0


def test_with_a_server_of_other_code_too(environment, tmp_path):
    """Equal code elsewhere is served; what is not equal is not."""
    package = tmp_path / "src" / "culture_neurons"
    shutil.copytree(Path(warm.__file__).parent, package)
    elsewhere = environment | {"PYTHONPATH": str(package.parent)}
    ask = "import sys; from types import SimpleNamespace as Of; from culture_neurons import warm;" \
          " sys.modules['__main__'].__spec__ = Of(name='platform'); print(warm.forward())"  # fmt: skip
    answers = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", ask], env=elsewhere, capture_output=True, text=True, check=True)
        answers.append(done.stdout.split()[-1])
        (package / "data" / "synthetic.py").write_text("raise SystemExit('the other code')\n", encoding="utf-8")
    assert answers == ["0", "None"]
    other = prepare(tmp_path / "b", elsewhere)
    assert other.returncode != 0
    assert "the other code" in other.stderr


def test_the_command_has_a_server_while_it_runs(tmp_path):
    """And its exit code comes back; the server ends with it, also when the wrapper is killed."""
    code = f"import os, socket, time; socket.socket(socket.AF_UNIX).connect(os.environ['{warm.SOCKET}'])"
    run = [sys.executable, "-m", "culture_neurons.warm", sys.executable, "-c"]
    before = children()
    assert subprocess.run([*run, f"{code}; raise SystemExit(5)"], check=False, timeout=120).returncode == 5
    assert children() <= before
    wrapper = subprocess.Popen([*run, f"{code}; open('ready', 'w'); time.sleep(1)"], cwd=tmp_path)
    wait_until((tmp_path / "ready").exists)
    mine = psutil.Process(wrapper.pid).children(recursive=True)
    assert len(mine) == 2
    wrapper.kill()
    wrapper.wait()
    assert psutil.wait_procs(mine, timeout=60)[1] == []


@pytest.mark.parametrize("words", [[], ["no-such-program", "--cores", "2"]])
def test_a_command_is_asked_for(words):
    done = subprocess.run(
        [sys.executable, "-m", "culture_neurons.warm", *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "expected a command" in line
    assert all(repr(word) in line for word in words[:1])
