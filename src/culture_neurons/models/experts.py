"""The routed experts of a decoder layer: found by the shape of their weights, and checked by their numbers.

transformers holds them in one module, which computes for a token x, its experts e and their weights p_e

    sum over e of p_e down_e(act(gate_e x) * up_e x),    gated: weights [e, 2 m, h] and [e, h, m]
    sum over e of p_e down_e(act(fc_e x)),               plain: weights [e, m, h] and [e, h, m]

one expert after the other, each once for all its tokens, with an activation module between ("eager"; the other ways to
compute it show no expert's activation). Neuron n of expert e is act(...)_n, seen and ablated at that activation; which
tokens it is of follows from the routing that the module reads. Whether all of this is so is tried on random numbers,
and on a few tokens of the whole model. What a layer holds beside them, shared experts among it, is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models.mlp_numbers import close
from culture_neurons.models.mlps import evaluating, is_elementwise

#: Experts of a layer that are tried, and tokens.
_TRIED, _TOKENS = 8, 6
_ORDER = "its experts don't run one after the other, each once for all its tokens"


@dataclass(frozen=True)
class RoutedExperts:
    """The experts of one layer.

    name        path of the module from the layer
    activation  path of the activation from the module
    count       how many experts
    width       neurons of each
    """

    name: str
    module: nn.Module
    activation: str
    count: int
    width: int


#: Expert, its tokens (int64 [n], numbers in batch * token) and what its activation puts out, [n, neuron]; what is
#: returned takes the place of that.
See = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor | None]


def calls(index: torch.Tensor, count: int) -> list[tuple[int, torch.Tensor]]:
    """The experts that run and the tokens of each, int64 [n], in the order in which a module runs them.

    index  int [token, k]: the experts of each token; numbers from `count` on stand for no expert

    Experts come in ascending order, and the tokens of one by their place among the k, then by number.
    """
    flat = index.T.reshape(-1)
    order = torch.argsort(flat, stable=True) % len(index)
    numbers = torch.bincount(flat, minlength=count)[:count].tolist()
    by_expert = order[: sum(numbers)].split(numbers)
    return [(expert, tokens) for expert, tokens in enumerate(by_expert) if len(tokens)]


@contextmanager
def watched(
    experts: RoutedExperts, see: See, begin: Callable[[int], None] | None = None, end: Callable[[], None] | None = None
) -> Iterator[None]:
    """Call `see` for each expert that runs, between `begin(number of tokens)` and `end()` of each pass.

    Raises ModelError, during a pass, where experts run in another order than that of `calls`.
    """
    left: list[tuple[int, torch.Tensor]] = []

    def enter(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        index = [v for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor) and not v.is_floating_point()]
        if len(index) != 1 or index[0].ndim != 2:
            raise ModelError("what its experts read names no expert for each token")
        left[:] = reversed(calls(index[0], experts.count))
        if begin is not None:
            begin(len(index[0]))

    def run(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor | None:
        if not left or output.shape != (len(left[-1][1]), experts.width):
            raise ModelError(_ORDER)
        return see(*left.pop(), output)

    def leave(module: nn.Module, args: tuple, output: Any) -> None:
        if left:
            raise ModelError(_ORDER)
        if end is not None:
            end()

    with ExitStack() as hooks:
        hooks.enter_context(experts.module.register_forward_pre_hook(enter, with_kwargs=True))
        hooks.enter_context(experts.module.get_submodule(experts.activation).register_forward_hook(run))
        hooks.enter_context(experts.module.register_forward_hook(leave))
        yield


def find(layer: nn.Module) -> RoutedExperts | str:
    """The routed experts of a layer, or why there are none that can be analysed, in words; "" without a module that
    looks like them."""
    reasons, experts = [], []
    for name, module in layer.named_modules():
        weights = [value for value in module.parameters(recurse=False)]
        if len(weights) != 2 or any(value.ndim != 3 for value in weights):
            continue
        result = _identify(name, module, weights)
        (experts if isinstance(result, RoutedExperts) else reasons).append(result)
    if len(experts) > 1:
        return f"{experts[0].name} and {experts[1].name} both are experts"
    return experts[0] if experts else next(iter(reasons), "")


def _identify(name: str, module: nn.Module, weights: Sequence[torch.Tensor]) -> RoutedExperts | str:
    layouts = [(first, down) for first, down in permutations(weights) if _fits(first, down)]
    if not layouts:
        return f"{name} holds weights {' and '.join(' x '.join(map(str, w.shape)) for w in weights)}"
    if weights[0].device.type == "meta":
        return f"{name} can't be run, since its weights are not in memory"
    activations = [path for path, child in module.named_modules() if path and is_elementwise(child)]
    if not activations:
        return f"{name} has no activation module, at which its neurons could be seen"
    for first, down in layouts:
        for path in activations:
            experts = RoutedExperts(name, module, path, len(down), down.shape[2])
            try:
                with torch.no_grad(), evaluating(module):
                    good = _computes(experts, first, down)
            except ModelError as error:
                return f"{name}: {error}"
            except Exception as error:  # code of any model: what is wrong with it is not ours to tell apart
                return f"{name} can't be run alone ({type(error).__name__}: {str(error).partition(chr(10))[0][:80]})"
            if good:
                return experts
    return f"{name} does not compute down(act(gate x) * up x) or down(act(fc x)) of its weights"


def _fits(first: torch.Tensor, down: torch.Tensor) -> bool:
    """Whether shapes are those of experts, [e, m or 2 m, h] and [e, h, m]."""
    count, h, m = down.shape
    return first.shape[0] == count and first.shape[2] == h and first.shape[1] in (m, 2 * m)


def _computes(experts: RoutedExperts, first: torch.Tensor, down: torch.Tensor) -> bool:
    """Whether the module gives for random tokens what it should, and without the neurons of one expert too."""
    act = experts.module.get_submodule(experts.activation)
    n = max(1, min(experts.count - 1, _TRIED))  # some expert has no token
    k = min(n, 2)
    chosen = torch.linspace(0, experts.count - 1, n).round().long()
    index = chosen[(torch.arange(_TOKENS)[:, None] + torch.arange(k)) % n].to(first.device)
    random = torch.Generator().manual_seed(0)
    x = torch.randn(_TOKENS, first.shape[2], generator=random).to(first.device, first.dtype)
    p = (torch.rand(_TOKENS, k, generator=random) + 0.5).to(first.device, first.dtype)
    seen: list[tuple[int, torch.Tensor, torch.Tensor]] = []
    with watched(experts, lambda *call: seen.append((*call[:2], call[2].clone()))):
        output = experts.module(x, index, p)
    without = seen[0][0]
    with watched(experts, lambda expert, _, g: torch.zeros_like(g) if expert == without else None):
        less = experts.module(x, index, p)

    def expected(up_first: bool, left_out: int) -> torch.Tensor | None:
        result = torch.zeros(_TOKENS, down.shape[1], device=x.device)
        for expert, tokens, g in seen:
            a = F.linear(x[tokens], first[expert])
            gate, up = (a, None) if a.shape[1] == experts.width else a.chunk(2, dim=-1)[:: -1 if up_first else 1]
            if not close(g, act(gate.clone())):
                return None
            if expert != left_out:
                weight = (p * (index == expert)).sum(dim=1)[tokens, None]
                result[tokens] += (weight * F.linear(g if up is None else g * up, down[expert])).float()
        return result

    def agrees(given: torch.Tensor, wanted: torch.Tensor | None) -> bool:
        # `close` takes its tolerance from the type of what is given.
        return wanted is not None and close(given, wanted.to(given.dtype))

    return any(agrees(output, expected(half, -1)) and agrees(less, expected(half, without)) for half in (False, True))


def use_own_loop(model: nn.Module) -> None:
    """Have transformers run experts one after the other, in the model's own code."""
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")


