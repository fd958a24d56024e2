from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from culture_neurons.models import ablation, calibration
from culture_neurons.models.ablation import Evaluator
from culture_neurons.models.inputs import Batch, Prompt, count_tokens, prepare, render

PROMPT = Prompt(seed=5)


@pytest.fixture
def samples(questions):
    """24 questions, an image each; some of them much longer than the others."""
    return [
        replace(s, question=s.question + " indeed" * (i % 8) ** 2, image_id="", image_size=(56, 56))
        for i, s in enumerate(questions.samples)
    ]


def measured(loaded, questions, samples, batch_size=4, **options):
    batches = calibration.spread_samples(loaded, samples, PROMPT, batch_size)
    options = {"rule": "all", "mask_size": 10, "repeats": 2} | options
    return calibration.measure(loaded, batches, questions.opener, PROMPT, **options)


def cost(loaded, samples, batch_size) -> int:
    """Tokens of all batches, padding included."""
    n = sorted(count_tokens(loaded, render(loaded, samples, PROMPT)), reverse=True)
    return sum(n[i] * len(n[i : i + batch_size]) for i in range(0, len(n), batch_size))


def test_strata_are_long_middle_and_short_and_stand_for_all(one, samples):
    spread = calibration.spread_samples(one, samples, PROMPT, 4)
    tokens = [[int(count_tokens(one, [q])[0]) for q in stratum.questions] for stratum in spread.strata]
    assert spread.questions == len(samples) == 24
    assert len(tokens) == 3
    assert min(tokens[0]) > max(tokens[1])
    assert min(tokens[1]) > max(tokens[2])
    assert max(count_tokens(one, spread.longest)) == max(count_tokens(one, render(one, samples, PROMPT)))
    # 6 batches of 4 in 3 strata of 2; each stratum counts as the tokens of its two batches hold those of its own.
    total = sum(s.weight * len(t) * max(t) for s, t in zip(spread.strata, tokens, strict=True))
    assert total == pytest.approx(cost(one, samples, 4))


def test_a_batch_left_over_is_not_taken_for_the_others(one, samples):
    spread = calibration.spread_samples(one, samples[:9], PROMPT, 4, strata=1)
    assert [len(stratum.questions) for stratum in spread.strata] == [4]
    assert spread.strata[0].weight > 2


@pytest.mark.parametrize(("most", "sizes"), [(100, [4, 4, 4]), (16, [4, 4]), (7, [4]), (2, [2]), (0, [1])])
def test_a_small_run_is_measured_on_few_questions_that_stand_for_all(one, samples, most, sizes):
    spread = calibration.spread_samples(one, samples, PROMPT, 4, most=most)
    assert [len(stratum.questions) for stratum in spread.strata] == sizes
    assert len(spread.longest) == min(4, sizes[0])
    tokens = [max(int(count_tokens(one, [q])[0]) for q in stratum.questions) for stratum in spread.strata]
    stand_for = sum(s.weight * len(s.questions) * n for s, n in zip(spread.strata, tokens, strict=True))
    whole = calibration.spread_samples(one, samples, PROMPT, 4)
    assert spread.questions == whole.questions
    # What memory whole batches need is tried on the longest; what parts of them need is no question.
    assert ([q.sample for q in spread.longest] == [q.sample for q in whole.longest]) == (sizes[0] == 4)
    assert stand_for > sum(int(n) for n in count_tokens(one, [q for s in whole.strata for q in s.questions]))


@pytest.mark.parametrize(("passes", "most", "under_masks"), [
    (None, None, True), (10**6, 1960, True), (1530, 3, True), (1529, 15, False), (200, 2, False), (0, 1, False),
])  # fmt: skip
def test_a_run_is_measured_on_a_tenth_of_its_passes_and_a_small_one_on_a_twentieth(passes, most, under_masks):
    assert calibration.limit(passes) == (most, under_masks)


def test_a_plan_never_takes_more_than_a_tenth_of_the_passes_beside_one_question():
    for passes in range(0, 20000, 7):
        most, under_masks = calibration.limit(passes)
        each = calibration.PASSES if under_masks else calibration.PASSES_WITHOUT_MASKS
        assert most * each <= max(each, passes / 10)


