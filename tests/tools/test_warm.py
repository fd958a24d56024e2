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

import culture_neurons
from tools import warm

pytestmark = pytest.mark.workflow

PACKAGE = Path(culture_neurons.__file__).parent
RUN = [sys.executable, warm.__file__]
SOURCE = {"type": "synthetic", "cultures": 2, "samples_per_culture": 4}


@pytest.fixture(scope="module")
def cold():
    """The environment of processes without a server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PACKAGE.parent))
        yield dict(os.environ)


@pytest.fixture(scope="module")
def environment(cold):
    """The environment of processes that may use a server."""
    with warm.served() as folder:
        yield warm.environment(folder)


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
    wait_until(lambda: psutil.Process(copy).cwd() == str(folder))  # it has read what it is to do
    return step, copy


def test_a_copy_writes_the_same_bytes_and_says_the_same(environment, cold, tmp_path):
    runs = [prepare(tmp_path / name, variables) for name, variables in (("a", environment), ("b", cold))]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert (runs[0].stdout, runs[0].stderr) == (runs[1].stdout, runs[1].stderr)
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "ab"]
    assert files[0] == files[1]
    assert len(files[0]) == 4


def own_imports(environment: dict[str, str]) -> str:
    """What the process of a step imports itself."""
    environment = environment | {"PYTHONPROFILEIMPORTTIME": "1"}
    return subprocess.run(
        [sys.executable, "-m", "culture_neurons.steps.prepare", "--help"], env=environment, capture_output=True,
        text=True, check=True, timeout=120,
    ).stderr  # fmt: skip


def test_it_is_a_copy_that_does_the_work(environment, cold):
    assert "argparse" in own_imports(cold)
    imports = own_imports(environment)
    assert "_socket" in imports
    # What makes a start slow.
    assert not [name for name in ("argparse", " socket\n", "culture_neurons") if name in imports]


def test_other_programs_are_left_alone(environment):
    program = "import os, sys; print('sitecustomize' in sys.modules, os.getpid())"
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.communicate(timeout=60)[0].split() == ["True", str(process.pid)]


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
    with warm.served() as folder:
        copied = Path(shutil.copytree(folder, tmp_path / "ended", ignore=shutil.ignore_patterns("socket")))
    assert "argparse" in own_imports(environment | {"PYTHONPATH": f"{copied}:{PACKAGE.parent}"})
    assert prepare(tmp_path / "a", environment | {"PYTHONPATH": f"{copied}:{PACKAGE.parent}"}).returncode == 0


def test_with_a_server_of_other_code_too(environment, tmp_path):
    """Equal code elsewhere is served; what is not equal is not."""
    package = tmp_path / "src" / "culture_neurons"
    shutil.copytree(PACKAGE, package)
    server, _, _ = environment["PYTHONPATH"].partition(os.pathsep)
    elsewhere = environment | {"PYTHONPATH": f"{package.parent}:{server}"}  # in the order of common.smk
    assert "argparse" not in own_imports(elsewhere)
    (package / "data" / "readers" / "synthetic.py").write_text("raise SystemExit('the other code')\n", encoding="utf-8")
    assert "argparse" in own_imports(elsewhere)
    other = prepare(tmp_path / "b", elsewhere)
    assert other.returncode != 0
    assert "the other code" in other.stderr


def test_the_command_has_a_server_while_it_runs(tmp_path):
    """And its exit code comes back; the server ends with it, also when the wrapper is killed."""
    code = "import os, socket, time; folder = os.environ['PYTHONPATH'].split(os.pathsep)[0];" \
           " socket.socket(socket.AF_UNIX).connect(f'{folder}/socket')"  # fmt: skip
    run = [*RUN, sys.executable, "-c"]
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
        [*RUN, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "expected a command" in line
    assert all(repr(word) in line for word in words[:1])