def check_order(model: nn.Module, by_layer: Mapping[int, RoutedExperts]) -> None:
    """Raise ModelError unless experts read the tokens of one sample after those of another, and none that depend on
    other samples: of two samples, the second is changed."""
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    special = [v for c in (model.config, config) for name, v in vars(c).items() if "token" in name]
    ids = [i for i in range(3, config.vocab_size) if i not in special][:9]
    device = model.get_input_embeddings().weight.device
    read = []
    with torch.no_grad(), evaluating(model):
        for second in (ids[3:6], ids[6:]):
            given = torch.tensor([ids[:3], second], device="cpu" if device.type == "meta" else device)
            try:
                read.append(_read_by(model, by_layer, given))
            except ModelError:
                raise
            except Exception as error:  # code of any model
                line = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:80]}"
                raise ModelError(f"experts can't be checked in a model that does not run on words ({line})") from None
    for layer in by_layer:
        one, other = (of_layer[layer] for of_layer in read)
        if one.shape[0] != 6 or not close(one[:3], other[:3]) or close(one[3:], other[3:]):
            raise ModelError(f"the experts of layer {layer} read tokens in an unknown order, or of other samples too")


def _read_by(
    model: nn.Module, by_layer: Mapping[int, RoutedExperts], given: torch.Tensor
) -> dict[int, torch.Tensor]:  # fmt: skip
    """What the experts of each layer read, [token, hidden]."""
    read: dict[int, torch.Tensor] = {}

    def keep(layer: int) -> Callable[..., None]:
        def note(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
            if layer in read:
                raise ModelError(f"the experts of layer {layer} run twice in one pass")
            tensors = [v for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor) and v.is_floating_point()]
            read[layer] = tensors[0].detach().clone()

        return note

    with ExitStack() as hooks:
        for layer, experts in by_layer.items():
            hooks.enter_context(experts.module.register_forward_pre_hook(keep(layer), with_kwargs=True))
            hooks.enter_context(watched(experts, lambda *_: None))
        model(input_ids=given, attention_mask=torch.ones_like(given), use_cache=False)
    if missing := by_layer.keys() - read.keys():
        raise ModelError(f"the experts of layer {min(missing)} did not run")
    return read
