"""Qwen2.5-VL-7B at its true shapes on a GPU: random weights made on the device, CVQA-like images and texts.

Speed does not depend on what the weights say, so nothing is downloaded. Shapes are those of the published
config.json of Qwen/Qwen2.5-VL-7B-Instruct.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import yaml
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from benchmarks.measure import Row, interleaved, ratios
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.adapters import adapt
from culture_neurons.models.forward import forward
from culture_neurons.models.hooks import record
from culture_neurons.models.inference import answer, on_device
from culture_neurons.models.inputs import Batch, Prompt, Question
from culture_neurons.models.loading import Loaded
from culture_neurons.models.recording import activation_sums
from culture_neurons.models.vision import keep_image_features
from culture_neurons.types import NeuronMask, Sample

TEXT = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 128000, "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}}  # fmt: skip
VISION = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584,
          "patch_size": 14, "spatial_merge_size": 2, "window_size": 112,
          "fullatt_block_indexes": [7, 15, 23, 31]}  # fmt: skip
IMAGE, VISION_START = 151655, 151652
#: Patches (height, width) of CVQA-like photographs; four of them make a token. Qwen2.5-VL reads 1024 x 768 pixels as
#: about 1,000 tokens. LLaVA-NeXT's and Pangea's five tiles are about 2,150 (Pangea's decoder has the same shape).
GRIDS = {"about 1,000 image tokens": ((54, 74), (74, 54), (64, 64), (48, 84)),
         "about 2,150 image tokens": ((80, 108), (108, 80), (92, 92), (72, 120))}  # fmt: skip
#: Models of the paper by the length of their images, and questions in a batch.
LIKE = {"about 1,000 image tokens": 1, "about 2,150 image tokens": 2}
BATCHES = {"about 1,000 image tokens": 64, "about 2,150 image tokens": 32}
#: Shortest and longest text of a question with its options, in tokens.
WORDS = (60, 160)
MASKS = 6
#: Questions of CVQA's test split in the paper's 25 cultures, about; half of them are evaluated.
CVQA = 8500
PAPER = "config/paper-vlm.yaml"


def run() -> list[Row]:
    """All rows of this benchmark; none, and a line that says so, where there is no GPU."""
    if not torch.cuda.is_available():
        print("bench-gpu: skipped, PyTorch finds no GPU here")
        return []
    device = torch.device("cuda")
    rate = matrix_rate(device, torch.bfloat16, 8192)
    rows = [Row("measured matrix rate", rate / 1e12, "TFLOP/s", "bfloat16, square matrices")]
    loaded = build(device, torch.bfloat16, TEXT, VISION)
    hours = 0.0
    for length, grids in GRIDS.items():
        found, of_one = measure(loaded, grids, BATCHES[length], MASKS, rate)
        rows += [Row(f"{length}: {row.name}", row.value, row.unit, row.note) for row in found]
        hours += LIKE[length] * of_one
    rows.append(Row("peak device memory", torch.cuda.max_memory_allocated(device) / 1e9, "GB"))
    note = "one with short images, two with long ones"
    return [*rows, Row("**projection: the paper's three models**", hours, "GPU hours", note)]


def measure(
    loaded: Loaded, grids: Sequence[tuple[int, int]], batch_size: int, n_masks: int, rate: float, runs: int = 5
) -> tuple[list[Row], float]:
    """The rows, for a model of any size on any device, and the projected hours of the paper's run with it."""
    device = loaded.model.device
    batch = questions(loaded, batch_size, grids)
    inputs = on_device(loaded, batch)
    masks = random_masks(loaded, n_masks)
    prompt = Prompt()

    def timed(work: Callable[[], object]) -> Callable[[], float]:
        def call() -> float:
            _wait(device)
            start = time.perf_counter()
            work()
            _wait(device)
            return time.perf_counter() - start

        return call

    with torch.inference_mode():

        def recorded() -> None:
            with record(loaded.adapter) as recorder:
                activation_sums(loaded, batch, "all", recorder)

        def bare() -> None:
            with keep_image_features(loaded.model, batch.image_of):
                forward(loaded, inputs)

        def ablated(count: int) -> Callable[[], float]:
            def call() -> float:
                with evaluator(loaded, masks[:count], prompt) as evaluate:
                    evaluate(batch)  # the first batch of a job also compares replays with whole passes
                    return timed(lambda: evaluate(batch))()

            return call

        ways = {
            "bare": timed(bare),
            "answer": timed(lambda: answer(loaded, batch, prompt)),
            "record": timed(recorded),
            "few": ablated(2),
            "many": ablated(n_masks),
        }
        found = interleaved(ways, runs)
    middle = {name: statistics.median(values) for name, values in found.items()}
    per_mask = (middle["many"] - middle["few"]) / (n_masks - 2)
    fixed = middle["few"] - 2 * per_mask
    over, low, high = ratios(found, "record", "bare")
    tokens = batch.inputs["attention_mask"].sum().item()
    rows = [
        Row("batch", batch_size, "questions",
            f"two about each image; {tokens / batch_size:.0f} tokens each, {batch.tokens / tokens - 1:.1%} padding"),
        Row("answers", batch_size / middle["answer"], "questions/s"),
        Row("recording", batch_size / middle["record"], "questions/s",
            f"{over - 1:.1%} over the bare forward pass ({low - 1:.1%} to {high - 1:.1%})"),
        Row("ablation", batch_size / per_mask, "questions × masks/s",
            f"{1e3 * per_mask:.0f} ms per mask and batch, {1e3 * fixed:.0f} ms per batch"),
        Row("decoder arithmetic during ablation", 100 * decoder_flops(loaded, batch) / per_mask / rate,
            "% of the matrix rate", "all layers"),
    ]  # fmt: skip
    projected = projection(batch_size, middle["answer"], middle["record"], per_mask, fixed)
    return [*rows, projected], projected.value


