"""What a model reads in one row does not depend on the images of others."""

import pytest
import torch

from culture_neurons.models.independent_rows import separate_rows
from tests.families import building

# Transformers warns of its own.
pytestmark = pytest.mark.filterwarnings("ignore")
#: An image of 4 x 4 patches: begin, 2 rows of 2 tokens and a line feed each, end. Two texts before and one behind it.
IMAGE = [0, 0] + [1] * 8 + [0]
TEXT = [0] * len(IMAGE)
GRID = [1, 4, 4]


@pytest.fixture(scope="module")
def model():
    return building.model("hunyuan_vl")


def positions(model, rows, padding=0):
    """Positions of rows of kinds of tokens, int64 [axis, row, token], as the model's own method gives them now."""
    kinds = torch.tensor([[0] * padding + row for row in rows])
    mask = torch.ones_like(kinds)
    mask[:, :padding] = 0
    grids = [GRID for row in rows if 1 in row]
    return model.model.get_rope_index(
        torch.full_like(kinds, 60), mm_token_type_ids=kinds, attention_mask=mask,
        image_grid_thw=torch.tensor(grids) if grids else None,
    )  # fmt: skip


def test_an_image_has_the_number_of_its_row_and_not_of_the_batch(model, monkeypatch):
    rows = [IMAGE, TEXT, IMAGE, IMAGE]
    alone = [positions(model, [row]) for row in rows]
    assert not torch.equal(positions(model, rows)[0][:, 2:3], alone[2][0])  # what the model's method gives
    monkeypatch.setattr(model.model, "get_rope_index", model.model.get_rope_index)
    separate_rows(model)
    together, ahead = positions(model, rows)
    torch.testing.assert_close(together, torch.cat([of_row for of_row, _ in alone], dim=1))
    torch.testing.assert_close(ahead, torch.cat([of_row for _, of_row in alone]))
    padded = positions(model, rows, padding=3)[0]
    torch.testing.assert_close(padded[..., 3:], together)
    assert positions(model, [TEXT, TEXT])[0].tolist() == [[list(range(len(TEXT)))] * 2] * 4


def test_an_image_without_padding_is_read_in_both_directions_as_beside_one_with_padding():
    phi = building.model("phi4_multimodal")
    separate_rows(phi)
    tower = phi.model.embed_tokens_extend.image_embed.img_processor
    pixels = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 32, 32, dtype=torch.bool)
    alone = tower(pixels[:1], patch_attention_mask=mask[:1]).last_hidden_state
    mask[1, :, 20:] = False
    together = tower(pixels, patch_attention_mask=mask).last_hidden_state
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-4)


def test_other_models_keep_their_own_method():
    other = building.model("qwen2_vl")
    separate_rows(other)
    assert "get_rope_index" not in vars(other.model)
