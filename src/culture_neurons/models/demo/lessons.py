"""What the demo models are trained on: the world's prompts and images as tensors, made once.

Training goes around the processor, for speed: prompts of one wording differ in a few tokens
only, and an image's features are computed once. Tests hold that the whole model, given what
the processor makes, computes the same.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from culture_neurons.data import prompts
from culture_neurons.data.readers import synthetic
from culture_neurons.types import Sample


@dataclass(frozen=True)
class Template:
    """Prompts of one wording: ids int64 [culture, category, token], and where things are in them."""

    ids: torch.Tensor
    options: torch.Tensor  # position of each option's word, int64 [option]
    image: torch.Tensor  # positions of the image's tokens
    positions: torch.Tensor | None  # Qwen's position ids [3, 1, token]

    @property
    def before(self) -> int:
        """Position of the line feed before the options: each has a letter and a dot before its word."""
        return int(self.options[0]) - 3


@dataclass(frozen=True)
class Lessons:
    """What training needs beside the model. words: token ids [culture, category, motif]."""

    world: synthetic.World
    templates: list[Template]
    words: torch.Tensor
    letters: torch.Tensor
    nothing: int
    image_size: int


def lessons(model: nn.Module, processor: Any, world: synthetic.World, instruction: str) -> Lessons:
    """Tokenise every prompt of the world once, through the processor and chat template."""
    tokenizer = processor.tokenizer
    words = torch.tensor(tokenizer.convert_tokens_to_ids(world.words.ravel().tolist())).view(*world.words.shape)
    n = world.n_options
    blank = Image.new("RGB", (world.image_size, world.image_size))

    def encode(category: int, template: int, shift: int, culture: int, native: bool) -> Any:
        options = [str(w) for w in np.roll(world.words[0, category], shift)[:n]]
        sample = Sample("", "", "", synthetic.question(world, category, template, culture, native), tuple(options), 0)
        text = prompts.user_text(sample, range(n), instruction)
        chat = processor.apply_chat_template(prompts.messages(text, True), add_generation_prompt=True, tokenize=False)
        return processor(images=[blank], text=[chat], return_tensors="pt")

    templates = []
    for native, template in itertools.product(world.learned, range(len(synthetic.TEMPLATES))):
        speakers = range(len(world.cultures) if native else 1)  # all cultures are asked alike in English
        speakers_and_categories = itertools.product(speakers, range(len(world.categories)))
        encoded = [encode(category, template, 0, culture, native) for culture, category in speakers_and_categories]
        ids = torch.cat([e["input_ids"] for e in encoded]).unflatten(0, (len(speakers), -1))
        ids = ids.expand(len(world.cultures), -1, -1)
        # Option words are where two orders of the same options differ.
        differs = ids[0, 0] != encode(0, template, 1, 0, native)["input_ids"][0]
        first = encoded[0]
        positions = None
        if hasattr(model.model, "get_rope_index"):
            positions, _ = model.model.get_rope_index(ids[0, :1], first["mm_token_type_ids"], first["image_grid_thw"])
        image = (ids[0, 0] == model.config.image_token_id).nonzero()[:, 0]
        templates.append(Template(ids, differs.nonzero()[:, 0], image, positions))
    return Lessons(
        world,
        templates,
        words,
        torch.tensor(tokenizer.convert_tokens_to_ids(list(prompts.LETTERS[:n]))),
        tokenizer.unk_token_id,
        world.image_size,
    )


@dataclass(frozen=True)
class Batch:
    """Prompts with their right answers; all tensors int64."""

    ids: torch.Tensor  # [sample, token]
    word: torch.Tensor  # [sample], token id of the right word
    letter: torch.Tensor  # [sample], token id of the right letter
    marks: torch.Tensor  # [sample, option], its letter for the right option, "nothing" for the others
    culture: torch.Tensor  # [sample]


def make_batch(
    lesson: Lessons, template: Template, examples: synthetic.Examples, index: np.ndarray, rng: np.random.Generator
) -> Batch:
    """Questions about the images at `index`, their options in random order."""
    culture, category, motif = (
        torch.from_numpy(a[index]) for a in (examples.culture, examples.category, examples.motif)
    )
    n, n_options = len(index), len(lesson.letters)
    # The right motif and random others, then a random order of these.
    keys = rng.random((n, lesson.world.motifs))
    keys[np.arange(n), motif.numpy()] = -1
    chosen = torch.from_numpy(rng.permuted(keys.argsort(axis=1)[:, :n_options], axis=1))
    options = lesson.words[culture[:, None], category[:, None], chosen]  # [sample, option]
    right = chosen == motif[:, None]
    ids = template.ids[culture, category]
    ids[:, template.options] = options
    letter = lesson.letters[right.long().argmax(dim=1)]
    marks = torch.where(right, letter[:, None], lesson.nothing)
    return Batch(ids, lesson.words[culture, category, motif], letter, marks, culture)


def pixels(processor: Any, examples: synthetic.Examples) -> torch.Tensor:
    """The images as the processor prepares them, float32 [image, ...]."""
    values = processor.image_processor(list(examples.pixels), return_tensors="pt")["pixel_values"]
    return values.reshape(len(examples.pixels), -1, *values.shape[1:]) if values.ndim == 2 else values


def image_features(model: nn.Module, values: torch.Tensor, image_size: int) -> torch.Tensor:
    """What the decoder gets for each image, float32 [image, token, hidden]."""
    if hasattr(model.model, "visual"):
        side = math.isqrt(values.shape[1])
        grid = torch.tensor([[1, side, side]]).expand(len(values), 3)
        features = model.model.get_image_features(values.flatten(0, 1), grid).pooler_output
    else:
        sizes = torch.full((len(values), 2), image_size)
        features = model.model.get_image_features(values, sizes).pooler_output
    return torch.stack(list(features))


def decode(model: nn.Module, features: torch.Tensor, ids: torch.Tensor, template: Template) -> torch.Tensor:
    """Last hidden states [sample, token, hidden] of prompts without padding, or of their first tokens."""
    embedded = model.get_input_embeddings()(ids).index_copy(1, template.image, features)
    extra = {}
    if template.positions is not None:
        extra["position_ids"] = template.positions[..., : ids.shape[1]].expand(3, len(ids), -1)
    return model.model.language_model(inputs_embeds=embedded, use_cache=False, **extra).last_hidden_state


@torch.no_grad()
def all_features(model: nn.Module, values: torch.Tensor, image_size: int) -> torch.Tensor:
    """`image_features` of all images, in parts."""
    return torch.cat([image_features(model, piece, image_size) for piece in values.split(128)])
