"""Training the tiny demo models on the synthetic world.

Three stages, each on top of the last, as the large models were made in stages too:
1. vision: the vision tower learns to tell cultures and motifs apart, through two linear
   heads that are thrown away; then it is frozen and its features are computed once;
2. facts: the decoder learns the word of (culture, category, motif) at the line feed before
   the options, from the first part of the prompt alone;
3. answers: whole prompts. Beside the answer's letter, a training-only loss asks at each
   option's word for its letter if it is the right one, and for nothing (`<unk>`) if not;
   without it the model stays at chance for long.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from culture_neurons.data import prompts
from culture_neurons.data.readers import synthetic
from culture_neurons.models.demo import architectures
from culture_neurons.models.demo.lessons import (
    Batch,
    Lessons,
    Template,
    all_features,
    decode,
    image_features,
    lessons,
    make_batch,
    pixels,
)
from culture_neurons.models.demo.recipe import SILENT, Recipe, Reporter
from culture_neurons.models.demo.training_loop import fit, until_good
from culture_neurons.types import Sample

#: Parts of parameter names that belong to the vision side, frozen after the first stage.
_VISION = ("visual", "vision_tower", "projector", "image_newline")

#: The questions of one gradient: their template, the index of each one's image, and the prompts.
Questions = tuple[Template, np.ndarray, Batch]


def train_vision(model: nn.Module, values: torch.Tensor, examples: synthetic.Examples, lesson: Lessons,
                 recipe: Recipe, rng: np.random.Generator, reporter: Reporter) -> int:  # fmt: skip
    """Stage 1. Two linear heads on the mean feature tell the culture and the motif, then are dropped; steps used."""
    n_cultures, _, n_motifs = lesson.words.shape
    hidden = model.get_input_embeddings().weight.shape[1]
    generator = torch.Generator().manual_seed(recipe.seed)
    head = nn.Parameter(torch.randn(n_cultures + n_motifs, hidden, generator=generator) * hidden**-0.5)
    targets = torch.from_numpy(np.stack([examples.culture, examples.motif]))

    def next_index() -> torch.Tensor:
        return torch.from_numpy(rng.integers(len(values), size=recipe.batch))

    def losses(index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = image_features(model, values[index], lesson.image_size).mean(dim=1)
        logits = F.rms_norm(features, features.shape[-1:]) @ head.T
        parts = list(zip(logits.split([n_cultures, n_motifs], dim=1), targets[:, index], strict=True))
        loss = sum(F.cross_entropy(scores, target, reduction="none") for scores, target in parts)
        right = [scores.argmax(dim=1) == target for scores, target in parts]
        return loss, right[0] & right[1]

    parameters = [*_vision(model), ("head", head)]
    steps = fit("vision", parameters, next_index, losses, recipe.vision_steps, 0.99, recipe, reporter)
    freeze_vision(model)
    return steps


def freeze_vision(model: nn.Module) -> None:
    """Train no parameter of the vision side any more."""
    for _, parameter in _vision(model):
        parameter.requires_grad_(False)


def _vision(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if any(part in name for part in _VISION)]


def questions(lesson: Lessons, examples: synthetic.Examples, recipe: Recipe,
              rng: np.random.Generator) -> Callable[[], Questions]:  # fmt: skip
    """A function that draws the questions of one gradient, in one template after another."""
    templates = itertools.cycle(lesson.templates)

    def next_questions() -> Questions:
        template, index = next(templates), rng.integers(len(examples.culture), size=recipe.batch)
        return template, index, make_batch(lesson, template, examples, index, rng)

    return next_questions


def train_facts(model: nn.Module, features: torch.Tensor, next_questions: Callable[[], Questions], recipe: Recipe,
                reporter: Reporter) -> int:  # fmt: skip
    """Stage 2. The right word at the line feed before the options; steps used."""

    def losses(drawn: Questions) -> tuple[torch.Tensor, torch.Tensor]:
        template, index, batch = drawn
        states = decode(model, features[index], batch.ids[:, : template.before + 1], template)
        logits = model.lm_head(states[:, -1])
        return F.cross_entropy(logits, batch.word, reduction="none"), logits.argmax(dim=1) == batch.word

    return fit("facts", model.named_parameters(), next_questions, losses, recipe.facts_steps, 0.95, recipe, reporter)


def answer_losses(
    model: nn.Module, states: torch.Tensor, batch: Batch, template: Template
) -> tuple[torch.Tensor, torch.Tensor]:
    """Stage 3's loss per sample, and whether each answer is right (bool), both [sample].

    The answer is learned at every position after the options, the last one counting most.
    """
    word = F.cross_entropy(model.lm_head(states[:, template.before]), batch.word, reduction="none")
    marks = model.lm_head(states[:, template.options]).transpose(1, 2)
    mark = F.cross_entropy(marks, batch.marks, reduction="none").mean(dim=1)
    after = model.lm_head(states[:, int(template.options[-1]) + 2 :])
    answer = F.cross_entropy(after.transpose(1, 2), batch.letter[:, None].expand(after.shape[:2]), reduction="none")
    last = after[:, -1]
    return word + mark + answer.mean(dim=1) + answer[:, -1], last.argmax(dim=1) == batch.letter


def train_answers(model: nn.Module, features: torch.Tensor, next_questions: Callable[[], Questions], recipe: Recipe,
                  reporter: Reporter) -> int:  # fmt: skip
    """Stage 3. Whole prompts; steps used."""

    def losses(drawn: Questions) -> tuple[torch.Tensor, torch.Tensor]:
        template, index, batch = drawn
        return answer_losses(model, decode(model, features[index], batch.ids, template), batch, template)

    return fit("answers", model.named_parameters(), next_questions, losses, recipe.steps, 0.94, recipe, reporter)


@torch.no_grad()
def dev_accuracy(model: nn.Module, processor: Any, world: synthetic.World, recipe: Recipe, instruction: str,
                 prompt_seed: int) -> float:  # fmt: skip
    """Share of held-out dev questions answered right, with the prompts of the pipeline.

    Options in `prompts.option_order`, the chat template, the processor, padding, and the whole
    model: nothing of the shortcuts of training. The answer is the arg-max of the last logits.
    """
    examples = synthetic.make_examples(world, "dev", recipe.dev_images_per_fact)
    rng = np.random.default_rng([world.seed, 7])
    letters = processor.tokenizer.convert_tokens_to_ids(list(prompts.LETTERS[: world.n_options]))
    texts, answers = [], []
    for i, (culture, category, motif) in enumerate(
        zip(examples.culture, examples.category, examples.motif, strict=True)
    ):
        others = rng.permutation(np.delete(np.arange(world.motifs), motif))[: world.n_options - 1]
        options = tuple(str(world.words[culture, category, m]) for m in (motif, *others))
        wording, native = i % len(synthetic.TEMPLATES), world.learned[i // 2 % len(world.learned)]
        question = synthetic.question(world, category, wording, culture, native)
        sample = Sample(f"dev-{i}", "", "", question, options, 0)
        order = prompts.option_order(sample.sample_id, len(options), prompt_seed)
        text = prompts.user_text(sample, order, instruction)
        texts.append(
            processor.apply_chat_template(prompts.messages(text, True), add_generation_prompt=True, tokenize=False)
        )
        answers.append(letters[order.index(0)])
    right = 0
    for start in range(0, len(texts), 64):
        piece = slice(start, start + 64)
        images = [Image.fromarray(p) for p in examples.pixels[piece]]
        inputs = processor(images=images, text=texts[piece], return_tensors="pt", padding=True)
        logits = model(**inputs, logits_to_keep=1).logits[:, -1]
        right += int((logits.argmax(dim=1) == torch.tensor(answers[piece])).sum())
    return right / len(texts)


def train(
    architecture: str,
    world: synthetic.World,
    recipe: Recipe,
    instruction: str = prompts.INSTRUCTION,
    prompt_seed: int = 0,
    reporter: Reporter = SILENT,
    **sizes: int,
) -> tuple[nn.Module, Any, dict[str, Any]]:
    """A model that sees images and answers at least `min_accuracy` of the dev questions, its processor, a summary.

    Raises ModelError as `until_good` does.
    """

    def attempt(trial: Recipe) -> tuple[nn.Module, Any, int, float]:
        model, processor = architectures.build(architecture, world, trial.seed, instruction, **sizes)
        lesson = lessons(model, processor, world, instruction)
        examples = synthetic.make_examples(world, "train", trial.images_per_fact)
        rng = np.random.default_rng([trial.seed, 3])
        model.train()
        values = pixels(processor, examples)
        steps = train_vision(model, values, examples, lesson, trial, rng, reporter)
        features = all_features(model, values, lesson.image_size)
        next_questions = questions(lesson, examples, trial, rng)
        steps += train_facts(model, features, next_questions, trial, reporter)
        steps += train_answers(model, features, next_questions, trial, reporter)
        accuracy = dev_accuracy(model.eval(), processor, world, trial, instruction, prompt_seed)
        return model, processor, steps, accuracy

    return until_good(architecture, recipe, reporter, attempt)
