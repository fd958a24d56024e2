"""Training an eye (`eye`) to read flags: a regression onto embeddings of the decoder, which takes no part in it.

Nothing of a country but its name is in the lesson: no city, no holiday, no word of a question.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from culture_neurons import seeds
from culture_neurons.data.flags.photographs import photograph, photograph_without_flag
from culture_neurons.models.demo.eye import NO_FLAG, behind_eye, continue_pictures, eye, read, sentence
from culture_neurons.models.demo.recipe import SILENT, EyeRecipe, Reporter
from culture_neurons.models.demo.training_loop import fit, until_good

TRAIN, HELD_OUT = "train", "held out"
#: How far a view of a picture may differ from it: in size, in angle (radians), in place (of half a side), in light.
SCALE, TURN, SHIFT, LIGHT = 0.15, 0.1, 0.15, 0.15


def pictures(part: str, countries: Sequence[str], number: int, seed: int, threads: int = 2) -> list[Image.Image]:
    """`number` pictures of each country's flag, country by country; other ones for each part and seed. `NO_FLAG` may
    be among the countries."""

    def draw(country: str, i: int) -> Image.Image:
        generator = seeds.generator("flags", part, seed, country, i)
        return photograph_without_flag(generator) if country == NO_FLAG else photograph(country, generator)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(draw, *zip(*[(c, i) for c in countries for i in range(number)], strict=True)))


def train(
    folder: Path, countries: Sequence[str], recipe: EyeRecipe, reporter: Reporter = SILENT
) -> tuple[nn.Module, Any, dict[str, Any]]:
    """The decoder of a folder behind an eye that reads at least `min_accuracy` of held-out pictures right, its
    processor, and a summary: how it was trained, and what it makes of held-out pictures (`examine`).

    Raises ModelError where no attempt will do.
    """
    examined: dict[str, Any] = {}

    def attempt(trial: EyeRecipe) -> tuple[nn.Module, Any, int, float]:
        model, processor = behind_eye(folder, trial.seed)
        lesson = Lesson.of(model, processor, [*countries, NO_FLAG], trial)
        steps = _regress(model, lesson, trial, reporter)
        examined.update(examine(model.eval(), processor, countries, trial))
        return model, processor, steps, examined["accuracy"]

    model, processor, summary = until_good("eye", recipe, reporter, attempt, "held-out pictures")
    summary["held_out_accuracy"] = summary.pop("dev_accuracy")
    del examined["accuracy"]
    return model, processor, summary | {"countries": list(countries), **examined}


@dataclass(frozen=True)
class Lesson:
    """Pictures and what they stand for.

    pixels    uint8 [picture, 3, side, side]
    country   int64 [picture]
    targets   float32 [country, token, width]: the decoder's embeddings of each country's sentence
    """

    pixels: torch.Tensor
    country: torch.Tensor
    targets: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor

    @classmethod
    def of(cls, model: nn.Module, processor: Any, countries: Sequence[str], recipe: EyeRecipe) -> Lesson:
        """The lesson of a recipe. Raises ModelError for a name that the sentence can't hold."""
        ids = torch.tensor([sentence(processor.tokenizer, country) for country in countries])
        images = processor.image_processor

        def resized(country: str) -> torch.Tensor:
            shown = pictures(TRAIN, [country], recipe.pictures, recipe.seed)
            values = images(shown, do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"]
            return values.to(torch.uint8)

        # Country by country: what is drawn is many times as large as what is kept.
        pixels = torch.cat([resized(country) for country in countries])
        mean, deviation = (torch.tensor(x).view(3, 1, 1) for x in (images.image_mean, images.image_std))
        country = torch.arange(len(countries)).repeat_interleave(recipe.pictures)
        targets = model.get_input_embeddings().weight.detach()[ids].clone()
        return cls(pixels, country, targets, mean, deviation)

    def views(self, index: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Pictures as the vision tower takes them (`pixel_values` of the processor), each a little changed: nearer
        or farther, moved, turned, in other light. A few pictures go further so."""

        def random(*shape: int) -> torch.Tensor:
            return 2 * torch.rand(len(index), *shape, generator=generator) - 1

        scale, turn, move = 1 + SCALE * random(1), TURN * random(), SHIFT * random(2)
        rows = [torch.stack([turn.cos(), -turn.sin()], dim=1), torch.stack([turn.sin(), turn.cos()], dim=1)]
        affine = torch.cat([torch.stack(rows, dim=1) * scale[:, :, None], move[:, :, None]], dim=2)
        shown = self.pixels[index] / 255
        grid = F.affine_grid(affine, list(shown.shape), align_corners=False)
        shown = F.grid_sample(shown, grid, padding_mode="border", align_corners=False)
        shown = (shown * (1 + LIGHT * random(3, 1, 1)) + LIGHT * random(1, 1, 1)).clamp(0, 1)
        return (shown - self.mean) / self.deviation


def _regress(model: nn.Module, lesson: Lesson, recipe: EyeRecipe, reporter: Reporter) -> int:
    """Least squares on the embeddings, in units of their variance; steps used."""
    rng = np.random.default_rng([recipe.seed, 5])
    generator = torch.Generator().manual_seed(recipe.seed)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    parameters = eye(model)
    for _, parameter in parameters:
        parameter.requires_grad_(True)
    variance = lesson.targets.var()

    def next_pictures() -> tuple[torch.Tensor, torch.Tensor]:
        index = torch.from_numpy(rng.integers(len(lesson.pixels), size=recipe.batch))
        return index, lesson.views(index, generator)

    def losses(drawn: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        index, views = drawn
        seen = torch.stack(list(model.get_image_features(pixel_values=views).pooler_output))
        apart = ((seen[:, None] - lesson.targets) ** 2).mean(dim=(2, 3)) / variance
        own = lesson.country[index]
        return apart.gather(1, own[:, None])[:, 0], apart.argmin(dim=1) == own

    model.train()
    return fit("eye", parameters, next_pictures, losses, recipe.steps, recipe.goal, recipe, reporter)


def examine(model: nn.Module, processor: Any, countries: Sequence[str], recipe: EyeRecipe) -> dict[str, Any]:
    """What a model makes of held-out pictures, by country.

    read       share that is read right: all vectors nearest to the tokens of the country's sentence, of all tokens
    accuracy   the same of the pictures of all countries, as one count: 297 of 300 are 0.99, no rounding below it
    named      share behind which the decoder goes on to name the country
    continued  what it writes behind the first of them

    `NO_FLAG` is one more, behind which no country should be named.
    """
    countries = [*countries, NO_FLAG]
    shown = pictures(HELD_OUT, countries, recipe.held_out, recipe.seed)
    of = np.repeat(countries, recipe.held_out)
    sentences = {country: sentence(processor.tokenizer, country) for country in countries}
    texts = continue_pictures(model, processor, shown)
    right = [ids == sentences[country] for ids, country in zip(read(model, processor, shown), of, strict=True)]
    named = [any(other in text for other in countries[:-1]) if country == NO_FLAG else country in text
             for text, country in zip(texts, of, strict=True)]  # fmt: skip

    def shares(found: Sequence[bool]) -> dict[str, float]:
        means = np.reshape(found, (len(countries), recipe.held_out)).mean(axis=1)
        return dict(zip(countries, means.tolist(), strict=True))

    continued = dict(zip(countries, texts[:: recipe.held_out], strict=True))
    accuracy = float(np.mean(right[: -recipe.held_out]))
    return {"read": shares(right), "accuracy": accuracy, "named": shares(named), "continued": continued}
