"""Image features computed once: for every pass over a batch, and for questions about the same image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

#: What models hand over beside the features of images: repeated (the first two), or read by none.
_KNOWN = {"pooler_output", "deepstack_features", "last_hidden_state", "hidden_states", "attentions"}


@contextmanager
def keep_image_features(model: nn.Module, image_of: Sequence[int] = ()) -> Iterator[None]:
    """Inside, the model computes the features of the same image tensor once; outside, it is as it was.

    `image_of` gives, per image of the batch, the index of the first image that shows the same (`Batch.image_of`):
    the vision tower then sees each image once. A model whose inputs or features can't be told apart by image sees all
    of them, as does one without `get_image_features` whose tower is kept instead (Mllama, for its cross-attention). A
    language model is left alone.
    """
    owner: Any = getattr(model, "model", model)
    name = "get_image_features"
    if not hasattr(owner, name):
        owner, name, image_of = getattr(owner, "vision_model", None), "forward", ()
    compute = getattr(owner, name, None)
    if compute is None:
        yield
        return
    own = vars(owner).get(name)  # accelerate puts a forward of its own there
    last: tuple[Any, Any] = (None, None)

    def once(pixel_values: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal last
        if last[0] is not pixel_values:
            last = pixel_values, _without_repeats(compute, image_of, pixel_values, *args, **kwargs)
        return last[1]

    setattr(owner, name, once)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def _without_repeats(compute: Any, image_of: Sequence[int], pixel_values: Any, *args: Any, **kwargs: Any) -> Any:
    """`compute` on the distinct images, its features handed to every image that shows the same."""
    distinct = sorted(set(image_of))
    rows = _rows_per_image(len(image_of), pixel_values, args, kwargs) if len(distinct) < len(image_of) else None
    if rows is None:
        return compute(pixel_values, *args, **kwargs)
    parts = pixel_values.split(rows)
    at = torch.tensor(distinct, device=pixel_values.device)

    def chosen(value: Any) -> Any:
        """Sizes and grids have one row per image too."""
        is_per_image = isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == len(image_of)
        return value[at.to(value.device)] if is_per_image else value

    output = compute(
        torch.cat([parts[i] for i in distinct]),
        *map(chosen, args),
        **{key: chosen(value) for key, value in kwargs.items()},
    )
    # Features of all images may be one row of tokens, or lie in another way: then nothing is told apart here.
    if not _is_known(output) or len(output.pooler_output) != len(distinct):
        return compute(pixel_values, *args, **kwargs)
    at_image = [distinct.index(i) for i in image_of]
    features = _repeat_features(output.pooler_output, at_image)
    if features is None:
        return compute(pixel_values, *args, **kwargs)
    # Features of inner layers of the tower (DeepStack) lie as those of its last one: all images in one row of tokens.
    inner = getattr(output, "deepstack_features", None)
    if inner is not None:
        sizes = [len(of_image) for of_image in output.pooler_output]
        output.deepstack_features = [torch.cat(_repeat_features(layer.split(sizes), at_image)) for layer in inner]
    output.pooler_output = features
    return output


def _is_known(output: Any) -> bool:
    """Whether an output says nothing of images but what is repeated here, or what no model reads of it."""
    values = output if isinstance(output, Mapping) else vars(output) if hasattr(output, "__dict__") else {}
    return "pooler_output" in values and {key for key, value in values.items() if value is not None} <= _KNOWN


def _repeat_features(features: Any, at_image: Sequence[int]) -> Any:
    """The features of each image in turn, in the form in which they came: one tensor, or one for each image."""
    if isinstance(features, torch.Tensor):
        return features[torch.tensor(at_image, device=features.device)]
    return type(features)(features[i] for i in at_image) if isinstance(features, list | tuple) else None


def _rows_per_image(n_images: int, pixel_values: torch.Tensor, args: Any, kwargs: Any) -> list[int] | None:
    """How many rows of `pixel_values` each image takes; None where this does not know."""
    if pixel_values.shape[0] == n_images:
        return [1] * n_images
    tables = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
    for table in tables:  # Qwen: patches of all images in one row after the other, and their grid (time, height, width)
        rows = table.prod(dim=-1).tolist() if table.shape == (n_images, 3) else []
        if sum(rows) == pixel_values.shape[0]:
            return rows
    return None
