import pytest
import torch

from culture_neurons.errors import ModelError
from culture_neurons.models.forward import forward, logits_at
from culture_neurons.models.readings import Positions
from tests.models import families


@pytest.mark.parametrize("name", ["Llama", "Gemma2", "Cohere2", "Qwen2_5_VL"])
def test_logits_at_places_are_those_of_a_whole_pass(name):
    loaded = families.in_dtype(families.load(name), torch.float64)
    inputs = families.batch(loaded, images=False).inputs
    whole = forward(loaded, inputs, keep=3).logits[:, -3:]
    places = torch.tensor([[0, 0, 2, 1], [1, 3, 2, 1]])
    result = logits_at(loaded, inputs, Positions(3, places))
    assert result.shape == (1, 4, whole.shape[-1])
    torch.testing.assert_close(result[0], whole[places[0], 3 - places[1]], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logits_at(loaded, inputs), whole[:, -1:], rtol=1e-9, atol=1e-9)


def test_the_head_is_given_nothing_but_the_places():
    loaded = families.load("Llama")
    inputs = families.batch(loaded, images=False).inputs
    shapes = []
    head = loaded.model.get_output_embeddings()
    with head.register_forward_hook(lambda module, args, output: shapes.append(output.shape[:2])):
        logits_at(loaded, inputs, Positions(4, torch.tensor([[0, 1], [4, 1]])))
    assert shapes == [(1, 2)]


def test_a_head_that_is_not_called_as_a_module_is_an_error(monkeypatch):
    loaded = families.load("Llama")
    monkeypatch.setattr(loaded.model, "get_output_embeddings", lambda: None)
    inputs = families.batch(loaded, images=False).inputs
    with pytest.raises(ModelError, match="its head ran 0 times; expected once"):
        logits_at(loaded, inputs, Positions(1, torch.tensor([[0], [1]])))
