"""Batches of options' texts in as few rows as their tokens fill: short contexts lie behind each other in one row.

    row        c1 c2 c3 a1 b1 | d1 d2 a1 | e1 e2 e3     three contexts with their texts; each sees itself alone
    segment     0  0  0  0  0    1  1  1    2  2  2

Contexts of unequal lengths, and the neutral ones of PMI, would else be padded to the longest. A token sees what it sees
in a row of its own (`option_rows`), so that nothing changes but the order of additions.

Contexts with an image keep their order, since a model takes images in the order of their places. Not for models that
can't take branches, nor for those whose positions are no numbers of tokens (`positions`). Attribution and recording
read a row per question, and take batches as `inputs.process` makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from culture_neurons.models.inputs import Batch
from culture_neurons.models.loading import Loaded
from culture_neurons.models.option_rows import CONTEXT, PADDING, Spans
from culture_neurons.models.option_scores import OptionReads
from culture_neurons.models.positions import rope_index
from culture_neurons.models.shared_contexts import shares_contexts

#: Tokens of a row, where no context with its options is longer: whichever of these leaves the least padding. Two
#: contexts with a picture leave a seventh of 64 empty; wider rows cost more attention, little beside all else.
WIDTHS = (64, 96, 128)


@dataclass(frozen=True)
class Segment:
    """A row of a batch that becomes a part of another row.

    row        of the batch as it is
    group      segments of other groups are kept out of its row
    length     tokens, without padding
    has_image  whether it stays in its place among those with an image
    """

    row: int
    group: str
    length: int
    has_image: bool = False


def packed(loaded: Loaded, batch: Batch, by_culture: bool = False) -> tuple[Batch, list[str]]:
    """The batch in fewer rows, and of which culture each is.

    by_culture  whether each row must be of one culture, since masks differ by row (`OwnMasks`). Neutral contexts are
                there once for each culture then; else their culture is "", and so is that of all rows that are packed
    """
    cultures = [sample.culture for sample in batch.samples]
    reads = batch.reads
    if reads is None:
        return batch, cultures
    fits = _can_share_rows(loaded, batch)
    if not fits and not by_culture:
        return batch, [cultures[q] if q >= 0 else "" for q in reads.question]
    lengths = batch.inputs["attention_mask"].sum(dim=1).tolist()
    places = batch.inputs["input_ids"] == (-1 if loaded.image_token_id is None else loaded.image_token_id)
    has_image = places.any(dim=1).tolist()
    segments: dict[tuple[int, str], Segment] = {}
    spans: dict[tuple[int, str], int] = {}  # number of a span, group -> its new number

    def renumbered(numbers: np.ndarray) -> np.ndarray:
        result = np.full_like(numbers, -1)
        for (q, option), span in np.ndenumerate(numbers):
            if span >= 0:
                key = int(span), cultures[q] if by_culture else ""
                row = int(reads.spans.row[span, 0]), key[1]
                segments.setdefault(row, Segment(*row, lengths[row[0]], has_image[row[0]]))
                result[q, option] = spans.setdefault(key, len(spans))
        return result

    of_option = renumbered(reads.of_option)
    of_neutral = None if reads.of_neutral is None else renumbered(reads.of_neutral)
    rows = _tightest(list(segments.values())) if fits else [[segment] for segment in segments.values()]
    inputs, place = _concatenated(loaded, batch, rows)
    moved = _moved(reads.spans, spans, place)
    question = np.full(len(rows), -1)
    return (
        replace(batch, inputs=inputs, reads=OptionReads(moved, of_option, of_neutral, reads.characters, question,
                                                        reads.score)),
        [row[0].group for row in rows],
    )  # fmt: skip


def _can_share_rows(loaded: Loaded, batch: Batch) -> bool:
    """Whether contexts of a batch may lie in one row: a mask of ours tells them apart, and nothing else is by row."""
    if not shares_contexts(loaded) or rope_index(loaded) is not None:
        return False
    tokens = batch.inputs["attention_mask"].shape
    # Kinds of tokens let those of an image see each other; what has more axes than row and token says what each sees.
    kinds = batch.image_of and any("token_type_ids" in name for name in batch.inputs)
    return not kinds and not any(v.ndim > 2 and v.shape[:2] == tokens for v in batch.inputs.values())


def _tightest(segments: Sequence[Segment]) -> list[list[Segment]]:
    """The rows of that width of `WIDTHS` that leaves the least padding; of equal ones, of the narrowest."""
    return min((fill(segments, width) for width in WIDTHS), key=_tokens_with_padding)


def _tokens_with_padding(rows: Sequence[Sequence[Segment]]) -> int:
    return len(rows) * max(sum(segment.length for segment in row) for row in rows)


def fill(segments: Sequence[Segment], width: int) -> list[list[Segment]]:
    """Rows of segments of one group, none longer than `width` or than the longest segment. Those with an image come
    first, in their order, each into the last row or a new one; of the others the longest first, each into the first row
    that has room for it, behind all images there."""
    room = max(width, max(segment.length for segment in segments))
    rows: list[list[Segment]] = []
    left: list[int] = []

    def put(segment: Segment, start: int) -> None:
        candidates = (i for i in range(start, len(rows)) if rows[i][0].group == segment.group)
        at = next((i for i in candidates if left[i] >= segment.length), len(rows))
        if at == len(rows):
            rows.append([])
            left.append(room)
        rows[at].append(segment)
        left[at] -= segment.length

    with_image = [segment for segment in segments if segment.has_image]
    for segment in sorted(with_image, key=lambda segment: segment.row):
        put(segment, max(0, len(rows) - 1))
    for segment in sorted(segments, key=lambda segment: -segment.length):
        if not segment.has_image:
            put(segment, 0)
    return rows


def _concatenated(
    loaded: Loaded, batch: Batch, rows: Sequence[Sequence[Segment]]
) -> tuple[dict[str, torch.Tensor], dict[tuple[int, str], tuple[int, int]]]:
    """The inputs of such rows, padded on the left; and of each segment, by row and group, its new row, and how many
    tokens come behind it there."""
    valid = batch.inputs["attention_mask"].bool()
    width = max(sum(segment.length for segment in row) for row in rows)
    branch = batch.inputs.get("branch", torch.where(valid, CONTEXT, PADDING))
    old = {**batch.inputs, "branch": branch, "segment": torch.zeros_like(branch)}
    by_token = {name: values for name, values in old.items() if values.shape == valid.shape}
    padding = {"input_ids": loaded.tokenizer.pad_token_id, "branch": PADDING}
    inputs = old | {name: torch.full((len(rows), width), padding.get(name, 0), dtype=values.dtype)
                    for name, values in by_token.items()}  # fmt: skip
    place = {}
    for r, row in enumerate(rows):
        behind = sum(segment.length for segment in row)
        for number, segment in enumerate(row):
            start = width - behind
            behind -= segment.length
            place[segment.row, segment.group] = r, behind
            for name, values in by_token.items():
                inputs[name][r, start : start + segment.length] = values[segment.row][valid[segment.row]]
            inputs["segment"][r, start : start + segment.length] = number
    if max(map(len, rows)) == 1:
        del inputs["segment"]
        if "branch" not in batch.inputs:
            del inputs["branch"]
    return inputs, place


def _moved(
    spans: Spans, numbers: dict[tuple[int, str], int], place: dict[tuple[int, str], tuple[int, int]]
) -> Spans:
    """The spans of these (number, group) where their segments now are."""
    old = [number for number, _ in numbers]
    where = np.array([place[int(spans.row[number, 0]), group] for number, group in numbers])
    token = spans.token[old]
    read = token >= 0
    row = np.where(read, where[:, :1], spans.row[old])
    position = np.where(read, spans.position[old] + where[:, 1:], spans.position[old])
    return Spans(row, position, token)
