"""The data that flows between modules. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from culture_neurons.errors import ConfigError

#: So many units (images, or questions without one) must questions be of for anything to be said of other ones: one
#: alone, drawn again and again, never changes.
FEWEST_UNITS = 2

#: Where a neuron lives in a decoder layer. `act_fn` is g = act_fn(gate_proj x) of a gated MLP, act_fn(fc x) of a plain.
SITES = ("act_fn",)

#: Outputs of linear projections, whose units are attributed; see `models.projections`.
PROJECTIONS = ("gate_proj", "up_proj", "q_proj", "k_proj", "v_proj")

#: Where unit i is neuron i of an MLP, act_fn(gate x)_i · (up x)_i: zeroed at any of these, it puts out nothing.
MLP_SITES = ("act_fn", "gate_proj", "up_proj")

#: Which tokens of a prompt count in the statistics; see `models.recording.token_weights`.
TOKEN_RULES = ("all", "content", "image", "text", "last")

#: Stands for a selector's name where masks are those of another project.
IMPORTED = "imported"

#: Selectors by attribution instead of activation statistics; see `selectors.culnig`.
CULNIG = ("culnig-general", "culnig-specific")

#: Architectures of the demo models (models/demo/architectures.py), and the type of the source that they are trained on.
DEMO_ARCHITECTURES, TRAINED_ON = ("qwen2.5-vl", "llava-next-mistral", "llava-next-qwen2"), "synthetic"

#: Types of sources that are benchmarks of texts (data/benchmarks), and of all that never have images.
TEXT_BENCHMARKS = (
    "blend", "culturalbench", "normad", "worldvaluesbench", "commonsenseqa", "qnli", "mrpc", "country-mention",
)  # fmt: skip
WITHOUT_IMAGES = (*TEXT_BENCHMARKS, "facts", "general-facts")


@dataclass(frozen=True)
class Sample:
    """One multiple-choice question.

    `label` is the index of the right option in `options`. `image` is a reference that
    `data.images` opens, or None; samples with equal `image_id` show the same image. `image_size` is its
    width and height in pixels, None where they are not known. `neutral` is a text of the question's form that names
    nothing, for answers by the texts of options. `option_cultures` says whose each option is, empty where that is not
    known.
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
    neutral: str = ""
    option_cultures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experts:
    """The neurons of a decoder with routed experts, side by side in each layer: neuron n is neuron n % m of expert
    n // m, where an expert has m = widths[layer] / counts[layer] of them.

    widths   how many neurons each layer has: in [layer, neuron], those behind are absent
    counts   how many experts each layer has; 0 for a layer with one dense MLP, which every token reaches

    Tokens are counted in columns: column 0 is all tokens that count, and the others are those that reach an expert, one
    column for each, layer after layer.
    """

    widths: Sequence[int]
    counts: Sequence[int]

    def __post_init__(self) -> None:
        for name in ("widths", "counts"):
            object.__setattr__(self, name, tuple(int(number) for number in getattr(self, name)))
        pairs = list(zip(self.widths, self.counts, strict=True))
        if any(width < 1 or count < 0 or (count and width % count) for width, count in pairs):
            raise ConfigError(f"experts: layers of {self.widths} neurons in {self.counts} experts; expected multiples")

    @property
    def columns(self) -> int:
        """How many columns of tokens there are."""
        return 1 + sum(self.counts)

    def first_columns(self) -> np.ndarray:
        """The column of each layer's first expert, int64 [layer]."""
        return 1 + np.cumsum([0, *self.counts[:-1]])

    def column(self) -> np.ndarray:
        """The column of each neuron, int32 [layer, neuron]; -1 where a layer has no such neuron."""
        result = np.full((len(self.widths), max(self.widths)), -1, np.int32)
        for row, width, count, first in zip(result, self.widths, self.counts, self.first_columns(), strict=True):
            row[:width] = first + np.arange(width) // (width // count) if count else 0
        return result