@pytest.mark.parametrize("under_masks", [True, False])
def test_passes_of_a_question_are_as_many_as_is_said(one, questions, samples, monkeypatch, under_masks):
    """Counted by question: answers and recordings, and under masks; what compares replays with whole passes too."""
    passes = []

    def counted(name, of):
        real = getattr(of, name)

        def wrapper(*args, **options):
            result = real(*args, **options)
            batch = next(a for a in args if isinstance(a, Batch))
            passes.append((len(result) if of is Evaluator else 1) * len(batch.questions))
            return result

        monkeypatch.setattr(of, name, wrapper)

    for name, of in (("answer", calibration), ("activation_sums", calibration), ("__call__", Evaluator)):
        counted(name, of)
    monkeypatch.setattr(ablation, "_compare", lambda *args: None)  # of the first batch of each kind, as many again
    spread = calibration.spread_samples(one, samples, PROMPT, 4, most=2)
    repeats = calibration.REPEATS if under_masks else 1
    calibration.measure(one, spread, questions.opener, PROMPT, "all", 10, repeats=repeats, under_masks=under_masks)
    compared = calibration.FEW + 2 * calibration.MANY
    assert sum(passes) == 2 * (calibration.PASSES - compared if under_masks else calibration.PASSES_WITHOUT_MASKS)


def test_fewer_batches_than_strata(one, samples):
    spread = calibration.spread_samples(one, samples[:3], PROMPT, 4)
    assert [(len(s.questions), s.weight) for s in spread.strata] == [(3, 1.0)]


def test_seconds_that_go_with_tokens_are_estimated_exactly(one, questions, samples, monkeypatch):
    """A clock that counts a second per token, and two more per mask: a few batches give the sum over all."""
    masks = set()

    def clock(work, batch, devices):
        outcomes = work(batch)
        if not isinstance(work, Evaluator):
            return batch.tokens
        masks.add(len(outcomes))
        return batch.tokens * (1 + 2 * len(outcomes))

    monkeypatch.setattr(calibration, "seconds", clock)
    measurement = measured(one, questions, samples)
    expected = cost(one, samples, 4) / 24
    for kind in ("prepare", "answer", "record", "ablate"):
        np.testing.assert_allclose(measurement.seconds[kind], [expected] * 2)
    np.testing.assert_allclose(measurement.seconds["ablate_mask"], [2 * expected] * 2)
    assert masks == {2, 6}


def test_fixed_part_and_part_of_each_mask():
    # The second is noise: nothing costs less than nothing.
    fixed, each = calibration.fixed_and_each(np.array([2.0, 1.0, 4.0]), np.array([4.0, 5.0, 2.0]))
    np.testing.assert_array_equal(fixed, [1.0, 0.0, 4.0])
    np.testing.assert_array_equal(each, [0.5, 1.0, 0.0])


def test_measurement_of_a_real_model(loaded, questions, samples):
    measurement = measured(loaded, questions, samples, batch_size=8)
    assert set(measurement.seconds) == set(calibration.WORK)
    for kind, values in measurement.seconds.items():
        assert values.shape == (2,)
        assert (values >= 0).all()
        assert kind.startswith("ablate") or (values > 0).all()
    assert (measurement.batch_size, measurement.questions) == (8, 24)
    # 3 batches of 8 are all there are: what is said of tokens is exact.
    n = [prepare(loaded, [sample], questions.opener, PROMPT).tokens for sample in samples]
    assert measurement.tokens == (pytest.approx(np.mean(n)), max(n))
    tokens, fired, positive_sum = (np.concatenate(arrays) for arrays in zip(*measurement.recorded, strict=True))
    assert sorted(tokens) == sorted(n)
    assert fired.shape == positive_sum.shape == (24, 2, 48)
    assert (fired <= tokens[:, None, None]).all()
    for module in (m for layer in loaded.adapter.layers for m in layer.modules()):
        assert not module._forward_hooks
        assert "forward" not in vars(module)


