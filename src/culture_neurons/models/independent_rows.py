"""Models of transformers in which an answer depends on the images of other rows of its batch, mended after loading.

- HunYuan-VL gives each image a position by its number (`get_rope_index`, the axis `image_index`): that in its sequence,
  says its docstring; its code goes on counting from row to row.
- Phi-4-multimodal's vision tower attends in both directions, by a mask that is None where no image of the batch has
  padding; its attention is marked as causal, and that counts where there is no mask.
"""

from __future__ import annotations

from functools import wraps

import torch
from torch import nn


def separate_rows(model: nn.Module) -> None:
    """Mend such a model; others are left as they are."""
    model_type = getattr(model.config, "model_type", "")
    if model_type == "hunyuan_vl":
        _count_by_row(model.model)
    elif model_type == "phi4_multimodal":
        for module in model.modules():
            if type(module).__name__ == "Phi4MultimodalVisionAttention":
                module.is_causal = False


def _count_by_row(owner: nn.Module) -> None:
    """Let `get_rope_index` compute the positions of a batch row by row, by the model's own method."""
    compute = owner.get_rope_index

    @wraps(compute)
    def row_by_row(
        input_ids: torch.Tensor,
        mm_token_type_ids: torch.Tensor,
        image_grid_thw: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """int64 [axis, row, token], and how far what follows is ahead of its number, [row, 1]."""
        rows, first = [], 0
        for i, kinds in enumerate(mm_token_type_ids):
            mask = None if attention_mask is None else attention_mask[i : i + 1]
            images = _spans(kinds if mask is None else kinds[mask[0].bool()])
            grids = image_grid_thw[first : first + images] if images else None
            first += images
            rows.append(compute(input_ids[i : i + 1], kinds[None], image_grid_thw=grids, attention_mask=mask))
        positions, ahead = zip(*rows, strict=True)
        return torch.cat(positions, dim=1), torch.cat(ahead)

    owner.get_rope_index = row_by_row


def _spans(kinds: torch.Tensor) -> int:
    """How many runs of image tokens (kind 1) a row [token] has."""
    image = kinds == 1
    return int(image[:1].sum()) + int((image[1:] & ~image[:-1]).sum())
