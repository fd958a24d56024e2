"""Answers that another run has are taken where everything that they depend on is the same."""

import hashlib
import json
import logging
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.data.samples import read_samples, write_samples
from culture_neurons.steps import gather_answers, infer, known_answers, model_arguments

pytestmark = pytest.mark.workflow

@pytest.fixture
def runs(base, tmp_path):
    """results/old, as `base` is, and results/new: the same questions in another grouping, and other halves."""
    old, new = (shutil.copytree(base, tmp_path / "results" / name) for name in ("old", "new"))
    (new / "m/predictions.parquet").unlink()
    table, metadata = files.read_table(new / "samples.parquet")
    halves = {"identify": "evaluate", "evaluate": "identify"}
    files.write_table(new / "samples.parquet", table.assign(culture="all", split=table["split"].map(halves)), metadata)
    return old, new


def ask(step, new, old, *more, shards=1):
    """Answers of the new run, and how many of its questions were asked."""
    asked = []
    plain = model_arguments.answers

    def counted(o, loaded, samples, *rest):
        asked.append(len(samples))
        return plain(o, loaded, samples, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_arguments, "answers", counted)
        parts = [new / f"answers-{shard}.parquet" for shard in range(shards)]
        for shard, part in enumerate(parts):
            where = ("--shard", shard, "--shards", shards, "--answers-out", part)
            step.run(infer, *step.shared(new), *where, "--reuse", old, *more)
    step.run(gather_answers, "--shards", *parts, "--out", new / "m/predictions.parquet")
    return files.read_table(new / "m/predictions.parquet"), asked


def change(folder, name, how):
    table, metadata = files.read_table(folder / name)
    files.write_table(folder / name, *how(table, metadata))


@pytest.mark.parametrize("shards", [1, 2])
def test_the_same_questions_are_not_asked_again(runs, step, shards):
    old, new = runs
    (table, metadata), asked = ask(step, new, old, shards=shards)
    assert asked == [0] * shards
    assert metadata["reused"] == len(table) == 72
    source = old / "m/predictions.parquet"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert metadata["reused_from"] == [{"file": str(source), "sha256": digest, "answers": 72}]
    assert "reuse" not in metadata["settings"]
    before = files.read_table(old / "m/predictions.parquet")[0]
    pd.testing.assert_frame_equal(table.drop(columns=["culture", "split"]), before.drop(columns=["culture", "split"]))
    assert set(table["culture"]) == {"all"}
    samples = files.read_table(new / "samples.parquet")[0].set_index("sample_id")["split"]
    assert table.set_index("sample_id")["split"].to_dict() == samples.to_dict()


def test_a_question_that_differs_in_anything_is_asked(runs, step):
    old, new = runs

    def differ(table, metadata):
        table = table.sort_values("sample_id", ignore_index=True)
        table.loc[0, "question"] = "Another?"
        options = list(table["options"])
        options[1] = list(options[1])[::-1]
        table["options"] = options
        images = list(table["image"])
        images[2] = images[3 if images[3]["bytes"] != images[2]["bytes"] else 4]
        table["image"] = images
        table.loc[5, "label"] = (table.loc[5, "label"] + 1) % 4
        write_samples(new / "samples.parquet", table, metadata)
        return files.read_table(new / "samples.parquet")

    change(new, "samples.parquet", differ)
    (table, metadata), asked = ask(step, new, old)
    assert asked == [3]
    assert metadata["reused"] == metadata["reused_from"][0]["answers"] == 69
    # Another label is no other question: whether the answer is right is found anew.
    before = files.read_table(old / "m/predictions.parquet")[0]
    labels = files.read_table(new / "samples.parquet")[0].set_index("sample_id")["label"]
    assert (table["correct"] == (table["prediction"] == table["sample_id"].map(labels))).all()
    assert table["prediction"][5] == before["prediction"][5]


@pytest.mark.parametrize("what", ["revision", "dtype", "prompt", "code", "version of libraries", "model's settings"])
def test_answers_that_came_about_otherwise_are_not_taken(runs, step, caplog, what):
    old, new = runs
    caplog.set_level(logging.INFO, "culture_neurons")

    def differ(table, metadata):
        if what in ("revision", "dtype"):
            metadata[what] = "another"
        elif what == "prompt":
            metadata["settings"]["prompt"] = {"seed": 7}
        elif what == "model's settings":
            metadata["settings"]["model"]["attn_implementation"] = "eager"
        else:
            metadata["history"]["infer"]["code" if what == "code" else "packages"] = "another"
        return table, metadata

    change(old, "m/predictions.parquet", differ)
    (_, metadata), asked = ask(step, new, old)
    assert asked == [72]
    assert "reused" not in metadata
    assert any(text.endswith(f"not reused: another {what}") for text in caplog.messages)


def test_a_chat_template_in_a_file_may_have_been_another(runs, caplog, tmp_path):
    caplog.set_level(logging.INFO, "culture_neurons")
    template = tmp_path / "template.jinja"
    template.write_text("{{ messages[0]['content'] }}", encoding="utf-8")
    rows, _ = known_answers._answered(runs[0] / "m/predictions.parquet", None, {}, {"chat_template": str(template)})
    assert rows == {}
    assert any("may have been another file then" in text for text in caplog.messages)


def test_evaluate_questions_in_half_precision_are_asked_again(runs):
    """They stand against the batches of the ablation, and what a batch does to the last digits is no effect."""
    old, new = runs
    change(old, "m/predictions.parquet", lambda table, metadata: (table, metadata | {"dtype": "bfloat16"}))
    _, metadata = files.read_table(old / "m/predictions.parquet")
    loaded = SimpleNamespace(name="m", dtype="bfloat16", revision=metadata["revision"])
    questions = read_samples(new / "samples.parquet")[0]
    settings = metadata["settings"]
    found, sources = known_answers.find([str(old)], new / "samples.parquet", questions, loaded, settings["prompt"],
                               settings["model"])  # fmt: skip
    assert set(found) == {s.sample_id for s in questions if s.split == "identify"}
    assert len(found) == sources[0]["answers"] == 36


def test_a_folder_without_answers_or_with_damaged_ones_is_passed_over(runs, step, caplog, tmp_path):
    old, new = runs
    caplog.set_level(logging.INFO, "culture_neurons")
    (old / "m/predictions.parquet").write_bytes(b"nothing")
    (_, metadata), asked = ask(step, new, f"{tmp_path / 'nowhere'}:{old}")
    assert asked == [72]
    assert "reused" not in metadata
    assert any("nowhere: no answers of m to reuse" in text for text in caplog.messages)
    assert any("its answers are not reused" in text and "damaged" in text for text in caplog.messages)


def test_arguments_of_a_run_without_others(runs, step):
    _, new = runs
    (_, metadata), asked = ask(step, new, "none")
    assert asked == [72]
    assert json.dumps(metadata).count("reuse") == 0
