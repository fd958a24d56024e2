"""Whether a module of a decoder layer is its MLP (`models.mlps`): the numbers that it computes decide.

It runs once on random numbers, with dropout off. Of a gated MLP, activation and projections must give
g = act(gate x), and down(g * up x) what the module puts out; of a plain one, g = act(fc x) and down(g).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from culture_neurons.models.mlps import GATED_NAMES, Candidate, Function, Layout, Mlp, candidates, evaluating, sizes

#: How reasons begin.
_COMPUTES_NOT, _RUNS_NOT = "does not compute", "can't be run alone"


@dataclass
class Search:
    """The MLPs of one layer; and why others are none, (path, reason): those with an activation, and those without."""

    mlps: list[Mlp] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    doubts: list[tuple[str, str]] = field(default_factory=list)


def find(layer: nn.Module) -> Search:
    """The MLPs of a decoder layer, each checked by its numbers (see the module)."""
    search = Search()
    for candidate in candidates(layer):
        inside = f"{candidate.name}." if candidate.name else ""
        if any(mlp.name.startswith(inside) for mlp in search.mlps):
            continue  # what holds an MLP, and maybe a norm and a residual around it
        result = identify(candidate)
        if isinstance(result, Mlp):
            search.mlps.append(result)
        elif candidate.activations:
            search.failures.append((candidate.name, result))
        else:  # its shape says little: an attention can have it
            search.doubts.append((candidate.name, result))
    return search


def identify(candidate: Candidate) -> Mlp | str:
    """The MLP that a candidate is, or why it is none, as words that go on after its name."""
    device = _device(candidate.module, candidate.layouts[0])
    if device is None:
        return _by_names(candidate)
    reasons = []
    with torch.no_grad(), evaluating(candidate.module):
        # Widths alone don't say which side is the residual stream.
        for hidden in dict.fromkeys(_hidden(candidate, layout) for layout in candidate.layouts):
            result = _of_width(candidate, hidden, device)
            if isinstance(result, Mlp):
                return result
            reasons.append(result)
    return _best(reasons)


def _hidden(candidate: Candidate, layout: Layout) -> int:
    return sizes(candidate.module.get_submodule(layout.gate))[0]


def _of_width(candidate: Candidate, hidden: int, device: torch.device) -> Mlp | str:
    run = _run(candidate, hidden, device)
    if isinstance(run, str):
        return run
    reasons = []
    for layout in candidate.layouts:
        if _hidden(candidate, layout) != hidden:
            continue
        for activation in candidate.activations or [""]:
            result = _check(candidate, replace(layout, activation=activation), run)
            if isinstance(result, Mlp):
                return result
            reasons.append(result)
    return _best(reasons)


def _best(reasons: Sequence[str]) -> str:
    """That of the widths and parts that fit best."""
    return max(reasons, key=lambda reason: (reason.startswith(_COMPUTES_NOT), not reason.startswith(_RUNS_NOT)))


@dataclass(frozen=True)
class _Run:
    """What a module and its parts gave for random numbers.

    x        random numbers, [batch, token, hidden]: two samples, so that what is flat shows in which order it is
    outputs  by path, of projections and activations, one tensor per run
    inputs   by path, of projections
    calls    of functions of one tensor: the function with its further arguments, what it read, and what it gave
    output   of the module
    """

    x: torch.Tensor
    outputs: dict[str, list[torch.Tensor]]
    inputs: dict[str, list[torch.Tensor]]
    calls: list[tuple[Function, torch.Tensor, torch.Tensor]]
    output: torch.Tensor

    def once(self, path: str, width: int) -> torch.Tensor | None:
        """What a part put out, [batch, token, width], if it ran once and on so many numbers."""
        return _of_tokens(self.outputs[path], self.output, width)


def _of_tokens(values: Sequence[torch.Tensor], output: torch.Tensor, width: int) -> torch.Tensor | None:
    if len(values) != 1 or values[0].shape[-1] != width or values[0].numel() != output[..., 0].numel() * width:
        return None
    return values[0].reshape(*output.shape[:-1], width)


def _run(candidate: Candidate, hidden: int, device: torch.device) -> _Run | str:
    module, layout = candidate.module, candidate.layouts[0]
    projections = list(dict.fromkeys(p for x in candidate.layouts for p in (x.gate, x.up, x.down) if p))
    outputs: dict[str, list[torch.Tensor]] = {path: [] for path in (*projections, *candidate.activations)}
    inputs: dict[str, list[torch.Tensor]] = {path: [] for path in outputs}

    def note(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple, output: torch.Tensor) -> None:
            # Copies: an activation may write into what it reads.
            outputs[path].append(output.clone())
            inputs[path].append(args[0].clone())

        return hook

    weight = module.get_submodule(layout.gate).weight
    dtype = weight.dtype if weight.dtype.is_floating_point else torch.float32
    if dtype.itemsize == 1:  # float8 weights compute in a wider type
        dtype = torch.bfloat16
    x = torch.randn(2, 3, hidden, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    calls = _Calls()
    with ExitStack() as stack:
        for path in outputs:
            stack.enter_context(module.get_submodule(path).register_forward_hook(note(path)))
        if not candidate.activations:
            stack.enter_context(calls)
        try:
            output = _output(module, x)
        except Exception as error:  # code of any model: what is wrong with it is not ours to tell apart
            return f"{_RUNS_NOT} ({type(error).__name__}: {str(error).partition(chr(10))[0][:80]})"
    return _Run(x, outputs, inputs, calls.seen, output)


def _output(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What a module puts out; BLOOM's and MPT's MLPs add the residual themselves, which is zero here."""
    parameters = inspect.signature(module.forward).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    output = module(x, *[torch.zeros_like(x)] * (len(needed) - 1))
    return output[0] if isinstance(output, tuple) else output


