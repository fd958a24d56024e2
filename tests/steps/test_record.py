import json

import numpy as np
import pytest

from culture_neurons import files, store
from culture_neurons.data.samples import read_samples
from culture_neurons.errors import ConfigError, DataError, FileError
from culture_neurons.models.inputs import Prompt, contexts, process, render
from culture_neurons.models.loading import load
from culture_neurons.steps import record

pytestmark = pytest.mark.workflow


def test_statistics_hold_the_correct_identify_samples_and_nothing_else(base, tmp_path, step):
    step.recorded(base, tmp_path / "s.h5", "--token-rule", "content")
    table, _ = files.read_table(base / "m/predictions.parquet")
    chosen = table[table["correct"] & (table["split"] == "identify")]
    statistics, metadata = store.read_statistics(tmp_path / "s.h5")
    assert metadata["samples"] == chosen["culture"].value_counts().to_dict()
    assert metadata["token_rule"] == "content"
    assert statistics.fired.shape == (chosen["culture"].nunique(), 2, 48)


def test_sums_are_rounded_as_asked_and_the_log_says_what_they_take(base, tmp_path, caplog, step):
    with caplog.at_level("INFO"):
        exact, _ = store.read_statistics(step.recorded(base, tmp_path / "23.h5", "--mantissa-bits", 23))
        rounded, metadata = store.read_statistics(step.recorded(base, tmp_path / "6.h5", "--mantissa-bits", 6))
    assert metadata["mantissa_bits"] == 6
    np.testing.assert_array_equal(rounded.fired, exact.fired)
    np.testing.assert_allclose(rounded.positive_sum, exact.positive_sum, rtol=2**-7)
    assert not np.allclose(rounded.positive_sum, exact.positive_sum, rtol=2**-12)
    size, raw = store.bytes_on_disk(tmp_path / "6.h5")
    assert f" kB per sample on disk, {100 * size / raw:.0f} % of the plain sums" in caplog.text


def test_negative_part_is_recorded_where_it_is_asked_for(base, tmp_path, step):
    without, _ = store.read_statistics(step.recorded(base, tmp_path / "0.h5"))
    recorded, metadata = store.read_statistics(step.recorded(base, tmp_path / "1.h5", "--negative-sum"))
    assert without.negative_sum is None
    assert metadata["settings"]["negative_sum"] is True
    assert (recorded.negative_sum.max(), recorded.negative_sum.min() < 0) == (
        0,
        True,
    ) or recorded.negative_sum.max() < 0
    np.testing.assert_array_equal(recorded.fired, without.fired)
    np.testing.assert_array_equal(recorded.positive_sum, without.positive_sum)
    more, less = (store.bytes_on_disk(tmp_path / name)[1] for name in ("1.h5", "0.h5"))
    assert more == 2 * less - less / 5  # 9 bytes per neuron, for uint8 and two float32, instead of 5


def test_culture_with_too_few_correct_answers_is_left_out(base, tmp_path, caplog, step):
    table, _ = files.read_table(base / "m/predictions.parquet")
    right = table[table["correct"] & (table["split"] == "identify")]["culture"].value_counts()
    assert right.nunique() > 1, "the model must do worse on one culture for this test"
    with caplog.at_level("WARNING"):
        step.recorded(base, tmp_path / "s.h5", "--min-correct", int(right.min()) + 1)
    statistics, _ = store.read_statistics(tmp_path / "s.h5")
    assert set(statistics.cultures) == set(right[right > right.min()].index)
    assert repr(right.idxmin()) in caplog.text


def test_no_culture_with_enough_correct_answers(base, tmp_path, step):
    with pytest.raises(DataError, match=r"0 of 3 cultures have 1000 or more correct answers"):
        step.recorded(base, tmp_path / "s.h5", "--min-correct", 1000)
    assert not (tmp_path / "s.h5").exists()


def test_shard_out_of_range(base, tmp_path, step):
    with pytest.raises(ConfigError, match="shard 3 of 3"):
        step.recorded(base, tmp_path / "s.h5", "--shard", 3, "--shards", 3)


def test_predictions_of_another_model_are_refused(base, tmp_path, step):
    with pytest.raises(FileError, match=r"predictions\.parquet: made with model m .* but this run has other"):
        step.run(record, *step.shared(base, name="other"), "--predictions", base / "m/predictions.parquet",
                 "--statistics-out", tmp_path / "s.h5")  # fmt: skip
    assert not (tmp_path / "s.h5").exists()


def test_texts_of_options_are_not_recorded(base, tmp_path, step):
    prompt = json.dumps({"answer": "options", "neutral": ""})
    samples, _ = read_samples(base / "samples.parquet", split="identify")
    question_tokens, _ = store.read_statistics(step.recorded(base, tmp_path / "s.h5", "--prompt", prompt))
    loaded = load({"name": "m", "path": str(base / "model")})
    right, _ = files.read_table(base / "m/predictions.parquet")
    right = set(right.loc[right["correct"], "sample_id"])
    expected = dict.fromkeys(question_tokens.cultures, 0)
    for question in contexts(render(loaded, [s for s in samples if s.sample_id in right], Prompt(answer="options"))):
        batch = process(loaded, [question], read_samples(base / "samples.parquet")[1])
        expected[question.sample.culture] += batch.tokens
    assert dict(zip(question_tokens.cultures, question_tokens.tokens.tolist(), strict=True)) == expected


def test_right_options_are_recorded_where_they_are_asked_for(base, tmp_path, step):
    prompt = ["--prompt", json.dumps({"answer": "options", "neutral": ""}), "--token-rule", "content"]
    without, _ = store.read_statistics(step.recorded(base, tmp_path / "0.h5", *prompt))
    recorded, metadata = store.read_statistics(step.recorded(base, tmp_path / "1.h5", *prompt, "--options"))
    assert metadata["settings"]["options"] is True
    samples, _ = read_samples(base / "samples.parquet", split="identify")
    table, _ = files.read_table(base / "m/predictions.parquet")
    right = set(table.loc[table["correct"], "sample_id"])
    tokenizer = load({"name": "m", "path": str(base / "model")}).tokenizer
    behind = dict.fromkeys(recorded.cultures, 0)
    for sample in samples:
        if sample.sample_id in right:
            option = " " + sample.options[sample.label]
            behind[sample.culture] += len(tokenizer(option, add_special_tokens=False)["input_ids"])
    assert (recorded.tokens - without.tokens).tolist() == [behind[culture] for culture in recorded.cultures]
    with pytest.raises(ConfigError, match="recording: options: true"):
        step.recorded(base, tmp_path / "2.h5", "--options")
    assert not (tmp_path / "2.h5").exists()
