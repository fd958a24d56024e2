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


class Reader(Protocol):
    """Reads the options of one batch.

    keep  logits of how many last positions it needs
    """

    keep: int

    def read(self, logits: torch.Tensor) -> Reading:
        """Read logits [row, position, vocabulary], of which the last `keep` positions count."""

    def is_well_formed(self, best: int, n_options: int) -> bool:
        """Whether the most likely token begins an answer to a question of so many options."""