@dataclass(frozen=True)
class Statistics:
    """Sums over the tokens that count, of all questions of each culture; g is a neuron's activation at a token.

    cultures         names, in the order of the first axis
    tokens           T, int64 [culture]: how many tokens count; with `column` [culture, column]
    fired            K, int64 [culture, layer, neuron]: on how many of them the neuron fires, g > 0
    positive_sum     S, float64 [culture, layer, neuron]: how strongly, the sum of max(g, 0)

    What follows is None where it is not known; selectors that need it say so.

    negative_sum     N, float64 [culture, layer, neuron]: the sum of min(g, 0), never positive
    samples          n, int64 [culture]: how many questions were added up; with `column` [culture, column], those of
                     which any token counts
    mean_sum         float64 [culture, layer, neuron]: the sum over questions of x = (S + N) / T, a question's mean of g
    square_sum       float64 [culture, layer, neuron]: the sum over questions of x^2
    column           int [layer, neuron]: which column of `tokens` and `samples` counts for a neuron (`Experts.column`),
                     -1 for one that is absent; None: all tokens reach all neurons

    Resamples hold the moments of x - x_0, with a number x_0 per neuron that is the same for all cultures: selectors
    may use only what x_0 does not change, differences of means and variances.

    Sums given in float32 stay so, as do the scores that are made of them: `stability` works on many resamples.
    Raises ConfigError when shapes disagree, a culture occurs twice, or K > T.
    """

    cultures: Sequence[str]
    tokens: np.ndarray
    fired: np.ndarray
    positive_sum: np.ndarray
    negative_sum: np.ndarray | None = None
    samples: np.ndarray | None = None
    mean_sum: np.ndarray | None = None
    square_sum: np.ndarray | None = None
    column: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "cultures", list(self.cultures))
        for name, values in self.arrays.items():
            if name in ("tokens", "samples") or np.asarray(values).dtype != np.float32:
                values = np.asarray(values, dtype=np.int64 if name in ("tokens", "fired", "samples") else np.float64)
            object.__setattr__(self, name, values)
        n = len(self.cultures)
        if len(set(self.cultures)) != n:
            raise ConfigError(f"statistics: a culture occurs twice in {self.cultures}")
        of_tokens = (n,) if self.column is None else (n, *self.tokens.shape[1:2])
        if self.tokens.shape != of_tokens or self.fired.ndim != 3 or len(self.fired) != n:
            raise ConfigError(
                f"statistics: {n} cultures, but tokens {self.tokens.shape} and fired {self.fired.shape};"
                " expected [culture] and [culture, layer, neuron]"
            )
        if self.column is not None and self.column.shape != self.fired.shape[1:]:
            raise ConfigError(f"statistics: fired {self.fired.shape} and column {self.column.shape} differ")
        for name, values in self.arrays.items():
            if values.shape != (self.tokens.shape if name in ("tokens", "samples") else self.fired.shape):
                raise ConfigError(f"statistics: fired {self.fired.shape} and {name} {values.shape} differ")
        # The largest of each culture is compared: a comparison of all would take an array of their size.
        if self.column is not None:
            too_many = any((k > self.tokens_of(c).astype(k.dtype)).any() for c, k in enumerate(self.fired))
        else:
            too_many = self.fired.size and (self.fired.max(axis=(1, 2)) > self.tokens.astype(self.fired.dtype)).any()
        if too_many:
            raise ConfigError("statistics: a neuron fired on more tokens than there are")

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are known, by name; the first axis of each is culture."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("cultures", "column")}
        return {name: value for name, value in values.items() if value is not None}

    def reordered(self, order: Sequence[int]) -> Statistics:
        """The same with the cultures `order` along the first axis."""
        arrays = {name: values[list(order)] for name, values in self.arrays.items()}
        return Statistics([self.cultures[i] for i in order], **arrays, column=self.column)

    def tokens_of(self, culture: int) -> np.ndarray:
        """T of each neuron for the culture of that number, int64 [layer, neuron]; 0 where a neuron is absent."""
        return self._of_neurons(self.tokens, culture)

    def samples_of(self, culture: int) -> np.ndarray:
        """n of each neuron, as `tokens_of`."""
        return self._of_neurons(self.samples, culture)

    def _of_neurons(self, counts: np.ndarray, culture: int) -> np.ndarray:
        if self.column is None:
            return np.full(self.fired.shape[1:], counts[culture])
        return np.append(counts[culture], 0)[self.column]  # column -1 is the last

    def reached(self) -> np.ndarray:
        """Whether tokens of every culture reach a neuron, bool [layer, neuron]: else cultures can't be compared."""
        if self.column is None:
            return np.ones(self.fired.shape[1:], bool)
        return np.append((self.tokens > 0).all(axis=0), False)[self.column]

    def subset(self, flat: np.ndarray) -> Statistics:
        """The same of some neurons, given as indices into layer * neuron, as if they were one layer."""
        n = len(self.cultures)
        arrays = {
            name: values if name in ("tokens", "samples") else values.reshape(n, -1)[:, None, flat]
            for name, values in self.arrays.items()
        }
        column = None if self.column is None else self.column.reshape(-1)[None, flat]
        return Statistics(self.cultures, **arrays, column=column)

    @property
    def probability(self) -> np.ndarray:
        """P = K / T, float64 (float32 of such sums) [culture, layer, neuron]; 0 for a culture without tokens, NaN for a
        neuron of an expert that none of its tokens reached, and for one that is absent."""
        return self._per_token(self.fired)

    @property
    def mean_positive(self) -> np.ndarray:
        """M = S / T, as `probability`."""
        return self._per_token(self.positive_sum)

    def _per_token(self, sums: np.ndarray) -> np.ndarray:
        if self.column is not None:
            result = np.full(sums.shape, np.nan, np.float32 if sums.dtype == np.float32 else np.float64)
            for c, row in enumerate(result):
                tokens = self.tokens_of(c)
                np.divide(sums[c], tokens.astype(row.dtype), out=row, where=tokens > 0)
            return result
        tokens = np.maximum(self.tokens, 1)[:, None, None]
        return sums / (tokens.astype(np.float32) if sums.dtype == np.float32 else tokens)


