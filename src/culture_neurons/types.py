"""The data that flows between modules. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from culture_neurons.errors import ConfigError

#: Where a neuron lives in a decoder layer. `act_fn` is g = act_fn(gate_proj x) of a gated MLP.
SITES = ("act_fn",)

#: Which tokens of a prompt count in the statistics; see `models.recording.token_weights`.
TOKEN_RULES = ("all", "content", "image", "text", "last")

#: Stands for a selector's name where masks are those of another project.
IMPORTED = "imported"


@dataclass(frozen=True)
class Sample:
    """One multiple-choice question.

    `label` is the index of the right option in `options`. `image` is a reference that
    `data.images` opens, or None; samples with equal `image_id` show the same image. `image_size` is its
    width and height in pixels, None where they are not known.
    """

    sample_id: str
    culture: str
    category: str
    question: str
    options: tuple[str, ...]
    label: int
    split: str = ""
    image: Mapping[str, Any] | None = None
    image_id: str = ""
    image_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Statistics:
    """Sums over the tokens that count, of all questions of each culture; g is a neuron's activation at a token.

    cultures         names, in the order of the first axis
    tokens           T, int64 [culture]: how many tokens count
    fired            K, int64 [culture, layer, neuron]: on how many of them the neuron fires, g > 0
    positive_sum     S, float64 [culture, layer, neuron]: how strongly, the sum of max(g, 0)

    Raises ConfigError when shapes disagree, a culture occurs twice, or K > T.
    """

    cultures: Sequence[str]
    tokens: np.ndarray
    fired: np.ndarray
    positive_sum: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "cultures", list(self.cultures))
        object.__setattr__(self, "tokens", np.asarray(self.tokens, dtype=np.int64))
        object.__setattr__(self, "fired", np.asarray(self.fired, dtype=np.int64))
        object.__setattr__(self, "positive_sum", np.asarray(self.positive_sum, dtype=np.float64))
        n = len(self.cultures)
        if len(set(self.cultures)) != n:
            raise ConfigError(f"statistics: a culture occurs twice in {self.cultures}")
        if self.tokens.shape != (n,) or self.fired.ndim != 3 or len(self.fired) != n:
            raise ConfigError(
                f"statistics: {n} cultures, but tokens {self.tokens.shape} and fired {self.fired.shape};"
                " expected [culture] and [culture, layer, neuron]"
            )
        if self.fired.shape != self.positive_sum.shape:
            raise ConfigError(f"statistics: fired {self.fired.shape} and positive_sum {self.positive_sum.shape} differ")
        if self.fired.size and (self.fired > self.tokens[:, None, None]).any():
            raise ConfigError("statistics: a neuron fired on more tokens than there are")

    @property
    def probability(self) -> np.ndarray:
        """P = K / T, float64 [culture, layer, neuron]; 0 for a culture without tokens."""
        return self.fired / np.maximum(self.tokens, 1)[:, None, None]

    @property
    def mean_positive(self) -> np.ndarray:
        """M = S / T, float64 [culture, layer, neuron]; 0 for a culture without tokens."""
        return self.positive_sum / np.maximum(self.tokens, 1)[:, None, None]


@dataclass(frozen=True)
class NeuronMask:
    """The neurons chosen for one culture at one site.

    layer, neuron    int64 [n]: the chosen (layer, index) pairs, each at most once
    """

    culture: str
    site: str
    layer: np.ndarray
    neuron: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer", np.asarray(self.layer, dtype=np.int64))
        object.__setattr__(self, "neuron", np.asarray(self.neuron, dtype=np.int64))
        if self.site not in SITES:
            raise ConfigError(f"mask of {self.culture!r}: unknown site {self.site!r}; known: {', '.join(SITES)}")
        if self.layer.shape != self.neuron.shape or self.layer.ndim != 1:
            raise ConfigError(f"mask of {self.culture!r}: layer and neuron must be two lists of one length")
        pairs = np.stack([self.layer, self.neuron], axis=1)
        if len(np.unique(pairs, axis=0)) != len(pairs):
            raise ConfigError(f"mask of {self.culture!r}: a neuron is listed twice")

    def __len__(self) -> int:
        return len(self.layer)
