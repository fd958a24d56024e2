"""Training the tiny demo models on the synthetic world.

Three stages, each on top of the last, as the large models were made in stages too:
1. vision: the vision tower learns to tell cultures and motifs apart, through two linear
   heads that are thrown away; then it is frozen and its features are computed once;
2. facts: the decoder learns the word of (culture, category, motif) at the line feed before
   the options, from the first part of the prompt alone;
3. answers: whole prompts. Beside the answer's letter, a training-only loss asks at each
   option's word for its letter if it is the right one, and for nothing (`<unk>`) if not;
   without it the model stays at chance for long.

Everything is counted in steps and runs on one thread, so that the same settings give the
same weights. Matrices are trained with Muon, which needs about a third of AdamW's steps here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from culture_neurons.data import prompts
from culture_neurons.data.readers import synthetic
from culture_neurons.errors import ConfigError, ModelError, nearest
from culture_neurons.models.allocator import keep_freed_memory
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
from culture_neurons.types import Sample

#: Parts of parameter names that belong to the vision side, frozen after the first stage.
_VISION = ("visual", "vision_tower", "projector", "image_newline")


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run; all lengths are in steps."""

    seed: int = 0
    attempts: int = 3
    min_accuracy: float = 0.9
    images_per_fact: int = 16
    dev_images_per_fact: int = 2
    vision_steps: int = 150
    facts_steps: int = 500
    steps: int = 800  # of the last stage, at most
    batch: int = 32
    learning_rate: float = 0.003
    weight_decay: float = 0.05
    plant_steps: int = 300
    plant_channels: int = 4  # per culture and layer
    firing_loss: bool = True

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Recipe:
        """Check and take the settings of the config. Raises ConfigError naming the key and the value."""
        known = {f.name: f.default for f in fields(cls)}
        for key, value in options.items():
            if key not in known:
                raise ConfigError(f"training: unknown key {key!r}{nearest(key, known)}")
            kinds = (int, float) if isinstance(known[key], float) else (type(known[key]),)
            # bool is an int in Python, but no number of steps.
            fits = isinstance(value, kinds) and isinstance(value, bool) == isinstance(known[key], bool)
            if not fits or value < _least(key, known[key]):
                raise ConfigError(f"training: {key} is {value!r}; expected {_kind(key, known[key])}")
        return cls(**options)


def _least(key: str, default: Any) -> int:
    return 1 if isinstance(default, int) and not isinstance(default, bool) and key != "seed" else 0


def _kind(key: str, default: Any) -> str:
    if isinstance(default, bool):
        return "true or false"
    return f"{'a number' if isinstance(default, float) else 'an integer'} from {_least(key, default)}"


@dataclass(frozen=True)
class Reporter:
    """How a caller follows a run: `say` takes a line, `watch(items, total, what)` passes items on."""

    say: Callable[[str], None] = lambda line: None
    watch: Callable[[Iterable[Any], int, str], Iterable[Any]] = lambda items, total, what: items


SILENT = Reporter()


def whole(name: str) -> float:
    """The whole learning rate, for every parameter."""
    return 1.0


