import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import __main__ as command
from benchmarks import options
from culture_neurons.data.samples import COLUMNS, write_samples
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.inference import Answer
from culture_neurons.models.inputs import process, render
from culture_neurons.types import NeuronMask, Sample
from tests.models.conftest import byte_tokenizer, language_model

LOWER, UPPER = NeuronMask("a", "act_fn", [0, 1], [3, 3]), NeuronMask("b", "act_fn", [1], [5])


@pytest.fixture
def loaded():
    """A tiny Llama (two layers of 4,608 weights, 960 of them in the down projection) that reads bytes as tokens."""
    return language_model("llama", byte_tokenizer([], size=258), torch.float32)


def batch_of(loaded, question, texts, neutral):
    sample = Sample("s", "c", "k", question, texts, 0, "evaluate", neutral=neutral)
    return process(loaded, render(loaded, [sample], options.PROMPT), None)


@pytest.mark.parametrize(
    ("masks", "layers"),
    [
        # All but a down projection once; down and a layer for the first mask, down for the second.
        ([LOWER, UPPER], (4608 + 3648) + (960 + 4608) + 960),
        ([LOWER, LOWER], 3648 + 2 * (960 + 4608)),
        ([UPPER], 4608 + 4608),
    ],
)
def test_operations_are_those_by_hand(loaded, masks, layers):
    # "ab" with " " of " c" and of " d", and "n" with the same: 4 and 3 tokens; what is read are the last token of each
    # context, and both texts' space: 6 places, each a product of a width of 24 with 258 tokens.
    batch = batch_of(loaded, "ab", ("c", "d"), "n")
    assert options.flops(loaded, batch, masks) == 2 * (7 * layers + len(masks) * 6 * 24 * 258)


def test_padding_needs_no_operations(loaded, monkeypatch):
    monkeypatch.setattr("culture_neurons.models.packing.WIDTHS", (1,))  # a row for each context
    batch = batch_of(loaded, "a long question", ("c", "d"), "n")
    assert not batch.inputs["attention_mask"].all()
    assert options.flops(loaded, batch, [UPPER]) == 2 * (20 * 2 * 4608 + 6 * 24 * 258)


@pytest.mark.parametrize("masks", [[LOWER, UPPER], [UPPER, LOWER], [LOWER], [UPPER]])
def test_the_engine_multiplies_what_is_counted(loaded, masks):
    batch = batch_of(loaded, "ab", ("c", "dog"), "n")
    tokens = int(batch.inputs["attention_mask"].sum())
    with evaluator(loaded, masks, options.PROMPT) as evaluate:
        evaluate(batch)
        with FlopCounterMode(display=False) as counter:
            evaluate(batch)
    # What is more are the angles of positions, three to a token, which one or two passes compute.
    assert counter.get_total_flops() - options.flops(loaded, batch, masks) in (2 * 3 * tokens, 2 * 2 * 3 * tokens)


def test_fewer_questions_are_spread_over_all():
    samples = [Sample(str(i), "c", "k", "?", ("a", "b"), 0) for i in range(10)]
    assert [s.sample_id for s in options.spread(samples, 4)] == ["0", "3", "6", "9"]
    assert options.spread(samples, 12) == samples


def test_answers_that_differ_are_counted():
    logprobs = np.log([0.5, 0.25, 0.25])
    answers = {(0, s): Answer(0, True, tuple(logprobs)) for s in "abcd"}
    expected = {(0, "a"): (0, logprobs), (0, "b"): (1, logprobs + np.array([0, 0.5, 0]))}
    rows = options.compared("m", {"naive": [8.0, 9.0], "engine": [1.0, 3.0]}, answers, expected)
    values = {row.name: row.value for row in rows}
    assert values == {"m: naive loop": 8500, "m: engine": 2000, "m: **speed-up**": 5.5, "m: equal predictions": 50}
    assert rows[2].note == "3.0 to 8.0"
    assert rows[3].note == "2 compared; log-probabilities differ by at most 5e-01"


def test_lines_instead_of_errors_without_the_demos(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(options, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "options", "--out", str(tmp_path / "RESULTS.md")])
    assert command.main() == 0
    makes = {"real/smollm2-135m/model": "make demo-real", "demo/smollm2-eye/model": "make demo"}
    expected = [f"options: skipped, {tmp_path / folder} is missing; run {make} first" for folder, make in makes.items()]
    assert capsys.readouterr().out.splitlines() == expected
    assert not (tmp_path / "RESULTS.md").exists()


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_whole_benchmark_runs_on_a_tiny_model(loaded, tmp_path, monkeypatch, caplog):
    (place, (_, sets)), *_ = options.MODELS.items()
    folder = tmp_path / place / "model"
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    words = ["rice", "bread and more", "tea", "a cup of milk", "salt"]
    samples = [
        [f"q{i}", "ab"[i % 2], "k", f"What they {words[i % 5]} is", [words[(i + k) % 5] for k in range(3)], i % 3,
         ("evaluate", "identify")[i % 4 == 3], None, "", None, None, "What they eat is"]
        for i in range(16)
    ]  # fmt: skip
    for file in sets.values():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        write_samples(tmp_path / file, pd.DataFrame(samples, columns=[*COLUMNS, "neutral"]),
                      {"images": {"type": "none"}})  # fmt: skip
    for name, value in {"RESULTS": tmp_path, "RUNS": 1, "PAIRS": 1, "WIDTH": 64}.items():
        monkeypatch.setattr(options, name, value)
    out = tmp_path / "RESULTS.md"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "options", "--out", str(out)])
    assert command.main() == 0
    assert torch.get_num_threads() == 2
    lines = out.read_text(encoding="utf-8").split("## Answers by the texts of options\n")[1].splitlines()
    rows = dict(line.strip("| ").split(" | ", 1) for line in lines if line.startswith("| smollm2-135m"))
    for direction in sets:
        # Eight masks for 12 questions, two for 6.
        title = f"smollm2-135m, {direction}"
        assert "per question and mask, 12 of them" in rows[f"{title}: naive loop"]
        assert "per question and mask, 96 of them" in rows[f"{title}: engine"]
        assert rows[f"{title}: equal predictions"].startswith("100 % | 12 compared")
        assert float(rows[f"{title}: equal predictions"].split()[-1]) < 1e-4  # both under the same mask
        assert float(rows[f"{title}: **share of the matrix rate**"].split()[0]) > 0
        assert "rows of" in rows[f"{title}: tokens that are no padding"]
    assert "smollm2-135m, contexts of 4 questions: with K and S recorded" in rows
    assert len(rows) == 2 * 8 + 2
    assert "whole forward passes" not in caplog.text
