"""The positive control: a demo model whose culture neurons are known by construction.

Every culture gets a block of gate channels in every layer, at random places. The model is
trained further with random parts of blocks zeroed (g <- 0, as the ablation does): without its
own culture's block it has to spread its answer evenly over the options, without another
culture's block it has to answer as before. A second loss makes a block fire (g > 0) on its
culture's questions and stay silent on all others.

Without that firing loss (`firing_loss: false`, which takes about 700 `plant_steps`) the blocks
carry the knowledge all the same, but only a few neurons of each do the work, and these fire for
other cultures too, only less strongly: what counts g > 0 hardly sees them (docs/selectors.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from culture_neurons.data import prompts
from culture_neurons.data.readers import synthetic
from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models.demo import lessons as taught
from culture_neurons.models.demo import training, training_loop
from culture_neurons.models.demo.lessons import Lessons, Template
from culture_neurons.models.demo.recipe import SILENT, Recipe, Reporter

#: Own gates should lie above this before the activation, the other cultures' below its negative.
_MARGIN = 1.0


def choose(cultures: int, layers: int, neurons: int, channels: int, seed: int) -> np.ndarray:
    """Places of the blocks: int64 [culture, layer, channel], no neuron twice, sorted within a block.

    Raises ConfigError when the blocks would take more than half of a layer.
    """
    if not 1 <= channels * cultures <= neurons // 2:
        raise ConfigError(
            f"training: plant_channels is {channels}; {cultures} cultures in layers of {neurons} neurons"
            f" have room for 1 to {neurons // 2 // cultures}"
        )
    rng = np.random.default_rng([seed, 11])
    places = [rng.permutation(neurons)[: cultures * channels].reshape(cultures, channels) for _ in range(layers)]
    return np.sort(np.stack(places, axis=1), axis=2)


def table(blocks: np.ndarray, cultures: tuple[str, ...], drops: np.ndarray) -> pd.DataFrame:
    """The planted neurons: culture, site, layer, neuron, sorted; and what each does alone, see `lone_drops`."""
    rows = [
        (name, "act_fn", layer, int(neuron), float(drops[c, layer, i]))
        for name, c in sorted((name, c) for c, name in enumerate(cultures))
        for layer, neurons in enumerate(blocks[c])
        for i, neuron in enumerate(neurons)
    ]
    return pd.DataFrame(rows, columns=["culture", "site", "layer", "neuron", "logprob_drop"])


@contextmanager
def gates(model: nn.Module, keep: torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """Multiply g by keep [sample, layer, neuron]; gives the list of gates before the activation, per layer."""
    seen: list[torch.Tensor] = []

    def hook(layer: int):
        def multiply(_: nn.Module, inputs: tuple[torch.Tensor, ...], g: torch.Tensor) -> torch.Tensor:
            seen.append(inputs[0])
            return g * keep[:, layer, None]

        return multiply

    layers = model.model.language_model.layers
    with ExitStack() as hooks:
        for i, layer in enumerate(layers):
            hooks.enter_context(layer.mlp.act_fn.register_forward_hook(hook(i)))
        yield seen


def random_part(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Which channels of a block [layer, channel] to zero: bool, all of them or a random part."""
    layers, channels = shape
    if rng.random() < 0.3:
        return np.ones(shape, dtype=bool)
    # A part is scattered over the layers, or fills layer after layer: selectors prefer either.
    if rng.random() < 0.5:
        order = rng.permutation(layers * channels).reshape(shape)
    else:
        order = rng.permutation(layers)[:, None] * channels + np.arange(channels)
    return order < np.ceil(rng.uniform(0.3, 0.8) * layers * channels)


def masks(blocks: np.ndarray, which: np.ndarray, neurons: int, rng: np.random.Generator | None) -> torch.Tensor:
    """keep [sample, layer, neuron] that zeroes (a random part of) culture `which`'s block; -1: nothing."""
    keep = torch.ones(len(which), blocks.shape[1], neurons)
    for i, culture in enumerate(which):
        if culture >= 0:
            part = random_part(blocks.shape[1:], rng) if rng else np.ones(blocks.shape[1:], dtype=bool)
            keep[i, np.nonzero(part)[0], blocks[culture][part]] = 0
    return keep


