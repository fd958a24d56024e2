import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu
from culture_neurons.models.forward import forward
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt

GRIDS = ((12, 16), (16, 12))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def loaded():
    return gpu.build(CPU, torch.float32, *gpu.tiny())


def test_whole_benchmark_runs_on_a_tiny_model(loaded, caplog):
    rate = gpu.matrix_rate(CPU, torch.float32, 256)
    rows, hours = gpu.measure(loaded, GRIDS, batch_size=4, n_masks=3, rate=rate, runs=1)
    values = {row.name: row.value for row in rows}
    assert values["batch"] == 4
    assert all(np.isfinite(row.value) for row in rows)
    assert "whole forward passes" not in caplog.text
    assert hours == values["projection: one model of the paper"]


def test_line_instead_of_an_error_without_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.run() == []
    assert "skipped" in capsys.readouterr().out


def test_shapes_are_those_of_the_seven_billion():
    with torch.device("meta"):
        text = gpu.Qwen2_5_VLConfig(text_config=gpu.TEXT, vision_config=gpu.VISION, tie_word_embeddings=False)
        model = gpu.Qwen2_5_VLForConditionalGeneration(text)
    layers = model.model.language_model.layers
    assert sum(p.numel() for p in model.parameters()) == 8_292_166_656  # what the published checkpoint holds
    assert sum(p.numel() for p in layers.parameters()) == 6_525_618_176


def test_batch_is_what_the_model_reads(loaded):
    batch = gpu.questions(loaded, 3, GRIDS)
    assert (batch.inputs["input_ids"] == gpu.IMAGE).sum() == 3 * 12 * 16 // 4
    assert batch.image_of == (0, 0, 2)
    assert len(answer(loaded, batch, Prompt())) == 3


def test_arithmetic_is_that_of_the_matrix_products(loaded):
    one = gpu.questions(loaded, 1, GRIDS)
    layers = loaded.adapter.layers
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward(loaded, one.inputs)
    counted = sum(
        sum(operations.values())
        for name, operations in counter.get_flop_counts().items()
        if name.endswith(tuple(f"language_model.layers.{i}" for i in range(len(layers))))
    )
    tokens = int(one.inputs["attention_mask"].sum())
    # PyTorch does not count attention on a CPU: queries times keys and weights times values, half of each masked.
    attention = len(layers) * 2 * (2 * tokens * tokens * 64) / 2
    assert counted / one.tokens == pytest.approx((gpu.decoder_flops(loaded, one) - attention) / tokens, rel=0.01)
