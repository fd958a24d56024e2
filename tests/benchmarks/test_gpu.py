import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu
from culture_neurons.models.inference import answer, forward
from culture_neurons.models.inputs import Prompt


def test_whole_benchmark_runs_on_a_tiny_model():
    rows = gpu.measure(torch.device("cpu"), torch.float32, *gpu.tiny(), batch_size=4, n_masks=3, runs=1)
    values = {row.name: row.value for row in rows}
    assert values["batch"] == 4
    assert all(np.isfinite(row.value) for row in rows)
    assert 0 < values["decoder arithmetic during ablation"] < 120
    assert "decoder entered once" in next(row.note for row in rows if row.name == "ablation")
    assert 2.9 < values["projection: three models"] / values["projection: one model of the paper"] < 3.1


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


def test_batch_is_what_the_model_reads_and_flops_are_those_of_the_matrix_products():
    loaded = gpu.build(torch.device("cpu"), torch.float32, *gpu.tiny())
    batch = gpu.questions(loaded, 3, torch.device("cpu"))
    grids = [gpu.GRIDS[0], gpu.GRIDS[0], gpu.GRIDS[1]]
    assert (batch.inputs["input_ids"] == gpu.IMAGE).sum() == sum(h * w // 4 for h, w in grids)
    assert batch.image_of == (0, 0, 2)
    assert len(answer(loaded, batch, Prompt())) == 3
    one = gpu.questions(loaded, 1, torch.device("cpu"))
    layers = loaded.model.model.language_model.layers
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
