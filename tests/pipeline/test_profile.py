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
WITH_MODEL = {"infer", "infer_controls", "record", "record_tokens", "ablate", "ablate_again", "calibrate"}
#: The same, where the config asks for them.
IF_ASKED = {"attribute", "infer_set", "ablate_set", "finetune", "ask_finetuned"}
CONFIGS = {
    name: yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("config.yaml", "config/paper-vlm.yaml")
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
            model = re.search(r"model=([^,\n]+)", rest)[1]
        elif word == "resources" and rule not in here:
            found.append((rule, model, dict(pair.split("=", 1) for pair in rest.split(", "))))
    return sorted(found, key=lambda job: job[:2])


def rules() -> tuple[set[str], set[str]]:
    """Rules that are sent to the cluster, and those that run on the machine that sends them."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
    # Rules made from other rules have to say for themselves that they run here.
    blocks = re.findall(r"^(?:use rule \w+ as|rule) (\w+)(?: with)?:\n((?:    .*\n|\n)+)", text, re.M)
    here = {name for name, block in blocks if "localrule: True" in block}
    return {name for name, _ in blocks} - here, here


def test_both_names_are_one_profile():
    assert (ROOT / "slurm").is_symlink()
    assert os.readlink(ROOT / "slurm") == "profiles/slurm"


def test_the_profile_names_every_rule_that_is_sent():
    sent, here = rules()
    assert {"infer", "score", "report"} <= sent
    assert {"gather_answers", "gather_outcomes", "gather_again", "gather_set", "gather_set_outcomes", "plan"} <= here
    assert sent - set(SETTINGS["set-resources"]) == set()
    assert set(SETTINGS["groups"]) <= set(SETTINGS["set-resources"]) - WITH_MODEL - IF_ASKED
    assert not here & set(SETTINGS["set-resources"])


@pytest.mark.parametrize("config", slow_but(["config/paper-vlm.yaml"], CONFIGS))
def test_gpus_cores_and_memory_are_those_of_the_model(tmp_path, config):
    models = CONFIGS[config]["models"]
    found = jobs(tmp_path, "slurm", "all", "estimate", "--configfile", config)
    assert {rule for rule, _, _ in found} >= WITH_MODEL | {"prepare", "score", "report"}
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
    used, count = re.subn(r"^( +)# (\w+: \"'.*)$", r"\1\2", text, flags=re.M)
    assert count >= 10
    # Of two lines for one key the first is kept.
    lines, seen = [], set()
    for line in used.splitlines():
        key = re.match(r"( +)(\w+):", line)
        if (key and key[1] == "  ") or not line.startswith(" "):
            seen = set()
        if not (key and key[0] in seen):
            lines.append(line)
        if key:
            seen.add(key[0])
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text("\n".join(lines), encoding="utf-8")
    for rule, _, resources in jobs(tmp_path, str(profile), "--configfile", "config/paper-vlm.yaml"):
        assert resources["slurm_account"] == "my-account"
        assert resources["slurm_partition"] == ("gpu" if rule in WITH_MODEL else "cpu"), rule
        assert resources.get("gpu_model") == ("a100" if rule in WITH_MODEL else None)
