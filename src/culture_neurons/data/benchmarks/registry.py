"""The text benchmarks by their type in the config. A line here, and the type in `types.TEXT_BENCHMARKS`, adds one."""

from __future__ import annotations

from culture_neurons.data.benchmarks import (
    blend,
    common,
    country_mention,
    culturalbench,
    general,
    normad,
    worldvalues,
)
from culture_neurons.data.benchmarks.common import Benchmark, Spec
from culture_neurons.data.source import SourceTable
from culture_neurons.errors import ConfigError, nearest

#: type -> the benchmark, one for each `config` that it has; the first is the default.
BENCHMARKS: dict[str, tuple[Benchmark, ...]] = {
    "blend": (blend.BENCHMARK,),
    "culturalbench": (culturalbench.EASY, culturalbench.HARD),
    "normad": (normad.BENCHMARK,),
    "worldvaluesbench": (worldvalues.BENCHMARK,),
    "commonsenseqa": (general.COMMONSENSEQA,),
    "qnli": (general.QNLI,),
    "mrpc": (general.MRPC,),
    "country-mention": (country_mention.BENCHMARK,),
}


def choose(spec: Spec) -> Benchmark:
    """The benchmark that `type` and `config` name. Raises ConfigError for a `config` that it does not have."""
    variants = BENCHMARKS[spec["type"]]
    by_config = {b.home.config: b for b in variants if b.home is not None and b.home.config is not None}
    if not by_config or "config" not in spec:
        return variants[0]
    if not isinstance(spec["config"], str) or spec["config"] not in by_config:
        hint = nearest(spec["config"], by_config)
        raise ConfigError(f"source.config: {spec['config']!r}{hint}; expected {' or '.join(by_config)}")
    return by_config[spec["config"]]


def read(spec: Spec) -> SourceTable:
    """Read the text benchmark that `spec` describes. Raises as `common.read` does."""
    return common.read(spec, choose(spec))
