import threading
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from culture_neurons.models import batching
from culture_neurons.models.batching import batches, cut_batches, is_out_of_memory, plan_batches, run_batches
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, Question, count_tokens, prepare, render
from culture_neurons.types import Sample

PROMPT = Prompt(seed=5)


def question(sample_id, image_id="", split="evaluate"):
    image = {"path": image_id} if image_id else None
    return Question(Sample(sample_id, "c", "k", "q", ("a", "b"), 0, split, image, image_id), (0, 1), "t", "c")


def ids(batches):
    return [[q.sample.sample_id for q in batch] for batch in batches]


def test_longest_questions_come_first_and_batches_are_full():
    questions = [question(name, name) for name in "abcdefg"]
    assert ids(cut_batches(questions, [1, 7, 3, 5, 2, 6, 4], 3)) == [["b", "f", "d"], ["g", "c", "e"], ["a"]]


def test_questions_about_one_image_stay_together():
    questions = [question(str(i), "ABBACD"[i]) for i in range(6)]
    assert ids(cut_batches(questions, [9, 1, 8, 2, 5, 4], 3)) == [["0", "3"], ["2", "1", "4"], ["5"]]
    assert ids(cut_batches(questions, [9, 1, 8, 2, 5, 4], 1)) == [[i] for i in "032145"]  # more than a batch: parted


def test_splits_and_questions_without_image_have_batches_of_their_own():
    parts = [question("a", "A"), question("b"), question("c", "C", "identify"), question("d", "D")]
    assert ids(plan_batches(parts, [1, 2, 3, 4], 8)) == [["d", "a"], ["b"], ["c"]]
    evaluate = [q for q in parts if q.sample.split == "evaluate"]
    assert ids(plan_batches(evaluate, [1, 2, 4], 8)) == [["d", "a"], ["b"]]


