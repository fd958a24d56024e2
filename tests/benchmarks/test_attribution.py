import numpy as np

from benchmarks import attribution

TINY = {"hidden_size": 16, "intermediate_size": 30, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 8}  # fmt: skip


def test_the_reference_finds_the_same_maxima():
    loaded = attribution.build(**TINY)
    for name, parameter in loaded.model.named_parameters():
        if "norm" not in name:
            parameter.mul_(10)
    batch = attribution.question()
    found = attribution.attributed(loaded, batch)
    maxima = np.array(attribution.looped(attribution.captured(loaded, batch)))
    logits = loaded.model(**batch.inputs).logits[0, -1]
    # Modules are watched in the order in which they run: q, k, v and gate of a layer.
    expected = np.concatenate([found[site][0, layer] for layer in range(2)
                               for site in ("q_proj", "k_proj", "v_proj", "gate_proj")])  # fmt: skip
    np.testing.assert_allclose(maxima * logits.softmax(dim=0)[3].item(), expected, rtol=1e-3, atol=1e-12)
    assert (expected > 0).any()


def test_both_ways_are_timed():
    loaded = attribution.build(**TINY)
    found = attribution._beyond(loaded, attribution.captured(loaded, attribution.question()), 1000)
    assert {name: len(values) for name, values in found.items()} == {"loop": 3, "reduced": 3}
    assert min(found["loop"] + found["reduced"]) > 0