def projection(batch: int, answer_s: float, record_s: float, mask_s: float, fixed_s: float) -> Row:
    """Device hours of the paper's run with this model."""
    config = yaml.safe_load(Path(PAPER).read_text(encoding="utf-8"))
    jobs = len(config["selectors"])
    masks = jobs * len(config["top_fractions"]) * 25
    seconds = (CVQA * answer_s + CVQA / 2 * record_s + CVQA / 2 * (masks * mask_s + jobs * fixed_s)) / batch
    note = f"{CVQA} questions, half of them under {masks} masks of {jobs} selectors; all answers right"
    return Row("projection: one model of the paper", seconds / 3600, "GPU hours", note)


def build(device: torch.device, dtype: torch.dtype, text: dict, vision: dict) -> Loaded:
    """A model with random weights, made on the device in its dtype."""
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, image_token_id=IMAGE,
                              vision_start_token_id=VISION_START, tie_word_embeddings=False)  # fmt: skip
    config.vocab_size = text["vocab_size"]
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            model = Qwen2_5_VLForConditionalGeneration(config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)
    letters = {"A": 32, "B": 33, "C": 34, "D": 35}
    tokenizer = SimpleNamespace(
        convert_tokens_to_ids=letters.get,
        convert_ids_to_tokens={number: letter for letter, number in letters.items()}.get,
    )
    name = str(dtype).removeprefix("torch.")
    return Loaded("random weights", model, SimpleNamespace(tokenizer=tokenizer), adapt(model), "none", name)


def questions(loaded: Loaded, n: int, grids: Sequence[tuple[int, int]]) -> Batch:
    """Random images and texts of CVQA-like lengths, two questions about each image, padded on the left."""
    rng = np.random.default_rng(0)
    vision = loaded.model.config.vision_config
    merge = vision.spatial_merge_size
    grids = [grids[i // 2 % len(grids)] for i in range(n)]
    words = np.sort(rng.integers(*WORDS, size=n))
    images = [h * w // merge**2 for h, w in grids]
    length = max(i + w for i, w in zip(images, words, strict=True)) + 16
    ids = np.zeros((n, length), dtype=np.int64)
    template = rng.integers(40, 300, 14)
    for b, (image, text) in enumerate(zip(images, words, strict=True)):
        prompt = [*template, VISION_START, *[IMAGE] * image, *rng.integers(40, 300, text)]
        ids[b, length - len(prompt) :] = prompt
    valid = ids > 0
    width = 3 * vision.temporal_patch_size * vision.patch_size**2
    inputs = {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(valid.astype(np.int64)),
        "mm_token_type_ids": torch.from_numpy((ids == IMAGE).astype(np.int64)),
        "image_grid_thw": torch.tensor([(1, h, w) for h, w in grids]),
        "pixel_values": torch.cat([_patches(h * w, width, i // 2) for i, (h, w) in enumerate(grids)]),
    }
    samples = [
        Sample(f"q{i:04}", "c", "k", "?", ("a", "b", "c", "d"), 0, "evaluate", {"row": i // 2}, str(i // 2))
        for i in range(n)
    ]
    asked = [Question(sample, (0, 1, 2, 3), "", "") for sample in samples]
    return Batch(asked, inputs, None, tuple(2 * (i // 2) for i in range(n)))


def _patches(n: int, width: int, seed: int) -> torch.Tensor:
    return torch.rand(n, width, generator=torch.Generator().manual_seed(seed))


def random_masks(loaded: Loaded, n: int) -> list[NeuronMask]:
    """One neuron of a hundred, anywhere."""
    rng = np.random.default_rng(1)
    layers, neurons = loaded.adapter.n_layers, loaded.adapter.n_neurons
    masks = []
    for i in range(n):
        flat = np.sort(rng.choice(layers * neurons, max(1, layers * neurons // 100), replace=False))
        masks.append(NeuronMask(f"m{i}", "act_fn", flat // neurons, flat % neurons))
    return masks


def decoder_flops(loaded: Loaded, batch: Batch) -> float:
    """Multiplications and additions of one pass of the valid tokens through the decoder layers.

    Two per weight and token; and for attention four per layer and unit of width for each pair of a token and one that
    it sees.
    """
    weights = sum(p.numel() for layer in loaded.adapter.layers for p in layer.parameters())
    width = 4 * loaded.model.config.text_config.hidden_size * loaded.adapter.n_layers
    tokens = batch.inputs["attention_mask"].sum(dim=1).double().tolist()
    return sum(2 * weights * n + width * n * n / 2 for n in tokens)


def matrix_rate(
    device: torch.device,
    dtype: torch.dtype,
    n: int,
    runs: int = 20,
    product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = torch.matmul,
) -> float:
    """FLOP/s of square matrix products: the best of several runs."""
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    taken: list[float] = []
    for _ in range(runs):
        _wait(device)
        start = time.perf_counter()
        product(a, b)
        _wait(device)
        taken.append(time.perf_counter() - start)
    return 2 * n**3 / min(taken)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def tiny() -> tuple[dict, dict]:
    """Shapes of text and vision that a CPU can test."""
    text = TEXT | {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
                   "num_key_value_heads": 2,
                   "rope_parameters": TEXT["rope_parameters"] | {"mrope_section": [2, 3, 3]}}  # fmt: skip
    vision = VISION | {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 64,
                       "fullatt_block_indexes": [1]}  # fmt: skip
    return text, vision
