"""HDF5 files: the only owner of their layout.

Statistics, one file per model and token rule (`statistics.h5`), sums over the valid tokens of each sample:

    /{site}/fired           unsigned [sample, layer, neuron]  K: tokens with g > 0
    /{site}/positive_sum    float32  [sample, layer, neuron]  S: sum of max(g, 0)
    /{site}/negative_sum    float32  [sample, layer, neuron]  N: sum of min(g, 0); only where it was recorded
    /{site}/totals/fired            int64    [culture, layer, neuron]  K and S summed over the samples of a culture, in
    /{site}/totals/positive_sum     float64  [culture, layer, neuron]  order of ids; cultures by name; merged files only
    /{site}/totals/negative_sum, mean_sum, square_sum  float64  the same of N, and of x and x^2, where x = (S + N) / T
                                                       is a sample's mean of g; where N was recorded
    /tokens                 int32    [sample]                 T: valid tokens
    /{site}/expert_tokens   int32    [sample, column]         T of each routed expert, layer after layer; only of models
                                                              with experts, whose metadata has `experts`: widths and
                                                              counts by layer (`types.Experts`)
    /sample_id, /culture    UTF-8    [sample]                 rows are sorted by sample_id
    /metadata               UTF-8, JSON: site, model, revision, dtype, token rule, and what the step was
    attributes              schema (version of this layout), site, model, revision, dtype, token_rule, mantissa_bits

K has the narrowest of uint8, uint16 and uint32 that holds the largest value of the file. S and N are rounded to
`mantissa_bits` bits of mantissa when they are recorded, and never again; 23: not at all.

Scores, one file per model and selector (`scores/{selector}.h5`):

    /{site}                 float32  [culture, layer, neuron] -inf: never selected
    /culture                UTF-8    [culture]
    /metadata, attributes   as above

Attributions, one file per model, set of questions and shard:

    /{site}/attribution     float64  [culture, layer, unit]   sums of s_u over the questions of a culture
    /samples                int64    [culture]                how many questions
    /culture, /metadata, attributes   as above; `site` holds all sites, with commas between

All arrays are chunked and carry a Fletcher-32 checksum per chunk, so damage is found when
a chunk is read; the large ones are compressed with Blosc2 (Zstandard, bytes shuffled), the small ones with gzip.
"""

from __future__ import annotations

from culture_neurons.store.attributions import read_attributions, write_attributions
from culture_neurons.store.merging import merge_statistics
from culture_neurons.store.rounding import EXACT, round_mantissa
from culture_neurons.store.scores import read_scores, write_scores
from culture_neurons.store.scratch import SampleSums, sample_sums
from culture_neurons.store.statistics import (
    NeuronSums,
    StatisticsWriter,
    bytes_on_disk,
    count_tokens,
    read_metadata,
    read_neurons,
    read_statistics,
    statistics_writer,
)

__all__ = [
    "EXACT",
    "NeuronSums",
    "SampleSums",
    "StatisticsWriter",
    "bytes_on_disk",
    "count_tokens",
    "merge_statistics",
    "read_attributions",
    "read_metadata",
    "read_neurons",
    "read_scores",
    "read_statistics",
    "round_mantissa",
    "sample_sums",
    "statistics_writer",
    "write_attributions",
    "write_scores",
]
