"""What the Slurm profile asks for each job, as a dry run tells it: no cluster is needed."""

import os
import re

import pytest
import yaml

from tests.conftest import slow_but
from tests.pipeline import dry_run
from tests.pipeline.conftest import ROOT

pytestmark = pytest.mark.workflow

PROFILE = ROOT / "profiles" / "slurm" / "config.yaml"
SETTINGS = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
#: Rules whose jobs hold a model, and those of them that only some configs ask for.
WITH_MODEL = {"infer", "infer_image_controls", "record", "ablate", "calibrate"}
IF_ASKED = {"attribute", "finetune", "infer_finetuned", "transfer"}
CONFIGS = {
    name: yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    for name in ("config.yaml", "config/control.yaml", "config/paper-vlm.yaml")
}


def jobs(folder, profile, *words: str) -> list[tuple[str, str, dict[str, str]]]:
    """Rule, model and resources of every job that would be sent, in the order of their names: Snakemake's varies."""
    words = ("--dry-run", "--profile", profile, "--directory", str(folder), *words)
    done = dry_run.run(words, ROOT, os.environ | {"COLUMNS": "1000"}, seconds=300)
    assert done.returncode == 0, done.stdout
    here, found, rule, model = rules()[1] | {"all"}, [], "", ""
    for line in done.stdout.splitlines():
        word, _, rest = line.strip().partition(": ")
        if start := re.fullmatch(r" *rule (\w+):", line):
            rule, model = start[1], ""
        elif word == "wildcards":
            model = next(iter(re.findall(r"model=([^,\n]+)", rest)), "")
        elif word == "resources" and rule not in here:
            found.append((rule, model, dict(pair.split("=", 1) for pair in rest.split(", "))))
    return sorted(found, key=lambda job: job[:2])


def rules() -> tuple[set[str], set[str]]:
    """Rules that are sent to the cluster, and those that run on the machine that sends them."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
    blocks = re.findall(r"^rule (\w+):\n((?:    .*\n|\n)+)", text, re.M)
    here = {name for name, block in blocks if "localrule: True" in block}
    return {name for name, _ in blocks} - here, here


def test_both_names_are_one_profile():
    assert (ROOT / "slurm").is_symlink()
    assert os.readlink(ROOT / "slurm") == "profiles/slurm"


def test_the_profile_bundles_rules_that_are_sent_and_states_nothing_that_rules_state():
    sent, here = rules()
    assert {"infer", "select", "report"} <= sent
    assert {"gather_answers", "gather_outcomes", "plan"} <= here
    assert set(SETTINGS["groups"]) <= sent - WITH_MODEL - IF_ASKED
    assert not {"set-resources", "default-resources", "set-threads"} & SETTINGS.keys()


@pytest.mark.parametrize("config", slow_but(["config/paper-vlm.yaml"], CONFIGS))
def test_gpus_cores_and_memory_are_those_of_the_model(tmp_path, config):
    models = CONFIGS[config]["models"]
    found = jobs(tmp_path, "slurm", "all", "plan", "--configfile", config)
    assert {rule for rule, _, _ in found} >= WITH_MODEL | {"prepare", "select", "report"}
    for rule, model, resources in found:
        assert int(resources["runtime"]) >= 10, rule
        if rule in WITH_MODEL | IF_ASKED:
            stanza = models[model]
            assert int(resources["gpu"]) == stanza.get("gpus", 0)
            assert int(resources["mem_mb"]) == stanza.get("mem_mb", 4000)
            assert resources["nodes"] == "1"
        else:
            assert int(resources["mem_mb"]) >= 1000, rule
            assert not {"gpu", "gpus", "gres", "gpu_model", "nodes"} & set(resources), rule


def test_memory_and_time_grow_with_the_attempt(tmp_path):
    words = ("--configfile", "config/paper-vlm.yaml")
    first = jobs(tmp_path, "profiles/slurm", *words)
    third = jobs(tmp_path, "profiles/slurm", *words, "--attempt", "3")
    assert len(first) == len(third) > 50
    for (rule, _, before), (_, _, after) in zip(first, third, strict=True):
        for name in ("mem_mb", "runtime"):
            assert int(after[name]) == 3 * int(before[name]), (rule, name)
        assert before.get("gpu") == after.get("gpu")


def test_lines_that_are_commented_out_work(tmp_path):
    text = PROFILE.read_text(encoding="utf-8")
    used, count = re.subn(r"^# (default-resources:.*|set-resources:.*|  +\w+: .*)$", r"\1", text, flags=re.M)
    assert count >= 14
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text(used, encoding="utf-8")
    assert yaml.safe_load(used)["set-resources"].keys() == WITH_MODEL | IF_ASKED
    for rule, _, resources in jobs(tmp_path, str(profile), "--configfile", "config/paper-vlm.yaml"):
        assert resources["slurm_account"] == "my-account"
        assert resources["slurm_partition"] == ("gpu" if rule in WITH_MODEL else "cpu"), rule
        assert resources.get("gpu_model") == ("a100" if rule in WITH_MODEL else None)
