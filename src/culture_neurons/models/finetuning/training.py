"""Training parts of a model on multiple-choice questions.

The loss is -log P of the right option in the prompts that the model is asked with (`inference.right_answer`): of its
letter where the answer starts, among all tokens, or of its text among those of the options, by their score. What is
read at inference is what is trained.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from culture_neurons.errors import ModelError
from culture_neurons.models.batching import is_out_of_memory
from culture_neurons.models.finetuning.updates import Part
from culture_neurons.models.inference import right_answer
from culture_neurons.models.inputs import Opener, Prompt, Question, process, render
from culture_neurons.models.loading import Loaded
from culture_neurons.seeds import generator
from culture_neurons.types import Sample

log = logging.getLogger("culture_neurons")
#: Norm to which gradients are clipped, and the share of the steps in which the learning rate rises.
_CLIP, _WARM_UP = 1.0, 0.1


@dataclass(frozen=True)
class Schedule:
    """How long and how fast; `batch_size` questions per step, whatever the device holds at a time.

    The learning rate rises over the first tenth of the steps and then falls to 0, both linearly.
    """

    steps: int = 200
    batch_size: int = 16
    learning_rate: float = 1e-4
    seed: int = 1

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        rise = max(1, round(_WARM_UP * self.steps))
        return self.learning_rate * min((step + 1) / rise, (self.steps - step) / max(1, self.steps - rise))


def order(questions: int, schedule: Schedule) -> Iterator[list[int]]:
    """The questions of each step: all of them in a random order, then again in another one, and so on."""
    left: list[int] = []
    epoch = 0
    for _ in range(schedule.steps):
        while len(left) < schedule.batch_size:
            left += generator("order", schedule.seed, epoch).permutation(questions).tolist()
            epoch += 1
        yield left[: schedule.batch_size]
        left = left[schedule.batch_size :]


def train(
    loaded: Loaded,
    parts: Sequence[Part],
    samples: Sequence[Sample],
    opener: Opener,
    prompt: Prompt,
    schedule: Schedule,
    watch: Callable[[Iterable[list[int]]], Iterable[list[int]]] = iter,
) -> list[float]:
    """Train the rows of `parts` (see `updates.attach`) by AdamW without decay; the loss of every step.

    All other numbers of the model stay what they are, to the last bit. The optimiser works on copies in float32, which
    are rounded to the model's dtype after each step. The same settings give the same weights, on a GPU but for the
    last digits. A step for which memory is short is done in smaller pieces, whose gradients are added. Dropout is that
    of adapters alone: the model itself stays as it answers.

    Raises ModelError for a model in float16, whose gradients underflow, and when a loss or a gradient is not finite.
    """
    if loaded.dtype == "float16":
        raise ModelError(f"model {loaded.name!r}: gradients underflow in float16; set dtype bfloat16 or float32")
    questions = render(loaded, samples, prompt)
    parameters = list({id(part.parameter): part.parameter for part in parts}.values())
    masters = [part.values.detach().float().clone() for part in parts]
    optimiser = torch.optim.AdamW(masters, weight_decay=0.0)
    losses: list[float] = []
    size = schedule.batch_size
    with _training(loaded, parameters, schedule.seed):
        for step, chosen in enumerate(watch(order(len(questions), schedule))):
            batch = [questions[i] for i in chosen]
            loss, gradients, size = _in_memory(loaded, parameters, batch, opener, size)
            for master, part in zip(masters, parts, strict=True):
                master.grad = part.rows(gradients[id(part.parameter)]).float()
            norm = torch.nn.utils.clip_grad_norm_(masters, _CLIP)
            if not np.isfinite(loss) or not bool(torch.isfinite(norm)):
                raise ModelError(
                    f"model {loaded.name!r}: the loss of step {step + 1} of {schedule.steps} is {loss:g}, and the norm "
                    f"of its gradient {float(norm):g}\nboth must be finite; lower learning_rate "
                    f"({schedule.learning_rate:g})"
                )
            optimiser.param_groups[0]["lr"] = schedule.rate(step)
            optimiser.step()
            for master, part in zip(masters, parts, strict=True):
                part.values.copy_(master)
            losses.append(loss)
    return losses


@contextmanager
def _training(loaded: Loaded, parameters: Sequence[torch.nn.Parameter], seed: int) -> Iterator[None]:
    """Gradients for these parameters, and dropout of adapters, drawn by `seed`."""
    dropout = [module.lora_dropout for module in loaded.model.modules() if hasattr(module, "lora_dropout")]

    def switch(on: bool) -> None:
        for parameter in parameters:
            parameter.requires_grad_(on)
        for module in dropout:
            module.train(on)

    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        switch(True)
        try:
            yield
        finally:
            switch(False)


def _in_memory(
    loaded: Loaded, parameters: Sequence[torch.nn.Parameter], batch: Sequence[Question], opener: Opener, size: int
) -> tuple[float, dict[int, torch.Tensor], int]:
    """Loss and gradients of a batch, at most `size` questions at a time, and the size with which it went well."""
    while True:
        try:
            return *_gradients(loaded, parameters, batch, opener, size), size
        except RuntimeError as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        size = (size + 1) // 2
        log.warning("%s: out of memory; going on with %d questions at a time", loaded.name, size)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _gradients(
    loaded: Loaded, parameters: Sequence[torch.nn.Parameter], batch: Sequence[Question], opener: Opener, size: int
) -> tuple[float, dict[int, torch.Tensor]]:
    """The mean loss over a batch, and its gradient by the id of the parameter."""
    total, sums = 0.0, {}
    for start in range(0, len(batch), size):
        piece = process(loaded, batch[start : start + size], opener)
        with torch.enable_grad():
            loss = -right_answer(loaded, piece).sum() / len(batch)
            gradients = torch.autograd.grad(loss, parameters)
        total += loss.item()
        for parameter, gradient in zip(parameters, gradients, strict=True):
            before = sums.get(id(parameter))
            sums[id(parameter)] = gradient if before is None else before + gradient
    return total, sums
