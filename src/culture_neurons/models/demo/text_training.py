"""Training the tiny language models on the synthetic world in words, on all of its tasks at once.

Three stages, each on top of the last, each by `training_loop.fit`:
1. facts: the lower half of the layers learns the first word of the right option at the line feed before the options,
   from the question alone;
2. options: all layers but the last learn to ask at each option's word for its letter if it is the right one, and for
   nothing (`<unk>`) if not. Prompts end there: an answer could not be given yet, and its loss would only add noise to
   the gradient, with which this stage takes several times as many steps;
3. answers: whole prompts, the losses of all stages. The last layer finds the letter that the option's word asks for;
   the others learn slowly here, so that they do not forget meanwhile.

A fact is learned in some of its wordings. Others, which training never sees, decide whether the model is good enough:
those of part dev.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from culture_neurons.data import prompts
from culture_neurons.data.readers import synthetic_text
from culture_neurons.data.readers.synthetic_text import TASKS, TextQuestion, TextWorld
from culture_neurons.models.demo import architectures
from culture_neurons.models.demo.recipe import SILENT, Recipe, Reporter
from culture_neurons.models.demo.training_loop import fit, until_good
from culture_neurons.types import Sample

#: Shares of the tasks in a batch: while facts are learned, and afterwards. Those that take most to learn have most; a
#: culture's facts hang on three words together, and none is learned before many have been seen.
_FACTS = {"culture": 0.7, "general": 0.1, "pairs": 0.15, "mention": 0.05}
_MIX = {"culture": 0.45, "general": 0.15, "pairs": 0.3, "mention": 0.1}
#: Different pairs to train on, and questions of each task that judge the model, at most.
_PAIRS, _DEV = 8192, 256
#: Share of the learning rate in the last stage of all but the last layer: they know their part already.
_OTHERS = 0.2
#: Target where there is no option.
_NONE = -100

T = TypeVar("T")

#: Questions of all tasks to train on; a loss per sample, and whether each was right (bool), both [sample].
Pools = Mapping[str, Sequence[TextQuestion]]
Learned = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """Whole prompts, padded on the left; all tensors int64."""

    inputs: Mapping[str, torch.Tensor]  # token ids and attention mask, [sample, token]
    word: torch.Tensor  # [sample], token of the right option's first word
    letter: torch.Tensor  # [sample], token of the right letter
    before: torch.Tensor  # [sample], position of the line feed before the options
    options: torch.Tensor  # [sample, option], position of each option's last word; 0 where there is none
    marks: torch.Tensor  # [sample, option], its letter for the right option, "nothing" for others, _NONE for none


class Prompts:
    """Prompts of one tokenizer, as the pipeline writes them; the chat template is rendered once.

    tail       tokens after the options of every prompt
    nothing    token that marks a wrong option
    """

    def __init__(self, tokenizer: Any, instruction: str) -> None:
        self.tokenizer, self.instruction = tokenizer, instruction
        self._start, self._end = self.render("?").split("?")
        tail = self._ids([instruction + self._end])[0]
        self._line = tokenizer.convert_tokens_to_ids("\n")
        self._lines_after = tail.count(self._line)
        self.tail, self.nothing = len(tail), tokenizer.unk_token_id

    def render(self, text: str) -> str:
        """A user's turn in the chat template, as `models.inputs` renders it for language models."""
        chat = [{"role": "user", "content": text}]
        return self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)

    def encode(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Token ids and attention mask, int64 [text, token], padded on the left."""
        encoded = self.tokenizer(list(texts), add_special_tokens=False, padding=True, return_tensors="pt")
        return {key: encoded[key] for key in ("input_ids", "attention_mask")}

    def openings(self, questions: Sequence[TextQuestion]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Prompts up to the line feed before the options, and the first word of each right option, int64 [sample]."""
        return self.encode([f"{self._start}{question.text}\n" for question in questions]), self._words(questions)

    def batch(self, questions: Sequence[TextQuestion], rng: np.random.Generator) -> Batch:
        """Whole prompts, with options in random order."""
        shown = [question.options(rng) for question in questions]
        samples = [Sample("", "", "", question.text, o, 0) for question, o in zip(questions, shown, strict=True)]
        texts = [prompts.user_text(s, range(len(s.options)), self.instruction) for s in samples]
        inputs = self.encode([self._start + text + self._end for text in texts])
        before, options = self._places(inputs["input_ids"], [len(o) for o in shown])
        right = torch.tensor([o.index(question.right) for question, o in zip(questions, shown, strict=True)])
        letter = torch.tensor(self.letters(options.shape[1]))[right]
        marks = torch.full(options.shape, self.nothing)
        marks[torch.arange(len(questions)), right] = letter
        return Batch(inputs, self._words(questions), letter, before, options, marks.masked_fill(options == 0, _NONE))

    def letters(self, n: int) -> list[int]:
        """Tokens of the first n option letters."""
        return self.tokenizer.convert_tokens_to_ids(list(prompts.LETTERS[:n]))

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]

    def _words(self, questions: Sequence[TextQuestion]) -> torch.Tensor:
        return torch.tensor([ids[0] for ids in self._ids([question.right for question in questions])])

    def _places(self, ids: torch.Tensor, n_options: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions of the line feed before the options, and of each option's last word."""
        before = torch.empty(len(ids), dtype=torch.int64)
        options = torch.zeros(len(ids), max(n_options), dtype=torch.int64)
        for i, n in enumerate(n_options):
            # Every option ends its line; after them come the line feeds of the instruction and the template.
            lines = (ids[i] == self._line).nonzero()[:, 0]
            lines = lines[: len(lines) - self._lines_after][-n - 1 :]
            before[i], options[i, :n] = lines[0], lines[1:] - 1
        return before, options


def depths(model: nn.Module) -> tuple[int, int]:
    """How many layers learn the facts, and how many the options."""
    n = len(model.model.layers)
    return max(1, n // 2), max(1, n - 1)


@contextmanager
def lower_layers(model: nn.Module, depth: int) -> Iterator[None]:
    """Run only the first `depth` layers."""
    n_layers = model.config.num_hidden_layers
    model.config.num_hidden_layers = depth
    try:
        yield
    finally:
        model.config.num_hidden_layers = n_layers


def fact_losses(model: nn.Module, inputs: Mapping[str, torch.Tensor], word: torch.Tensor) -> Learned:
    """Stage 1, of prompts that end before the options, by the layers that learn facts."""
    states = model.model(**inputs, use_cache=False).last_hidden_state
    logits = model.lm_head(states[:, -1])
    return F.cross_entropy(logits, word, reduction="none"), logits.argmax(dim=1) == word


def option_losses(model: nn.Module, batch: Batch, tail: int) -> Learned:
    """Stage 2, of prompts without their last `tail` tokens, by all layers but the last.

    The right option should be marked with its letter most.
    """
    inputs = {key: value[:, :-tail] for key, value in batch.inputs.items()}
    outputs = model.model(**inputs, use_cache=False, output_hidden_states=True)
    losses, marks = _losses_before(model, outputs.hidden_states[depths(model)[0]], outputs.last_hidden_state, batch)
    letters = batch.letter[:, None, None].expand(-1, marks.shape[1], 1)
    own = marks.log_softmax(dim=2).gather(2, letters)[..., 0].masked_fill(batch.marks == _NONE, -torch.inf)
    right = (batch.marks == batch.letter[:, None]).int().argmax(dim=1)
    return losses, own.argmax(dim=1) == right


def answer_losses(model: nn.Module, batch: Batch, tail: int) -> Learned:
    """Stage 3, of whole prompts. The answer is learned at each of the last `tail` tokens, and most at the last one."""
    outputs = model.model(**batch.inputs, use_cache=False, output_hidden_states=True)
    lower, upper = depths(model)
    hidden = outputs.hidden_states
    losses, _ = _losses_before(model, hidden[lower], model.model.norm(hidden[upper]), batch)
    after = model.lm_head(outputs.last_hidden_state[:, -tail:])
    answer = F.cross_entropy(after.transpose(1, 2), batch.letter[:, None].expand(after.shape[:2]), reduction="none")
    return losses + answer.mean(dim=1) + answer[:, -1], after[:, -1].argmax(dim=1) == batch.letter


def _losses_before(
    model: nn.Module, facts: torch.Tensor, options: torch.Tensor, batch: Batch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses [sample] of the fact and of the options, and logits at the options [sample, option, vocabulary].

    facts      states of the layer that knows the facts, before the last normalisation
    options    those of the layer that knows the options, after it
    """
    rows = torch.arange(len(batch.word))
    known = model.lm_head(model.model.norm(facts[rows, batch.before]))
    marks = model.lm_head(options[rows[:, None], batch.options])
    mark = F.cross_entropy(marks.transpose(1, 2), batch.marks, reduction="none", ignore_index=_NONE)
    n_options = (batch.marks != _NONE).sum(dim=1)
    return F.cross_entropy(known, batch.word, reduction="none") + mark.sum(dim=1) / n_options, marks


def _mix(pools: Pools, shares: Mapping[str, float], n: int, rng: np.random.Generator) -> list[TextQuestion]:
    """n questions of all tasks."""
    tasks = [TASKS[t] for t in rng.choice(len(TASKS), size=n, p=[shares[task] for task in TASKS])]
    return [pools[task][rng.integers(len(pools[task]))] for task in tasks]


@torch.no_grad()
def dev_accuracy(model: nn.Module, asking: Prompts, world: TextWorld, prompt_seed: int) -> dict[str, float]:
    """Per task, the share of questions of part dev that are answered right, with the prompts of the pipeline."""
    rng = np.random.default_rng([world.seed, 7])
    letters = torch.tensor(asking.letters(4))
    result = {}
    for task in TASKS:
        pool = synthetic_text.questions(world, task, "dev", n=_DEV)
        texts, answers = [], []
        for i in rng.permutation(len(pool))[:_DEV]:
            options = pool[i].options(rng)
            order = prompts.option_order(f"dev-{task}-{i}", len(options), prompt_seed)
            sample = Sample("", "", "", pool[i].text, options, 0)
            texts.append(asking.render(prompts.user_text(sample, order, asking.instruction)))
            answers.append(order.index(options.index(pool[i].right)))
        right = 0
        for start in range(0, len(texts), 64):
            piece = slice(start, start + 64)
            logits = model(**asking.encode(texts[piece]), logits_to_keep=1).logits[:, -1]
            right += int((logits.argmax(dim=1) == letters[answers[piece]]).sum())
        result[task] = right / len(texts)
    return result


def train(
    architecture: str,
    world: TextWorld,
    recipe: Recipe,
    instruction: str = prompts.INSTRUCTION,
    prompt_seed: int = 0,
    reporter: Reporter = SILENT,
    **sizes: int,
) -> tuple[nn.Module, Any, dict[str, Any]]:
    """A language model that answers at least `min_accuracy` of every task's dev questions, its tokenizer, a summary.

    Raises ModelError as `until_good` does.
    """

    def attempt(trial: Recipe) -> tuple[nn.Module, Any, int, float, dict[str, Any]]:
        model, tokenizer = architectures.build(architecture, world, trial.seed, instruction, **sizes)
        asking = Prompts(tokenizer, instruction)
        pools = {task: synthetic_text.questions(world, task, "train", n=_PAIRS) for task in TASKS}
        rng = np.random.default_rng([trial.seed, 3])

        def openings() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
            return asking.openings(_mix(pools, _FACTS, trial.batch, rng))

        def shown() -> Batch:
            return asking.batch(_mix(pools, _MIX, trial.batch, rng), rng)

        def stage(name: str, depth: int, next_questions: Callable[[], T], losses: Callable[[T], Learned], limit: int,
                  goal: float, share: Callable[[str], float] | None = None) -> int:  # fmt: skip
            with lower_layers(model, depth):
                parameters = model.train().named_parameters()
                return fit(name, parameters, next_questions, losses, limit, goal, trial, reporter, share)

        lower, upper = depths(model)
        last = f"layers.{upper}."
        steps = stage("facts", lower, openings, lambda opening: fact_losses(model, *opening), trial.facts_steps, 0.95)
        steps += stage(
            "options", upper, shown, lambda batch: option_losses(model, batch, asking.tail), trial.steps, 0.95
        )
        steps += stage(
            "answers", len(model.model.layers), shown, lambda batch: answer_losses(model, batch, asking.tail),
            trial.steps, 0.97, share=lambda name: 1.0 if last in name else _OTHERS,
        )  # fmt: skip
        by_task = dev_accuracy(model.eval(), asking, world, prompt_seed)
        reporter.log(", ".join(f"{task} {100 * value:.1f} %" for task, value in by_task.items()))
        return model, tokenizer, steps, min(by_task.values()), {"dev_accuracy_by_task": by_task}

    return until_good(architecture, recipe, reporter, attempt)
