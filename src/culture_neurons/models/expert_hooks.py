"""Sums and gains of routed experts, whose activations come expert by expert, each for the tokens that reach it."""

from __future__ import annotations

import torch

from culture_neurons.errors import ModelError
from culture_neurons.models.experts import RoutedExperts


class ExpertSums:
    """Sums of one layer over one forward pass, float32 [batch, expert * neuron], and T [batch, expert].

    weights       bool [batch, token] on any device: which tokens count
    negative_sum  whether N is summed beside K and S

    Sums over tokens are products with rows of ones, exact for K and T below 2^24 tokens.
    """

    def __init__(self, experts: RoutedExperts, weights: torch.Tensor, negative_sum: bool) -> None:
        self._experts, self._weights, self._negative_sum = experts, weights, negative_sum
        self._values: list[torch.Tensor] = []
        self.tokens = torch.zeros(len(weights), experts.count)

    def begin(self, n_tokens: int) -> None:
        """A pass of so many tokens begins. Raises ModelError unless it is that of `weights`."""
        if n_tokens != self._weights.numel():
            raise ModelError(f"experts read {n_tokens} tokens; expected all of {tuple(self._weights.shape)}")

    def add(self, expert: int, tokens: torch.Tensor, g: torch.Tensor) -> None:
        """Add what the activation of one expert puts out, [n, neuron], at its tokens, numbers in batch * token."""
        batch, length = self._weights.shape
        if self.tokens.device != g.device or not self._values:
            self._weights, self.tokens = self._weights.to(g.device), self.tokens.to(g.device)
            n_sums, width = 3 if self._negative_sum else 2, self._experts.count * self._experts.width
            self._values = [torch.zeros(batch, width, device=g.device) for _ in range(n_sums)]
        member = torch.zeros(batch, len(tokens), device=g.device)  # 1 where a token counts, in the row of its sample
        member[tokens // length, torch.arange(len(tokens), device=g.device)] = self._weights.flatten()[tokens].float()
        wide = g.detach().float()
        at = slice(expert * self._experts.width, (expert + 1) * self._experts.width)
        positive = wide.clamp_min(0)
        terms = positive.sign(), positive, *([wide.clamp_max(0)] if self._negative_sum else [])
        for values, term in zip(self._values, terms, strict=True):
            values[:, at] = member @ term
        self.tokens[:, expert] = member.sum(dim=1)

    def values(self) -> tuple[torch.Tensor, ...]:
        """K, S and, if it is summed, N. Raises ModelError when no expert ran."""
        if not self._values:
            raise ModelError("no expert ran")
        return tuple(self._values)


def gain_at(gain: torch.Tensor, own: torch.Tensor | None, experts: RoutedExperts, expert: int, tokens: torch.Tensor,
            length: int) -> torch.Tensor:  # fmt: skip
    """What to multiply the activation of one expert by: [neuron], or [n, neuron] where prompts have masks of their own.

    gain    [mask, expert * neuron]
    own     int64 [prompt]: the mask of each prompt; None: the first, for all
    length  tokens of each prompt
    """
    part = gain[:, expert * experts.width : (expert + 1) * experts.width]
    return part[0] if own is None else part[own[tokens // length]]
