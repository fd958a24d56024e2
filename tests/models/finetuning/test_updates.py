"""Updates of single modules: what they change, and what they leave."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from culture_neurons.errors import ConfigError, FileError, ModelError
from culture_neurons.models.finetuning import updates
from culture_neurons.models.finetuning.updates import Lora, attach
from culture_neurons.models.inference import right_answer
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.projections import projections
from tests.models import site_models
from tests.models.conftest import TEXT, language_model
from tests.models.test_attribution import SAMPLES

MODULES = [("gate_proj", 1), ("q_proj", 0), ("v_proj", 1)]
#: Two modules of one fused projection (of Phi-3), and a third one that is left.
NEIGHBOURS = [("q_proj", 1), ("v_proj", 1)]


@pytest.fixture(params=TEXT)
def model(request, one):
    return language_model(request.param, one.tokenizer, torch.float32)


def batch_of(loaded):
    return prepare(loaded, SAMPLES, lambda image: None, Prompt())


def state(loaded):
    return {name: value.clone() for name, value in loaded.model.state_dict().items()}


def filled(parts, seed=0):
    """Put random numbers into the parts."""
    generator = torch.Generator().manual_seed(seed)
    for part in parts:
        part.values.add_(0.3 * torch.randn(part.values.shape, generator=generator).to(part.values.dtype))


def chosen_rows(loaded, modules):
    """name of the weight -> bool [row]: the rows of these modules, found by hand."""
    where = projections(loaded.adapter, list(dict(modules)))
    result = {}
    for name, module in loaded.model.named_modules():
        for site, layer in modules:
            part = where[site][layer]
            if part.module is module:
                for kind, parameter in module.named_parameters(recurse=False):
                    rows = result.setdefault(f"{name}.{kind}", torch.zeros(len(parameter), dtype=torch.bool))
                    rows[part.outputs()] = True
    return result


@pytest.mark.parametrize("modules", [MODULES, NEIGHBOURS])
def test_full_weights_are_the_rows_of_the_modules_and_no_others(model, modules):
    before, rows = state(model), chosen_rows(model, modules)
    with attach(model, modules, None) as parts:
        filled(parts)
        during = state(model)
    assert set(rows) <= set(before)
    for name, value in during.items():
        mine = rows.get(name, torch.zeros(len(value) if value.ndim else 1, dtype=torch.bool))
        changed = (value != before[name]).reshape(len(mine), -1).any(dim=1)
        assert torch.equal(changed, mine), name
    after = state(model)
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("modules", [MODULES, NEIGHBOURS])
def test_adapters_equal_merged_weights(model, modules):
    batch, before, rows = batch_of(model), state(model), chosen_rows(model, modules)
    plain = right_answer(model, batch)
    with attach(model, modules, Lora(rank=3, alpha=5)) as parts:
        assert torch.equal(right_answer(model, batch), plain)  # B is 0
        filled(parts)
        adapted = right_answer(model, batch)
        deltas = {}
        for name, value in model.model.state_dict().items():
            if name.endswith("lora_A.default.weight"):
                b = model.model.state_dict()[name.replace("lora_A", "lora_B")]
                deltas[name.removesuffix(".lora_A.default.weight") + ".weight"] = 5 / 3 * b @ value
    assert set(deltas) == {name for name in rows if name.endswith(".weight")}
    for name, delta in deltas.items():
        assert not delta[~rows[name]].any()
        assert delta[rows[name]].any(dim=1).all()
        model.model.get_parameter(name).data += delta
    assert not torch.allclose(adapted, plain, atol=1e-3)
    torch.testing.assert_close(right_answer(model, batch), adapted, rtol=1e-4, atol=1e-4)
    for name in deltas:
        model.model.get_parameter(name).data.copy_(before[name])
    assert {name: value.shape for name, value in state(model).items()} == {n: v.shape for n, v in before.items()}
    assert torch.equal(right_answer(model, batch), plain)


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_an_update_comes_back_from_its_file(model, lora, tmp_path):
    batch, path = batch_of(model), tmp_path / "update.safetensors"
    with attach(model, MODULES, lora) as parts:
        filled(parts)
        expected = right_answer(model, batch)
        updates.write(path, parts, {"model": "m"})
    first = path.read_bytes()
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode  # as readable as any other file
    tensors, metadata = updates.read(path)
    assert metadata["model"] == "m"
    assert not torch.equal(right_answer(model, batch), expected)
    with attach(model, MODULES, lora, seed=99) as parts:
        updates.apply(parts, tensors, "it")
        assert torch.equal(right_answer(model, batch), expected)
        updates.write(path, parts, {"model": "m"})
    assert path.read_bytes() == first
    with (
        attach(model, MODULES[:2], lora) as parts,
        pytest.raises(FileError, match=r"it: .*v_proj|it: .*qkv_proj"),
    ):
        updates.apply(parts, tensors, "it")


@pytest.mark.parametrize("name", ["gpt_neox", "qwen3_5", "falcon-groups"])
@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_rows_that_lie_in_turns(name, lora, tmp_path):
    """Queries, keys and values of one head behind those of the one before, and queries beside a gate."""
    loaded, layer = site_models.load(name), 2 if name == "qwen3_5" else 1
    modules = [("q_proj", layer), ("v_proj", layer)]
    by_hand = site_models.by_hand(name, loaded.adapter.layers[layer])
    batch, before, plain = site_models.batch(), state(loaded), right_answer(loaded, site_models.batch())
    names = {module: key for key, module in loaded.model.named_modules()}
    rows = {}
    for module, outputs in (by_hand[site] for site, _ in modules):
        rows.setdefault(names[module], []).append(list(outputs))
    with attach(loaded, modules, lora) as parts:
        for kind in ("weight", "bias"):
            of_kind = [p.rows(torch.arange(len(p.parameter))).flatten().tolist() for p in parts
                       if p.name.partition("[")[0].endswith(kind) and "lora_A" not in p.name]  # fmt: skip
            assert of_kind in ([], [outputs for of_module in rows.values() for outputs in of_module])
        filled(parts)
        expected = right_answer(loaded, batch)
        for key, value in state(loaded).items() if lora is None else ():
            changed = (value != before[key]).reshape(len(value) if value.ndim else 1, -1).any(dim=1)
            of_module = rows.get(key.rpartition(".")[0], [])
            assert changed.nonzero()[:, 0].tolist() == sorted(i for outputs in of_module for i in outputs), key
        updates.write(tmp_path / "x.safetensors", parts, {})
    assert torch.equal(right_answer(loaded, batch), plain)
    assert not torch.equal(plain, expected)
    tensors, _ = updates.read(tmp_path / "x.safetensors")
    with attach(loaded, modules, lora, seed=7) as parts:
        updates.apply(parts, tensors, "it")
        assert torch.equal(right_answer(loaded, batch), expected)
    assert all(torch.equal(value, before[key]) for key, value in state(loaded).items())


def test_a_layer_without_the_module_is_refused():
    loaded = site_models.load("gemma4")
    with (
        pytest.raises(ModelError, match="layer 3 has no k_proj; was the mask made for another model"),
        attach(loaded, [("k_proj", 3)], None),
    ):
        pass


def test_vision_language_models_are_updated_in_the_decoder_alone(loaded, questions):
    batch = prepare(loaded, questions.samples[:3], questions.opener, Prompt())
    plain, before = right_answer(loaded, batch), state(loaded)
    for lora in (None, Lora()):
        with attach(loaded, MODULES, lora) as parts:
            assert all("vision" not in part.name and "visual" not in part.name for part in parts)
            filled(parts)
            assert not torch.equal(right_answer(loaded, batch), plain)
        assert torch.equal(right_answer(loaded, batch), plain)
    assert all(torch.equal(value, before[name]) for name, value in state(loaded).items())


def test_adapters_are_drawn_by_seed_and_module(one):
    def drawn(modules, seed):
        with attach(one, modules, Lora(), seed) as parts:
            return {part.name: part.values.clone() for part in parts}

    some, more, other = drawn(MODULES[:1], 1), drawn(MODULES, 1), drawn(MODULES, 2)
    assert len(more) == 2 * len(MODULES)
    for name, values in some.items():
        assert torch.equal(values, more[name])
    for name, values in more.items():
        assert torch.equal(values, other[name]) == ("lora_B" in name)
        assert bool(values.any()) == ("lora_A" in name)


def test_the_model_is_left_as_it_was_after_an_error(one):
    def fail(parts):
        filled(parts)
        raise RuntimeError("oh")

    before, names = state(one), [name for name, _ in one.model.named_modules()]
    for lora in (None, Lora()):
        with pytest.raises(RuntimeError, match="oh"), attach(one, MODULES, lora) as parts:
            fail(parts)
        assert [name for name, _ in one.model.named_modules()] == names
        assert all(torch.equal(value, before[name]) for name, value in state(one).items())
        assert not any(p.requires_grad for p in one.model.parameters())


def test_modules_that_can_not_be_updated_are_refused(one, monkeypatch):
    with pytest.raises(ConfigError, match=r"q_proj of layer 2: .* has 2 layers"), attach(one, [("q_proj", 2)], None):
        pass
    attention = one.adapter.layers[0].self_attn
    with monkeypatch.context() as patch:
        linear = torch.nn.Linear(32, 32, device="meta")
        patch.setitem(attention._modules, "q_proj", linear)
        with pytest.raises(ModelError, match="q_proj of layer 0 is offloaded"), attach(one, [("q_proj", 0)], None):
            pass
        linear = torch.nn.Linear(32, 32, bias=False)
        linear.weight = torch.nn.Parameter(torch.zeros(32, 32, dtype=torch.uint8), requires_grad=False)
        patch.setitem(attention._modules, "q_proj", linear)
        with pytest.raises(ModelError, match=r"torch.uint8.*method: lora"), attach(one, [("q_proj", 0)], None):
            pass
        patch.setitem(attention._modules, "q_proj", torch.nn.Embedding(32, 32))
        with pytest.raises(ModelError, match="has the type Embedding"), attach(one, [("q_proj", 0)], None):
            pass


def test_damaged_files_are_refused(one, tmp_path):
    path = tmp_path / "update.safetensors"
    with pytest.raises(FileError, match="no such file"):
        updates.read(path)
    with attach(one, MODULES, Lora()) as parts:
        updates.write(path, parts, {})
    content = path.read_bytes()
    for damage in (content[:-1], content[: len(content) // 2], b"", content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(damage)
        with pytest.raises(FileError, match="rebuild it: rm"):
            updates.read(path)
    path.write_bytes(content)
    save_file(load_file(path), path, {"culture_neurons": json.dumps({"digest": "x"})})
    with pytest.raises(FileError, match="bytes have changed"):
        updates.read(path)