class _Calls(TorchFunctionMode):
    """Notes functions of one tensor that are called inside."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Function, torch.Tensor, torch.Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        before = args[0].clone() if args and isinstance(args[0], torch.Tensor) else None
        result = func(*args, **kwargs)
        others = (*args[1:], *kwargs.values())
        if before is None or not isinstance(result, torch.Tensor) or result.shape != before.shape:
            return result
        if torch.equal(before, args[0]) and not any(isinstance(other, torch.Tensor) for other in others):
            self.seen.append((lambda x: func(x, *args[1:], **kwargs), before, result.clone()))
        return result


def _check(candidate: Candidate, layout: Layout, run: _Run) -> Mlp | str:
    """The MLP of this layout, or what in the numbers says that it is none."""
    module = candidate.module
    mlp = Mlp(candidate.name, module, layout)
    m = mlp.width
    fused = not layout.plain and not layout.up
    first = run.once(layout.gate, 2 * m if fused else m)
    up = run.once(layout.up, m) if layout.up else None
    if first is None or (layout.up and up is None):
        return f"runs its projections {[len(run.outputs[p]) for p in (layout.gate, layout.up) if p]} times"
    if layout.activation:
        runs = run.outputs[layout.activation]
        if (g := run.once(layout.activation, m)) is None:
            return f"runs its activation {layout.activation} {len(runs)} times, or not on {m} neurons"
        if runs[0].ndim == 2 and not _by_sample(mlp, run):
            return f"gives what {layout.activation} puts out in an unknown order"
    halves = first.chunk(2, dim=-1) if fused else (first, up)
    # Which half is gate, the numbers say.
    for up_first in (False, True) if fused else (None,):
        gate, up = halves[::-1] if up_first else halves
        for function in [None] if layout.activation else _chains(gate, run.calls):
            if function is None:
                act = module.get_submodule(layout.activation)
                if not close(g, act(gate.clone())):
                    continue
            else:
                g = function(gate.clone())
            if _reaches(mlp, run, g if up is None or layout.plain else g * up):
                return replace(mlp, up_first=up_first, function=None if layout.plain else function)
    return f"{_COMPUTES_NOT} {layout}"


def _chains(gate: torch.Tensor, calls: Sequence[tuple[Function, torch.Tensor, torch.Tensor]]) -> Iterator[Function]:
    """The functions that ran on the gate, one after the other: the first, the first two, and so on."""
    chain: list[Function] = []
    value = gate
    for function, read, gave in calls:
        if read.shape == value.shape and torch.equal(read, value) and not torch.equal(gave, read):
            chain, value = [*chain, function], gave
            yield partial(_in_turn, tuple(chain))


def _in_turn(functions: Sequence[Function], x: torch.Tensor) -> torch.Tensor:
    for function in functions:
        x = function(x)
    return x


def _reaches(mlp: Mlp, run: _Run, neurons: torch.Tensor) -> bool:
    """Whether `neurons` are what the projection back reads; and the module gives nothing else than that projection.

    A layer adds the residual: there it is enough that the projection read them.
    """
    if mlp.name:
        return close(run.output, mlp.part("down")(neurons))
    read = _of_tokens(run.inputs[mlp.layout.down], run.output, mlp.width)
    return read is not None and close(read, neurons)


def _by_sample(mlp: Mlp, run: _Run) -> bool:
    """Whether what the activation puts out as [batch * token, neuron] has the samples one after the other: without its
    first half, the first of two samples changes and the second does not."""

    def cut(_: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(output[: len(output) // 2]), output[len(output) // 2 :]])

    with mlp.part("activation").register_forward_hook(cut):
        after = _output(mlp.module, run.x)
    return not close(after[0], run.output[0]) and close(after[1], run.output[1])


def _device(module: nn.Module, layout: Layout) -> torch.device | None:
    """Where a module can be run; None where its weights are not there. accelerate brings those on disk in itself."""
    for path in (layout.gate, layout.down):
        part = module.get_submodule(path)
        if part.weight.device.type != "meta":
            return part.weight.device
        if (device := getattr(getattr(part, "_hf_hook", None), "execution_device", None)) is not None:
            return torch.device(device)
    return None


def _by_names(candidate: Candidate) -> Mlp | str:
    """The MLP as its shape says, and for gate and up their names, where nothing can be run."""
    known = [x for x in candidate.layouts if not x.up or (x.gate, x.up, x.down) in GATED_NAMES]
    if len(known) != 1 or len(candidate.activations) != 1:
        return "can't be run, since its weights are not in memory, and its names don't say which part is which"
    return Mlp(candidate.name, candidate.module, replace(known[0], activation=candidate.activations[0]))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two results agree to 1e-4 of their scale (half precision: 5e-2)."""
    tolerance = 1e-4 if a.dtype in (torch.float32, torch.float64) else 5e-2
    scale = b.float().abs().max().clamp_min(1e-6)
    return a.shape == b.shape and bool(((a.float() - b.float()).abs().max() / scale) <= tolerance)
