"""Calling a processor: images in the form that it takes, and the texts that it hands to its tokenizer.

Some processors take the images of a batch in one list, others want a list for each prompt; some refuse prompts without
an image, or garble them beside one that has an image (PaliGemma's). Which is found by trying, once per processor: with
two equal prompts and images, and with a prompt of each kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from PIL import Image

from culture_neurons.errors import ModelError
from culture_neurons.files import first_line
from culture_neurons.models.loading import Loaded

#: What processors return beside inputs of the model: PaliGemma's labels would be taken for training.
_NO_INPUTS = ("labels",)
#: Which tokens are text (0), image (1) and video (2); models with positions of three axes need them.
_KINDS = "mm_token_type_ids"


@dataclass(frozen=True)
class Takes:
    """What a processor takes.

    nested    a list of images for each prompt, in place of one list of all
    mixed     prompts with an image and without in one call
    text      prompts without an image; else they go to its tokenizer
    refusal   why it takes no image at all; "" where it takes one
    """

    nested: bool = False
    mixed: bool = True
    text: bool = True
    refusal: str = ""


_TAKES: WeakKeyDictionary[Any, Takes] = WeakKeyDictionary()


class _Listening:
    """A tokenizer that notes the texts that it is given."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.texts: list[str] = []

    def __call__(self, text: Any = None, **more: Any) -> Any:
        self.texts = [text] if isinstance(text, str) else list(text)
        return self._tokenizer(text, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)


def call_processor(
    loaded: Loaded, texts: Sequence[str], images: Sequence[Image.Image | None], **arguments: Any
) -> tuple[dict[str, Any], list[str]]:
    """What the processor makes of a batch, and the texts as the tokenizer read them, with images written out; ""
    where that can't be told.

    texts      prompts as the chat template writes them
    images     of each prompt, None where it has none
    arguments  of the processor: padding, offsets ...

    Raises what the processor raises.
    """
    if loaded.processor is loaded.tokenizer:
        return dict(loaded.tokenizer(list(texts), **arguments)), list(texts)
    takes = takes_of(loaded)
    kinds = [[i for i, image in enumerate(images) if (image is None) == bare] for bare in (False, True)]
    if takes.mixed or not all(kinds):
        return _call(loaded, takes, texts, images, **arguments)
    parts = [_call(loaded, takes, [texts[i] for i in of], [images[i] for i in of], **arguments) for of in kinds]
    read = [""] * len(texts)
    for of, (_, texts_of) in zip(kinds, parts, strict=True):
        for i, text in zip(of, texts_of, strict=True):
            read[i] = text
    return _merged([inputs for inputs, _ in parts], kinds, loaded.tokenizer.pad_token_id), read


def takes_of(loaded: Loaded) -> Takes:
    """What the processor of a model that sees images takes; found by trying, once."""
    processor = loaded.processor
    if processor not in _TAKES:
        _TAKES[processor] = _tried(loaded)
    return _TAKES[processor]


def _tried(loaded: Loaded) -> Takes:
    image = Image.new("RGB", (56, 56), (120, 120, 120))
    try:
        shown, bare = loaded.render("?", with_image=True), loaded.render("?", with_image=False)
    except ModelError:
        return Takes()

    def ids(takes: Takes, texts: Sequence[str], images: Sequence[Image.Image | None]) -> list[list[int]]:
        """The tokens of each prompt."""
        inputs, _ = _call(loaded, takes, texts, images, padding=True, return_tensors="pt")
        valid = inputs["attention_mask"].bool()
        return [row[own].tolist() for row, own in zip(inputs["input_ids"], valid, strict=True)]

    def gives(expected: list[list[int]], *arguments: Any) -> bool:
        try:
            return ids(*arguments) == expected
        except MemoryError:
            raise
        except Exception:
            return False

    try:
        alone = ids(Takes(), [shown], [image])
    except MemoryError:
        raise
    except Exception as error:  # processors raise what they like
        return Takes(refusal=first_line(error) or type(error).__name__)
    forms = [Takes(nested=nested) for nested in (False, True)]
    form = next((form for form in forms if gives(alone * 2, form, [shown] * 2, [image] * 2)), Takes())
    try:
        of_text = ids(form, [bare], [None])
    except Exception:
        return Takes(form.nested, mixed=False, text=False)
    mixed = gives([*alone, *of_text, *alone], form, [shown, bare, shown], [image, None, image])
    return Takes(form.nested, mixed)


def _call(
    loaded: Loaded, takes: Takes, texts: Sequence[str], images: Sequence[Image.Image | None], **arguments: Any
) -> tuple[dict[str, Any], list[str]]:
    """One call of the processor, with prompts of one kind or mixed."""
    processor, shown = loaded.processor, [image for image in images if image is not None]
    if not shown and not takes.text:
        kinds = {"return_token_type_ids": True}
        return dict(loaded.tokenizer(list(texts), **arguments, **kinds)), list(texts)
    if shown:
        nested = [[] if image is None else [image] for image in images]
        arguments = {**arguments, "images": nested if takes.nested else shown}
    if _KINDS in getattr(processor, "model_input_names", ()):  # Cosmos 3's gives them only where they are asked for
        arguments["return_" + _KINDS] = True
    own = copy(processor)  # other threads read the processor meanwhile
    own.tokenizer = _Listening(processor.tokenizer)
    inputs = {name: values for name, values in own(text=list(texts), **arguments).items() if name not in _NO_INPUTS}
    for name, values in inputs.items():
        if not isinstance(values, torch.Tensor):  # Fuyu's patches of images of different sizes
            raise TypeError(f"it gives {name} as a {type(values).__name__}, and not as one tensor")
    if (rows := len(inputs["input_ids"])) != len(texts):  # ShieldGemma 2's asks about each of its policies
        raise TypeError(f"it makes {rows} prompts of {len(texts)}")
    read = own.tokenizer.texts
    if len(read) != len(texts):  # it tokenises in a way of its own
        read = [""] * len(texts)
    return inputs, read


def _merged(parts: Sequence[Mapping[str, Any]], rows: Sequence[Sequence[int]], padding: int) -> dict[str, Any]:
    """The inputs of parts of a batch as those of one, padded on the left; what is not said token by token belongs to
    images, and stays in their order.

    rows  which rows of the batch each part has
    """
    width = max(part["input_ids"].shape[1] for part in parts)
    n = sum(map(len, rows))
    result: dict[str, Any] = {}
    for part, of in zip(parts, rows, strict=True):
        shape = part["input_ids"].shape
        for name, values in part.items():
            if values.shape[:2] != shape:
                result[name] = values
                continue
            if name not in result:
                fill = padding if name == "input_ids" else 0
                result[name] = torch.full((n, width, *values.shape[2:]), fill, dtype=values.dtype)
            result[name][list(of), width - shape[1] :] = values
    return result