def firing_loss(seen: list[torch.Tensor], blocks: torch.Tensor, culture: torch.Tensor, start: int) -> torch.Tensor:
    """Hinge losses per layer: own gates above the margin after the image, others' below its negative anywhere."""
    n_cultures = len(blocks)
    own = F.one_hot(culture, n_cultures).bool()  # [sample, culture]
    total = torch.zeros(())
    for layer, gate in enumerate(seen):
        block = gate[..., blocks[:, layer].flatten()].unflatten(-1, (n_cultures, -1))  # [sample, token, culture, n]
        block = block.transpose(1, 2)  # [sample, culture, token, n]
        total = total + F.relu(_MARGIN - block[own][:, start:]).mean() + F.relu(_MARGIN + block[~own]).mean()
    return total / len(seen)


def even_loss(model: nn.Module, states: torch.Tensor, lesson: Lessons, template: Template) -> torch.Tensor:
    """Cross-entropy of an even spread over the options, at all positions after them; [sample]."""
    after = model.lm_head(states[:, int(template.options[-1]) + 2 :]).log_softmax(dim=-1)
    spread = -after[..., lesson.letters].mean(dim=-1)  # [sample, token]
    return spread.mean(dim=1) + spread[:, -1]


def plant(
    model: nn.Module,
    processor: Any,
    world: synthetic.World,
    recipe: Recipe,
    instruction: str = prompts.INSTRUCTION,
    prompt_seed: int = 0,
    reporter: Reporter = SILENT,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Plant culture neurons in a trained demo model, in place: the table of them, and a summary.

    The summary has the dev accuracy as it is, with the own block zeroed, and with another culture's.
    Raises ModelError when the first misses `min_accuracy`, or zeroing doesn't do what it should.
    """
    with training_loop.one_thread():
        config = model.config.text_config
        neurons = config.intermediate_size
        blocks = choose(len(world.cultures), config.num_hidden_layers, neurons, recipe.plant_channels, recipe.seed)
        lesson = taught.lessons(model, processor, world, instruction)
        examples = synthetic.make_examples(world, "train", recipe.images_per_fact)
        features = taught.all_features(model, taught.pixels(processor, examples), world.image_size)
        training.freeze_vision(model)
        model.train()
        _continue(model, features, examples, lesson, blocks, neurons, recipe, reporter)
        model.eval()
        accuracy = training.dev_accuracy(model, processor, world, recipe, instruction, prompt_seed)
        dev = dev_questions(model, processor, lesson, recipe)
        own, cross = ablated_accuracy(model, lesson, dev, blocks, neurons)
        drops = lone_drops(model, lesson, dev, blocks, neurons)
    line = f"{100 * accuracy:.1f} % right, {100 * own:.1f} % without the own block, {100 * cross:.1f} % without another"
    reporter.log(f"planted: of the dev questions {line}")
    chance = 1 / len(lesson.letters)
    if accuracy < recipe.min_accuracy or own > accuracy - 0.3 * (1 - chance) or cross < accuracy - 0.1:
        raise ModelError(
            f"planting culture neurons failed: {line};"
            f" expected at least {100 * recipe.min_accuracy:.1f} %, a clear loss, and none. Raise plant_steps"
        )
    summary = {
        "planted": True,
        "plant_steps": recipe.plant_steps,
        "plant_seed": recipe.seed,
        "dev_accuracy": accuracy,
        "dev_accuracy_without_own_block": own,
        "dev_accuracy_without_another_block": cross,
    }
    return table(blocks, world.cultures, drops), summary


def _continue(model: nn.Module, features: torch.Tensor, examples: synthetic.Examples, lesson: Lessons,
              blocks: np.ndarray, neurons: int, recipe: Recipe, reporter: Reporter) -> None:  # fmt: skip
    """The training itself: a quarter of each batch whole, the rest without own or without other blocks."""
    rng = np.random.default_rng([recipe.seed, 12])
    places = torch.from_numpy(blocks)
    optimiser = training_loop.Optimiser(model.named_parameters(), recipe)
    n_cultures, size = len(blocks), 2 * recipe.batch
    mode = np.arange(size) * 8 // size  # 0, 1: whole; 2-4: without the own block; 5-7: without another
    with_own, without_own = torch.from_numpy((mode < 2) | (mode > 4)), torch.from_numpy((mode >= 2) & (mode <= 4))
    right: list[float] = []
    steps = training_loop.schedule(recipe.plant_steps, goal=2.0, rest=max(1, recipe.plant_steps // 3))
    for step, factor, _ in reporter.progress(steps, recipe.plant_steps, "planting"):
        template = lesson.templates[step % len(lesson.templates)]
        index = rng.integers(len(features), size=size)
        batch = taught.make_batch(lesson, template, examples, index, rng)
        culture = batch.culture.numpy()
        other = (culture + rng.integers(1, n_cultures, size=size)) % n_cultures
        which = np.where(mode < 2, -1, np.where(mode <= 4, culture, other))
        with gates(model, masks(blocks, which, neurons, rng)) as seen:
            states = taught.decode(model, features[index], batch.ids, template)
        losses, hits = training.answer_losses(model, states, batch, template)
        loss = losses[with_own].mean() + even_loss(model, states[without_own], lesson, template).mean()
        if recipe.firing_loss:
            loss = loss + firing_loss(seen, places, batch.culture, int(template.image[-1]) + 1)
        optimiser.step(loss, factor)
        right.append(hits[with_own].float().mean().item())
    reporter.log(f"planting: {len(right)} steps, {100 * np.mean(right[-20:]):.1f} % right")


@torch.no_grad()
def dev_questions(
    model: nn.Module, processor: Any, lesson: Lessons, recipe: Recipe
) -> tuple[torch.Tensor, taught.Batch]:
    """Image features of the dev pictures, and a question about each, all in the first template."""
    examples = synthetic.make_examples(lesson.world, "dev", recipe.dev_images_per_fact)
    features = taught.all_features(model, taught.pixels(processor, examples), lesson.image_size)
    rng = np.random.default_rng([recipe.seed, 13])
    return features, taught.make_batch(lesson, lesson.templates[0], examples, np.arange(len(features)), rng)


@torch.no_grad()
def ablated_accuracy(model: nn.Module, lesson: Lessons, dev: tuple[torch.Tensor, taught.Batch], blocks: np.ndarray,
                     neurons: int) -> tuple[float, float]:  # fmt: skip
    """Accuracy on dev questions with the whole own block zeroed, and with the next culture's."""
    features, batch = dev
    result = []
    for shift in (0, 1):
        keep = masks(blocks, (batch.culture.numpy() + shift) % len(blocks), neurons, None)
        with gates(model, keep):
            states = taught.decode(model, features, batch.ids, lesson.templates[0])
        result.append((model.lm_head(states[:, -1]).argmax(dim=1) == batch.letter).float().mean().item())
    return result[0], result[1]


@torch.no_grad()
def lone_drops(model: nn.Module, lesson: Lessons, dev: tuple[torch.Tensor, taught.Batch], blocks: np.ndarray,
               neurons: int) -> np.ndarray:  # fmt: skip
    """What each planted neuron does alone, float64 [culture, layer, channel]: with it zeroed and no other, the change
    of the right option's log-probability (normalised over the options, nats), mean over its culture's dev questions."""
    features, batch = dev
    result = np.empty(blocks.shape)
    for culture, block in enumerate(blocks):
        own = (batch.culture == culture).nonzero()[:, 0]
        right = (batch.letter[own, None] == lesson.letters).long().argmax(dim=1)
        keep = torch.ones(1 + block.size, block.shape[0], neurons)  # the first: all neurons
        keep[torch.arange(1, len(keep)), np.repeat(np.arange(len(block)), block.shape[1]), block.ravel()] = 0
        times = len(keep)
        with gates(model, keep.repeat_interleave(len(own), dim=0)):
            states = taught.decode(model, features[own].repeat(times, 1, 1), batch.ids[own].repeat(times, 1),
                                   lesson.templates[0])  # fmt: skip
        logprobs = model.lm_head(states[:, -1])[:, lesson.letters].double().log_softmax(dim=1)
        logprob_means = logprobs.gather(1, right.repeat(times)[:, None]).view(times, len(own)).mean(dim=1)
        result[culture] = (logprob_means[1:] - logprob_means[0]).numpy().reshape(block.shape)
    return result