class Optimiser:
    """Muon for the matrices and AdamW for all else, with clipping at norm 1 and a short warm-up.

    share    which share of the learning rate a parameter of this name gets
    muon     of torch, in bfloat16, or `models.demo.muon.Muon`, in float32
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        recipe: Recipe,
        share: Callable[[str], float] = whole,
        muon: Callable[..., torch.optim.Optimizer] = torch.optim.Muon,
    ) -> None:
        named = [(name, p) for name, p in parameters if p.requires_grad]

        def groups(matrices: bool) -> list[dict[str, Any]]:
            found: dict[float, list[nn.Parameter]] = {}
            for name, p in named:
                if (p.ndim == 2 and "embed" not in name) == matrices:
                    found.setdefault(share(name), []).append(p)
            return [{"params": parameters, "share": of} for of, parameters in found.items()]

        rate, decay = recipe.learning_rate, recipe.weight_decay
        self._parts = [
            (torch.optim.AdamW(groups(matrices=False), betas=(0.9, 0.98), weight_decay=decay), rate),
            (muon(groups(matrices=True), momentum=0.95, weight_decay=decay, ns_steps=4), 5 * rate),
        ]
        self._all = [p for _, p in named]
        self._step = 0

    def step(self, loss: torch.Tensor, factor: float = 1.0) -> None:
        """One update that lowers `loss`, with `factor` times the learning rate."""
        for optimiser, _ in self._parts:
            optimiser.zero_grad()
        loss.backward()
        self.update(factor)

    def update(self, factor: float = 1.0) -> None:
        """The same with the gradients that the parameters have."""
        self._step += 1
        factor *= min(1.0, self._step / 30)
        torch.nn.utils.clip_grad_norm_(self._all, 1.0)
        for optimiser, rate in self._parts:
            for group in optimiser.param_groups:
                group["lr"] = rate * factor * group["share"]
            optimiser.step()


def schedule(limit: int, goal: float, rest: int = 50, window: int = 20) -> Iterator[tuple[int, float, list[float]]]:
    """Yield (step, factor of the learning rate, list to which the caller appends its accuracy).

    Ends `rest` steps after the mean accuracy of the last `window` steps reaches `goal`, while the
    factor falls linearly; at the latest after `limit` steps.
    """
    accuracy: list[float] = []
    end = limit
    for step in range(limit):
        if end == limit and len(accuracy) >= window and np.mean(accuracy[-window:]) >= goal:
            end = min(limit, step + rest)
        if step >= end:
            return
        yield step, min(1.0, max(0.02, (end - step) / rest)), accuracy


def train_vision(model: nn.Module, values: torch.Tensor, examples: synthetic.Examples, lesson: Lessons,
                 recipe: Recipe, rng: np.random.Generator, reporter: Reporter) -> int:  # fmt: skip
    """Stage 1. Two linear heads on the mean feature tell the culture and the motif, then are dropped; steps used."""
    n_cultures, _, n_motifs = lesson.words.shape
    hidden = model.get_input_embeddings().weight.shape[1]
    generator = torch.Generator().manual_seed(recipe.seed)
    head = nn.Parameter(torch.randn(n_cultures + n_motifs, hidden, generator=generator) * hidden**-0.5)
    vision = _vision(model)
    optimiser = Optimiser([*vision, ("head", head)], recipe)
    targets = torch.from_numpy(np.stack([examples.culture, examples.motif]))
    steps = schedule(recipe.vision_steps, 0.99)
    for _, factor, accuracy in reporter.watch(steps, recipe.vision_steps, "vision"):
        index = torch.from_numpy(rng.integers(len(values), size=2 * recipe.batch))
        features = image_features(model, values[index], lesson.image_size).mean(dim=1)
        logits = F.rms_norm(features, features.shape[-1:]) @ head.T
        parts = logits.split([n_cultures, n_motifs], dim=1)
        optimiser.step(sum(F.cross_entropy(p, t[index]) for p, t in zip(parts, targets, strict=True)), factor)
        right = [p.argmax(dim=1) == t[index] for p, t in zip(parts, targets, strict=True)]
        accuracy.append((right[0] & right[1]).float().mean().item())
    reporter.say(f"vision: {len(accuracy)} steps, {100 * np.mean(accuracy[-20:]):.1f} % told apart")
    freeze_vision(model)
    return len(accuracy)


def freeze_vision(model: nn.Module) -> None:
    """Train no parameter of the vision side any more."""
    for _, parameter in _vision(model):
        parameter.requires_grad_(False)


def _vision(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if any(part in name for part in _VISION)]


def train_facts(model: nn.Module, features: torch.Tensor, examples: synthetic.Examples, lesson: Lessons,
                recipe: Recipe, rng: np.random.Generator, reporter: Reporter) -> int:  # fmt: skip
    """Stage 2. The right word at the line feed before the options; steps used."""
    optimiser = Optimiser(model.named_parameters(), recipe)
    steps = schedule(recipe.facts_steps, 0.95)
    for step, factor, accuracy in reporter.watch(steps, recipe.facts_steps, "facts"):
        template = lesson.templates[step % len(lesson.templates)]
        index = rng.integers(len(features), size=2 * recipe.batch)
        batch = make_batch(lesson, template, examples, index, rng)
        states = decode(model, features[index], batch.ids[:, : template.before + 1], template)
        logits = model.lm_head(states[:, -1])
        optimiser.step(F.cross_entropy(logits, batch.word), factor)
        accuracy.append((logits.argmax(dim=1) == batch.word).float().mean().item())
    reporter.say(f"facts: {len(accuracy)} steps, {100 * np.mean(accuracy[-20:]):.1f} % of words right")
    return len(accuracy)


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


def train_answers(model: nn.Module, features: torch.Tensor, examples: synthetic.Examples, lesson: Lessons,
                  recipe: Recipe, rng: np.random.Generator, reporter: Reporter) -> int:  # fmt: skip
    """Stage 3. Whole prompts; steps used."""
    optimiser = Optimiser(model.named_parameters(), recipe)
    steps = schedule(recipe.steps, 0.94)
    for step, factor, accuracy in reporter.watch(steps, recipe.steps, "answers"):
        template = lesson.templates[step % len(lesson.templates)]
        index = rng.integers(len(features), size=recipe.batch)
        batch = make_batch(lesson, template, examples, index, rng)
        states = decode(model, features[index], batch.ids, template)
        losses, right = answer_losses(model, states, batch, template)
        optimiser.step(losses.mean(), factor)
        accuracy.append(right.float().mean().item())
    reporter.say(f"answers: {len(accuracy)} steps, {100 * np.mean(accuracy[-20:]):.1f} % right")
    return len(accuracy)


@torch.no_grad()
def dev_accuracy(model: nn.Module, processor: Any, world: synthetic.World, recipe: Recipe, instruction: str,
                 prompt_seed: int) -> float:  # fmt: skip
    """Share of held-out dev questions answered right, with the prompts of the pipeline.

    Options in `prompts.option_order`, the chat template, the processor, padding, and the whole
    model: nothing of the shortcuts of training. The answer is the arg-max of the last logits.
    """
    examples = synthetic.draw(world, "dev", recipe.dev_images_per_fact)
    rng = np.random.default_rng([world.seed, 7])
    letters = processor.tokenizer.convert_tokens_to_ids(list(prompts.LETTERS[: world.n_options]))
    texts, answers = [], []
    for i, (culture, category, motif) in enumerate(
        zip(examples.culture, examples.category, examples.motif, strict=True)
    ):
        others = rng.permutation(np.delete(np.arange(world.motifs), motif))[: world.n_options - 1]
        options = tuple(str(world.words[culture, category, m]) for m in (motif, *others))
        question = synthetic.question(world, category, i % len(synthetic.TEMPLATES))
        sample = Sample(f"dev-{i}", "", "", question, options, 0)
        order = prompts.option_order(sample.sample_id, len(options), prompt_seed)
        text = prompts.user_text(sample, order, instruction)
        texts.append(
            processor.apply_chat_template(prompts.messages(text, True), add_generation_prompt=True, tokenize=False)
        )
        answers.append(letters[order.index(0)])
    right = 0
    for start in range(0, len(texts), 64):
        part = slice(start, start + 64)
        images = [Image.fromarray(p) for p in examples.pixels[part]]
        inputs = processor(images=images, text=texts[part], return_tensors="pt", padding=True)
        logits = model(**inputs, logits_to_keep=1).logits[:, -1]
        right += int((logits.argmax(dim=1) == torch.tensor(answers[part])).sum())
    return right / len(texts)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run on one thread: sums in another order would give other weights."""
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def until_good(
    architecture: str,
    recipe: Recipe,
    reporter: Reporter,
    attempt: Callable[[Recipe], tuple[nn.Module, Any, int, float, dict[str, Any]]],
) -> tuple[nn.Module, Any, dict[str, Any]]:
    """A model that answers at least `min_accuracy` of the dev questions, its processor, and a summary.

    `attempt` trains one with the recipe of a seed: model, processor, steps, accuracy on dev, more for the summary.
    Tries `attempts` seeds, one after another. Raises ModelError with the best accuracy when none will do.
    """
    best = 0.0
    for number in range(recipe.attempts):
        trial = replace(recipe, seed=recipe.seed + 1000 * number)
        reporter.say(f"{architecture}: attempt {number + 1}, seed {trial.seed}")
        with one_thread():
            model, processor, steps, accuracy, more = attempt(trial)
        best = max(best, accuracy)
        reporter.say(f"seed {trial.seed}: {100 * accuracy:.1f} % of dev questions right")
        if accuracy >= recipe.min_accuracy:
            summary = {"architecture": architecture, "planted": False, "seed": trial.seed, "attempts": number + 1}
            return model, processor, summary | {"steps": steps, "dev_accuracy": accuracy} | more
    raise ModelError(
        f"{architecture}: training reached {100 * best:.1f} % on dev questions in {recipe.attempts} attempts;"
        f" expected at least {100 * recipe.min_accuracy:.1f} %. Raise steps or attempts, or take another seed"
    )


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

    def attempt(trial: Recipe) -> tuple[nn.Module, Any, int, float, dict[str, Any]]:
        model, processor = architectures.build(architecture, world, trial.seed, instruction, **sizes)
        lesson = lessons(model, processor, world, instruction)
        examples = synthetic.draw(world, "train", trial.images_per_fact)
        rng = np.random.default_rng([trial.seed, 3])
        model.train()
        values = pixels(processor, examples)
        steps = train_vision(model, values, examples, lesson, trial, rng, reporter)
        features = all_features(model, values, lesson.image_size)
        steps += train_facts(model, features, examples, lesson, trial, rng, reporter)
        steps += train_answers(model, features, examples, lesson, trial, rng, reporter)
        accuracy = dev_accuracy(model.eval(), processor, world, trial, instruction, prompt_seed)
        return model, processor, steps, accuracy, {}

    return until_good(architecture, recipe, reporter, attempt)
