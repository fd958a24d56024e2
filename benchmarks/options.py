"""A pretrained model that is asked by the texts of options, in words and about pictures: the engine against a naive
loop over options, and against the machine's rate of matrix products; and recording. On one thread, as the demos' jobs.

The loop sends a picture through the vision tower and the decoder for each option anew. The engine sends it through the
tower once for all masks, and through the decoder once for all options of a question.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import naive, recording
from benchmarks.gpu import matrix_rate, random_masks
from benchmarks.measure import Row, interleaved, ratios
from culture_neurons.data.samples import read_samples
from culture_neurons.models.ablation import Evaluator
from culture_neurons.models.adapters import Adapter
from culture_neurons.models.batching import batches
from culture_neurons.models.forward import forward
from culture_neurons.models.hooks import ablate
from culture_neurons.models.inference import Answer, on_device, reader_of
from culture_neurons.models.inputs import Batch, Opener, Prompt, contexts, process, render
from culture_neurons.models.loading import Loaded, load
from culture_neurons.models.onednn import use_onednn
from culture_neurons.models.option_scores import PMI
from culture_neurons.models.packing import packed
from culture_neurons.types import NeuronMask, Sample

RESULTS = Path("results")
#: Folder of a model -> what makes it, and the files of questions by direction; what is recorded are the first ones'.
MODELS = {
    "real/smollm2-135m": (
        "make demo-real",
        {"recognise": "real/samples.parquet", "recall": "real/sets/recall/samples.parquet"},
    ),
    "demo/smollm2-eye": ("make demo", {"picture": "demo/samples.parquet"}),
}
PROMPT = Prompt(answer="options", score=PMI)
#: Questions of a batch, and masks.
QUESTIONS, MASKS = 64, 8
#: Those of the naive loop: it takes seconds for so few.
NAIVE_QUESTIONS, NAIVE_MASKS = 6, 2
#: Rows and columns of the matrices whose product is the rate to reach; products at a time, of which the best counts.
WIDTH, PRODUCTS = 2048, 3
RUNS, PAIRS = 5, 9


def run() -> list[Row]:
    """All rows of this benchmark; of a model without results none, and a line that says so."""
    rows = []
    with _one_thread():
        for place, (command, sets) in MODELS.items():
            folder = RESULTS / place / "model"
            missing = [path for path in (folder, *(RESULTS / file for file in sets.values())) if not path.exists()]
            if missing:
                print(f"options: skipped, {missing[0]} is missing; run {command} first")
                continue
            loaded = load({"name": folder.parent.name, "path": str(folder), "chat_template": "none"}, threads=1)
            for direction, file in sets.items():
                samples, opener = read_samples(RESULTS / file, split="evaluate")
                rows += compare(loaded, f"{loaded.name}, {direction}", samples, opener)
            samples, opener = read_samples(RESULTS / next(iter(sets.values())), split="identify")
            rows += record(loaded, samples, opener)
    return rows


def compare(loaded: Loaded, title: str, samples: Sequence[Sample], opener: Opener) -> list[Row]:
    """Time per question and mask both ways, how far their answers differ, and what the engine reaches of the rate of a
    matrix product."""
    asked = spread(samples, QUESTIONS)
    few = spread(asked, NAIVE_QUESTIONS)
    masks = random_masks(loaded, MASKS)
    (questions,) = batches(loaded, asked, PROMPT, QUESTIONS)
    answers: dict[tuple[int, str], Answer] = {}
    expected: dict[tuple[int, str], tuple[int, np.ndarray]] = {}
    # The first batch of a job also compares replays with whole passes: here that is in the run that does not count.
    with ablate(loaded.adapter, masks) as ablation:
        evaluate = Evaluator(loaded, masks, PROMPT, ablation)

        def engine() -> float:
            start = time.perf_counter()
            batch = process(loaded, questions, opener)
            found = evaluate(batch)
            taken = time.perf_counter() - start
            ablation.use(None)  # the naive loop has hooks of its own beside these
            for index, row in enumerate(found):
                answers.update({(index, s.sample_id): a for s, a in zip(batch.samples, row, strict=True)})
            return taken / len(asked) / len(masks)

        def loop() -> float:
            start = time.perf_counter()
            expected.update(naive.evaluate(loaded, few, opener, PROMPT, masks[:NAIVE_MASKS]))
            return (time.perf_counter() - start) / len(few) / NAIVE_MASKS

        mkl = partial(matrix_rate, torch.device("cpu"), torch.float32, WIDTH, PRODUCTS)
        onednn = partial(mkl, product=linear_product())
        found = interleaved({"engine": engine, "naive": loop, "rate": onednn, "mkl": mkl}, RUNS)
    batch = process(loaded, questions, opener)
    needed = flops(loaded, batch, masks) / len(asked) / len(masks)
    found["reached"] = [needed / taken for taken in found["engine"]]
    rows = compared(title, found, answers, expected)
    valid = packed(loaded, batch)[0].inputs["attention_mask"]
    share, low, high = ratios(found, "reached", "rate")
    return [
        *rows,
        Row(f"{title}: tokens that are no padding", 100 * float(valid.sum() / valid.numel()), "%",
            f"{int(valid.sum()):,} in {len(valid)} rows of {valid.shape[1]}"),
        Row(f"{title}: matrix rate", statistics.median(found["rate"]) / 1e9, "GFLOP/s",
            f"float32, {WIDTH:,} × {WIDTH:,}, in turn with the engine"),
        Row(f"{title}: the same by MKL", statistics.median(found["mkl"]) / 1e9, "GFLOP/s"),
        Row(f"{title}: **share of the matrix rate**", 100 * share, "%",
            f"{100 * low:.0f} to {100 * high:.0f} %; {needed / 1e9:.3g} GFLOP per question and mask"),
    ]  # fmt: skip


def linear_product() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The product that large linear layers of models take here: by oneDNN where it can be had."""
    layer = torch.nn.Linear(WIDTH, WIDTH, bias=False).requires_grad_(False)
    use_onednn(layer)

    def product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        layer.weight.set_(weight)
        return layer(x)

    return product