def test_attribution_is_timed_where_it_is_asked_for(one, questions, samples):
    measurement = measured(one, questions, samples[:8], sites=["gate_proj", "q_proj"])
    assert set(measurement.seconds) == {*calibration.WORK, "attribute"}
    assert (measurement.seconds["attribute"] > 0).all()


def test_right_options_are_recorded_where_they_are_in_the_run(one, questions, samples):
    prompt = Prompt(answer="options", score="sum")
    spread = calibration.spread_samples(one, samples[:8], prompt, 8)
    measured_tokens = {}
    for options in (False, True):
        measurement = calibration.measure(one, spread, questions.opener, prompt, "all", 10, repeats=1, options=options)
        measured_tokens[options] = sum(int(tokens.sum()) for tokens, *_ in measurement.recorded)
    right = [" " + sample.options[sample.label] for sample in samples[:8]]
    behind = one.tokenizer(right, add_special_tokens=False)["input_ids"]
    assert measured_tokens[True] == measured_tokens[False] + sum(map(len, behind))


def test_content_tokens_can_be_recorded(one, questions, samples):
    measurement = measured(one, questions, samples[:8], rule="text")
    assert all((tokens < measurement.tokens[1]).all() for tokens, _, _ in measurement.recorded)


@pytest.mark.slow
def test_batches_that_do_not_fit_are_halved(one, questions, samples, monkeypatch):
    real = calibration.answer

    def short(loaded, batch, prompt):
        if len(batch.questions) > 3:
            raise RuntimeError("CUDA out of memory")
        return real(loaded, batch, prompt)

    monkeypatch.setattr(calibration, "answer", short)
    measurement = measured(one, questions, samples[:8], batch_size=8)
    assert (measurement.batch_size, measurement.questions) == (2, 8)


def test_out_of_memory_for_one_question_is_raised(one, questions, samples, monkeypatch):
    def never(*_):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(calibration, "answer", never)
    with pytest.raises(RuntimeError, match="out of memory"):
        measured(one, questions, samples[:2], batch_size=2)


def test_replays_are_compared_with_whole_passes_before_the_first_repeat_alone(one, questions, samples, monkeypatch):
    compared = []
    monkeypatch.setattr(ablation, "_compare", lambda *args: compared.append(args))
    counts = []
    for repeats in (1, 4):
        compared.clear()
        found = measured(one, questions, samples[:8], repeats=repeats)
        assert {len(values) for values in found.seconds.values()} == {repeats}
        counts.append(len(compared))
    assert counts[0] == counts[1] > 0


def test_random_masks_are_the_same_every_time_and_differ():
    masks = calibration.random_masks([100] * 4, 40)
    assert [len(mask) for mask in masks] == [40] * calibration.MANY
    assert len({mask.neuron.tobytes() for mask in masks}) == calibration.MANY
    assert {int(layer) for mask in masks for layer in mask.layer} == {0, 1, 2, 3}
    second = calibration.random_masks([100] * 4, 40)
    assert all((a.layer == b.layer).all() and (a.neuron == b.neuron).all() for a, b in zip(masks, second, strict=True))
    narrow = calibration.random_masks([3, 8], 5)
    assert all((mask.neuron < np.array([3, 8])[mask.layer]).all() for mask in narrow)
    assert {(0, 2), (1, 7)} <= {place for m in narrow for place in zip(m.layer, m.neuron, strict=True)}
    # The mask of all neurons is one mask, which would run once for all.
    assert [len(mask) for mask in calibration.random_masks([100] * 4, 400)] == [200] * calibration.MANY


def test_devices_have_finished_before_the_clock_is_read(monkeypatch):
    events = []

    def read():
        events.append("clock")
        return float(len(events))

    monkeypatch.setattr(calibration, "time", SimpleNamespace(perf_counter=read))
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: events.append(str(device)))
    devices = [torch.device("cpu"), torch.device("cuda:0"), torch.device("cuda:1")]
    calibration.seconds(lambda batch: events.append(batch), "work", devices)
    assert events == ["cuda:0", "cuda:1", "clock", "work", "cuda:0", "cuda:1", "clock"]
