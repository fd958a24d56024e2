"""What is read off the logits of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class Reading:
    """What is read off the logits of a batch, still on the device.

    by_option  float32 [question, option], as they are shown: the log-probability of each option's letter in the whole
               vocabulary, or of each option's text among those of its question; -inf where there are fewer
    best       int64 [question]: the most likely token where the answer starts
    """

    by_option: torch.Tensor
    best: torch.Tensor


@dataclass(frozen=True)
class Positions:
    """Where the logits of a batch are wanted.

    keep    at so many last positions
    places  and of these here alone, int64 [2, place]: row, and position from the end (1 is the last one); None:
            everywhere. The head of a small model costs as much as some of its layers
    """

    keep: int = 1
    places: torch.Tensor | None = None


#: At the last position of each row.
LAST = Positions()


class Reader(Protocol):
    """Reads the options of one batch off the logits at `positions`."""

    positions: Positions

    def read(self, logits: torch.Tensor) -> Reading:
        """Read logits [row, position, vocabulary], as `forward.logits_at` gives them."""

    def is_well_formed(self, best: int, n_options: int) -> bool:
        """Whether the most likely token begins an answer to a question of so many options."""