def compared(
    title: str,
    found: Mapping[str, Sequence[float]],
    answers: Mapping[tuple[int, str], Answer],
    expected: Mapping[tuple[int, str], tuple[int, np.ndarray]],
) -> list[Row]:
    """Rows of both ways: seconds per question and mask, and the answers of the engine and those of the loop."""
    same = [answers[key].prediction == prediction for key, (prediction, _) in expected.items()]
    apart = max(np.abs(np.asarray(answers[key].logprobs) - logprobs).max() for key, (_, logprobs) in expected.items())
    middle, low, high = ratios(found, "naive", "engine")
    return [
        Row(f"{title}: naive loop", 1e3 * statistics.median(found["naive"]), "ms",
            f"per question and mask, {len(expected)} of them, one option at a time"),
        Row(f"{title}: engine", 1e3 * statistics.median(found["engine"]), "ms",
            f"per question and mask, {len(answers)} of them, all questions in a batch"),
        Row(f"{title}: **speed-up**", middle, "×", f"{low:.1f} to {high:.1f}"),
        Row(f"{title}: equal predictions", 100 * float(np.mean(same)), "%",
            f"{len(same)} compared; log-probabilities differ by at most {apart:.0e}"),
    ]  # fmt: skip


def record(loaded: Loaded, samples: Sequence[Sample], opener: Opener) -> list[Row]:
    """Contexts of a batch of questions, as they are recorded: what that costs beside the forward pass."""
    questions = contexts(render(loaded, spread(samples, QUESTIONS), PROMPT))
    batch = process(loaded, questions, opener)
    inputs, weights = on_device(loaded, batch), batch.inputs["attention_mask"].bool()
    title = f"{loaded.name}, contexts of {len(questions)} questions"
    return recording.compare(title, partial(forward, loaded, inputs), loaded.adapter, weights, PAIRS, ("recorded",))


def flops(loaded: Loaded, batch: Batch, masks: Sequence[NeuronMask]) -> float:
    """Multiplications and additions of matrices of weights that the answers to a batch under `masks` need.

    Two per weight of the decoder's linear layers and token that is no padding, and two per weight of the head and place
    that is read. Once for all masks: the layers below the first one that a mask touches, and what comes before the
    neurons in this one. Not counted: attention of tokens to tokens, so that the share is rather too low. Counted,
    though some of it may be left out (`last_positions`): the last layer, where nothing is read.

    masks  of neurons at act_fn, each with one at least
    """
    batch, _ = packed(loaded, batch)
    tokens = int(batch.inputs["attention_mask"].sum())
    places = reader_of(loaded, batch).positions.places
    assert places is not None
    whole, down = weights_by_layer(loaded.adapter)
    first = [int(mask.layer.min()) for mask in masks]
    once = whole[: max(first) + 1].sum() - down[max(first)]
    by_mask = sum(down[layer] + whole[layer + 1 :].sum() for layer in first)
    head = loaded.model.get_output_embeddings().weight.numel()
    return 2.0 * float(tokens * (once + by_mask) + len(masks) * places.shape[1] * head)


def weights_by_layer(adapter: Adapter) -> tuple[np.ndarray, np.ndarray]:
    """Weights of each layer's linear modules, and of its down projection alone, int64 [layer]."""
    whole = [
        sum(module.weight.numel() for module in layer.modules() if isinstance(module, torch.nn.Linear))
        for layer in adapter.layers
    ]
    down = [adapter.part(layer, "down").weight.numel() for layer in range(adapter.n_layers)]
    return np.array(whole), np.array(down)


def spread(samples: Sequence[Sample], n: int) -> list[Sample]:
    """`n` samples at even distances, from the first to the last; all, where there are no more."""
    places = np.linspace(0, len(samples) - 1, min(n, len(samples))).round().astype(int)
    return [samples[place] for place in places]


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch computes on one thread inside; other benchmarks of the same process have theirs again."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