def test_plan_does_not_depend_on_the_order_of_the_samples():
    questions = [question(str(i), str(i // 2)) for i in range(20)]
    tokens = [i % 3 for i in range(20)]
    assert plan_batches(questions, tokens, 4) == plan_batches(questions[::-1], tokens[::-1], 4)


def test_jobs_share_the_questions_and_their_batches_are_those_of_one_job(monkeypatch):
    monkeypatch.setattr("culture_neurons.models.batching.BLOCK", 6)
    questions = [question(str(i), str(i // 2), ("evaluate", "identify")[i % 4 // 2]) for i in range(37)]
    tokens = [(7 * i) % 11 for i in range(37)]
    planned = plan_batches(questions, tokens, 3)
    for shards in (2, 3, 20):
        parts = [plan_batches(questions, tokens, 3, shard, shards) for shard in range(shards)]
        assert sorted(ids(batch for part in parts for batch in part)) == sorted(ids(planned))
    for batch_size in (1, 2, 6, 100):
        # Which questions a job takes does not depend on its batches; larger ones than a block are possible.
        mine = plan_batches(questions, tokens, batch_size, 1, 3)
        assert sorted(i for batch in ids(mine) for i in batch) == sorted(
            i for batch in ids(plan_batches(questions, tokens, 3, 1, 3)) for i in batch
        )
        assert max(map(len, mine)) <= batch_size
    assert max(map(len, plan_batches(questions, tokens, 100, 1, 2))) > 6


def test_lengths_are_those_of_the_processed_inputs(loaded, questions):
    shapes = [(56, 56), (200, 40), (30, 180), (333, 222), (57, 400), (640, 480)]
    distinct = {s.image_id: s for s in questions.samples}.values()
    samples = [replace(s, image_size=shape) for s, shape in zip(distinct, shapes, strict=False)]
    samples.append(replace(questions.samples[7], image=None))
    pictures = {s.image["bytes"]: questions.opener(s.image).resize(s.image_size) for s in samples if s.image}
    batch = prepare(loaded, samples, lambda image: pictures[image["bytes"]], PROMPT)
    real = batch.inputs["attention_mask"].sum(dim=1)
    assert count_tokens(loaded, render(loaded, samples, PROMPT)).tolist() == real.tolist()


def test_lengths_without_a_processor_that_counts_grow_with_the_image(loaded, questions, monkeypatch):
    monkeypatch.setattr(type(loaded.processor), "_get_num_multimodal_tokens", None)
    samples = [replace(questions.samples[0], image_size=shape) for shape in [(56, 56), (560, 560)]]
    small, large = count_tokens(loaded, render(loaded, samples, PROMPT))
    assert large - small == 400 - 4


def short_of_memory(limit, seen):
    """Work that fails on more than `limit` tokens, and notes the size of each batch that it is given."""

    def work(batch):
        seen.append((len(batch.questions), batch.tokens))
        if batch.tokens > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [s.sample_id for s in batch.samples]

    return work


def test_batch_that_is_too_large_is_halved_and_the_size_remembered(one, questions, caplog):
    total = prepare(one, questions.samples, questions.opener, PROMPT).tokens
    seen = []
    done = run_batches(
        one, batches(one, questions.samples, PROMPT, 24), questions.opener, PROMPT, short_of_memory(total // 3, seen)
    )
    done_ids = [sample_id for _, result in done for sample_id in result]
    assert sorted(done_ids) == sorted(s.sample_id for s in questions.samples)
    assert len(done_ids) == 24
    failed = [tokens for _, tokens in seen if tokens > total // 3]
    assert [n for n, _ in seen][:3] == [24, 12, 6]
    assert len(failed) == 2  # neither size is tried again
    assert "out of memory with 24 questions" in caplog.text


def test_answers_do_not_depend_on_memory(one, questions):
    total = prepare(one, questions.samples, questions.opener, PROMPT).tokens
    ask, short = partial(answer, one, prompt=PROMPT), short_of_memory(total // 4, [])

    def work(batch):
        short(batch)
        return ask(batch)

    def predictions(work):
        done = run_batches(one, batches(one, questions.samples, PROMPT, 24), questions.opener, PROMPT, work)
        return {s.sample_id: a.prediction for batch, result in done for s, a in zip(batch.samples, result, strict=True)}

    assert predictions(work) == predictions(ask)


def test_single_sample_that_does_not_fit_is_an_error_and_others_pass_through(one, questions):
    with pytest.raises(torch.OutOfMemoryError):
        list(
            run_batches(
                one, batches(one, questions.samples[:4], PROMPT, 4), questions.opener, PROMPT, short_of_memory(0, [])
            )
        )

    def broken(batch):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        list(run_batches(one, batches(one, questions.samples[:3], PROMPT, 2), questions.opener, PROMPT, broken))


def test_next_batch_is_prepared_while_the_model_works(one, questions, monkeypatch):
    ready = threading.Event()
    processed = []
    process = batching.process

    def noted(loaded, part, opener, content):
        processed.append(threading.current_thread().name.split("_")[0])
        if len(processed) == 2:
            ready.set()
        return process(loaded, part, opener, content)

    monkeypatch.setattr(batching, "process", noted)
    monkeypatch.setattr(batching, "prepares_ahead", lambda *_: True)  # as for a model on a GPU
    waited = []
    todo = batches(one, questions.samples, PROMPT, 12)
    list(run_batches(one, todo, questions.opener, PROMPT, lambda batch: waited.append(ready.wait(20))))
    assert len(waited) > 1
    assert all(waited)
    assert processed == ["MainThread"] + ["inputs"] * (len(waited) - 1)  # each input once


def test_nothing_is_prepared_ahead_on_a_cpu_or_beside_generation(one):
    on_gpu = SimpleNamespace(model=SimpleNamespace(device=torch.device("cuda")))
    assert batching.prepares_ahead(on_gpu, PROMPT)
    assert not batching.prepares_ahead(on_gpu, Prompt(answer="generate"))
    assert not batching.prepares_ahead(one, PROMPT)


def test_errors_of_other_devices_are_known():
    assert is_out_of_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")
    )
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert not is_out_of_memory(RuntimeError("size mismatch"))
