"""Zero ablation: every mask on every question, the model loaded once and each input processed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from culture_neurons.models.hooks import ablate
from culture_neurons.models.inference import Answer, Batch, Prompt, answer
from culture_neurons.models.loading import Loaded
from culture_neurons.types import NeuronMask


def evaluate(
    loaded: Loaded, batches: Iterable[Batch], masks: Sequence[NeuronMask], prompt: Prompt
) -> Iterator[tuple[Batch, list[list[Answer]]]]:
    """For each batch, the answers under each mask: [mask][sample].

    Batches run in the outer loop, so that only one batch of inputs is held. A mask without
    neurons is the model as it is; all such masks share one forward pass per batch.
    """
    with ablate(loaded.adapter, masks) as ablation:
        for batch in batches:
            untouched: list[Answer] | None = None
            answers = []
            for index, mask in enumerate(masks):
                if len(mask) == 0 and untouched is not None:
                    answers.append(untouched)
                    continue
                ablation.use(index)
                answers.append(answer(loaded, batch, prompt))
                ablation.check()
                if len(mask) == 0:
                    untouched = answers[-1]
            yield batch, answers