@dataclass(frozen=True)
class NeuronMask:
    """The neurons chosen for one culture.

    site             one of `SITES` or `PROJECTIONS` for all neurons, or str [n]
    layer, neuron    int64 [n]: layers and indices; (site, layer, neuron) occurs at most once
    factor           what these neurons put out is multiplied by; 0 is zero ablation, 2 doubles it
    """

    culture: str
    site: str | np.ndarray
    layer: np.ndarray
    neuron: np.ndarray
    factor: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer", np.asarray(self.layer, dtype=np.int64))
        object.__setattr__(self, "neuron", np.asarray(self.neuron, dtype=np.int64))
        if self.layer.shape != self.neuron.shape or self.layer.ndim != 1:
            raise ConfigError(f"mask of {self.culture!r}: layer and neuron must be two lists of one length")
        names, known = np.asarray(self.site, dtype=str), (*SITES, *PROJECTIONS)
        if strange := sorted(set(names.ravel().tolist()) - set(known)):
            raise ConfigError(f"mask of {self.culture!r}: unknown site {strange[0]!r}; known: {', '.join(known)}")
        if names.shape not in ((), self.layer.shape):
            raise ConfigError(f"mask of {self.culture!r}: {names.shape} sites for {len(self.layer)} neurons")
        object.__setattr__(self, "site", np.broadcast_to(names, self.layer.shape))
        if not np.isfinite(self.factor):
            raise ConfigError(f"mask of {self.culture!r}: factor {self.factor}; expected a finite number")
        number = np.searchsorted(sorted(known), self.site)
        places = np.stack([number, self.layer, self.neuron], axis=1)
        if len(np.unique(places, axis=0)) != len(places):
            raise ConfigError(f"mask of {self.culture!r}: a neuron is listed twice")

    def __len__(self) -> int:
        return len(self.layer)


@dataclass(frozen=True)
class OwnMasks:
    """Masks of several cultures in force at once: each question gets the mask of its own culture, if there is one.

    What all cultures' masks do to their own questions then takes one forward pass instead of one per mask.
    Raises ConfigError when two masks are of one culture.
    """

    masks: Sequence[NeuronMask]

    def __post_init__(self) -> None:
        object.__setattr__(self, "masks", tuple(self.masks))
        names = [mask.culture for mask in self.masks]
        if len(set(names)) != len(names):
            raise ConfigError(f"masks of {sorted(names)}: a culture occurs twice")


@dataclass(frozen=True)
class Attributions:
    """How much every unit holds up the right answers of each culture's questions; see `models.attribution`.

    cultures    names, in the order of the first axis
    samples     n, int64 [culture]: how many questions were added up
    sums        by site, float64 [culture, layer, unit]: the sum of s_u over these questions; NaN for all cultures where
                a layer has no such unit: layers may have fewer units than others, or none

    Raises ConfigError when shapes disagree, a culture occurs twice, or NaN are not the last units of a layer.
    """

    cultures: Sequence[str]
    samples: np.ndarray
    sums: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        object.__setattr__(self, "cultures", list(self.cultures))
        object.__setattr__(self, "samples", np.asarray(self.samples, dtype=np.int64))
        object.__setattr__(self, "sums", {site: np.asarray(v, dtype=np.float64) for site, v in self.sums.items()})
        n = len(self.cultures)
        if len(set(self.cultures)) != n:
            raise ConfigError(f"attributions: a culture occurs twice in {self.cultures}")
        for site, values in self.sums.items():
            if values.ndim != 3 or len(values) != n or self.samples.shape != (n,):
                raise ConfigError(
                    f"attributions: {n} cultures, but {site} {values.shape} and samples {self.samples.shape}; expected"
                    " [culture, layer, unit] and [culture]"
                )
            present, units = ~np.isnan(values), np.arange(values.shape[2])
            if n and (present != (units < present[0].sum(axis=1)[:, None])).any():
                raise ConfigError(
                    f"attributions: {site} holds values that are no numbers (nan), and not for all"
                    " cultures alike at the last units of a layer, which so has fewer of them"
                )

    def widths(self, site: str) -> list[int]:
        """How many units each layer has at a site."""
        sums = self.sums[site]
        return (~np.isnan(sums[0])).sum(axis=1).tolist() if len(sums) else [sums.shape[2]] * sums.shape[1]


#: How many units each layer has at a site: one number where all have as many, as in a mask file's metadata.
Widths = int | Sequence[int]


def widths_of_layers(widths: Widths, n_layers: int) -> np.ndarray:
    """How many units each layer has, int64 [layer]; 0 for a layer without any. Raises ConfigError for another number of
    layers."""
    values = np.asarray(widths) if np.ndim(widths) else np.full(n_layers, widths)
    if values.shape != (n_layers,) or not np.issubdtype(values.dtype, np.integer) or (values < 0).any():
        raise ConfigError(f"units per layer {widths!r}; expected a whole number from 0 on, or {n_layers} of them")
    return values.astype(np.int64)


def short_widths(widths: Sequence[int]) -> Widths:
    """The same as one number, where all layers have as many."""
    return widths[0] if len(set(widths)) == 1 else list(widths)
