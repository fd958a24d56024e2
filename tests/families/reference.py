"""What the package should give, by other means: one question at a time, without padding; masks by editing weights;
neurons and gradients by hooks written here, on modules found by their widths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.pytorch_utils import Conv1D

from culture_neurons.data import prompts
from culture_neurons.types import Sample
from tests.families.building import accepts
from tests.families.experts import Experts, neurons
from tests.families.questions import PROMPT, open_picture

#: Parts of the names of modules that are no decoder of text.
_ELSEWHERE = ("vision", "visual", "audio", "image", "vit", "qformer", "connector", "projector", "perceiver", "merger",
              "tower", "vqmodel", "aligner", "sam_", "encoder")  # fmt: skip
_LINEAR = (nn.Linear, Conv1D)


@dataclass(frozen=True)
class Mlp:
    """One MLP: the projection back to the residual stream, and where act(a) is made: of what `source` puts out.

    start, stop  the units of `source` that are a
    """

    down: nn.Module
    source: nn.Module
    start: int
    stop: int
    act: Any


def inputs(model: nn.Module, processor: Any, sample: Sample) -> dict[str, torch.Tensor]:
    """One question through the family's own template and processor."""
    order = prompts.option_order(sample.sample_id, len(sample.options), PROMPT.seed)
    text = prompts.user_text(sample, order, PROMPT.instruction)
    sees = hasattr(processor, "image_processor")
    chat = prompts.messages(text, sample.image is not None) if sees else [{"role": "user", "content": text}]
    written = processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    arguments: dict[str, Any] = {"text": [written], "return_tensors": "pt"}
    if sample.image is not None:
        arguments["images"] = [[open_picture(sample.image)]]
    if "mm_token_type_ids" in getattr(processor, "model_input_names", ()):
        arguments["return_mm_token_type_ids"] = True
    given = _processed(processor, arguments)
    return {key: value for key, value in given.items() if key != "labels" and accepts(model, key)}


def _processed(processor: Any, arguments: dict[str, Any]) -> Any:
    """Images in a list of lists, or else in one list; words by the tokenizer, if the processor wants images."""
    refusals = (ValueError, TypeError, AttributeError)
    try:
        return processor(**arguments)
    except refusals:
        if "images" not in arguments:
            return processor.tokenizer(**arguments)
        return processor(**arguments | {"images": arguments["images"][0]})


def logits(model: nn.Module, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits at the last position, [vocabulary]."""
    more = {"use_cache": False} if accepts(model, "use_cache") else {}
    return model(**given, **more).logits[0, -1]


def log_probabilities(model: nn.Module, processor: Any, sample: Sample, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """log P of the letter of each option, in the options' original order."""
    tokenizer = getattr(processor, "tokenizer", processor)
    all_tokens = logits(model, given).log_softmax(dim=0)
    order = prompts.option_order(sample.sample_id, len(sample.options), PROMPT.seed)
    result = torch.empty(len(order), dtype=all_tokens.dtype)
    for position, option in enumerate(order):
        result[option] = all_tokens[tokenizer.convert_tokens_to_ids(prompts.LETTERS[position])]
    return result


def generate(model: nn.Module, processor: Any, given: dict[str, torch.Tensor], n: int) -> str:
    """Greedy decoding of at most n tokens by whole forward passes, each token appended to the prompt."""
    tokenizer = getattr(processor, "tokenizer", processor)
    stops = model.generation_config.eos_token_id
    stops = set(stops if isinstance(stops, list) else [stops])
    grown, new = dict(given), []
    for _ in range(n):
        new.append(int(logits(model, grown).argmax()))
        if new[-1] in stops:
            break
        grown = {key: _grown(key, value, grown["input_ids"].shape, new[-1]) for key, value in grown.items()}
    return tokenizer.decode(new, skip_special_tokens=True)


def _grown(key: str, value: torch.Tensor, shape: torch.Size, token: int) -> torch.Tensor:
    """An input of one number per token, for one token more: that is attended to, and is text; in Mllama, one that sees
    of the image what the token before it sees."""
    if key == "cross_attention_mask":
        return torch.cat([value, value[:, -1:]], dim=1)
    if value.shape != shape:
        return value
    more = {"input_ids": token, "attention_mask": 1}.get(key, 0)
    return torch.cat([value, torch.full_like(value[:, :1], more)], dim=1)


def mlps(model: nn.Module, width: int, given: dict[str, torch.Tensor]) -> list[Mlp]:
    """The MLPs of the decoder: modules that read `width` numbers, with the modules beside them that write `width` or
    twice as many; which half or module is gated is decided by the numbers of one pass. Raises LookupError."""
    parents = {child: parent for parent in model.modules() for child in parent.children()}
    named = [(name, module) for name, module in model.named_modules() if isinstance(module, _LINEAR)]
    downs = [m for name, m in named if _reads(m) == width and not any(part in name for part in _ELSEWHERE)]
    downs = [m for m in downs if _makers(parents[m], m, width)]
    seen: dict[nn.Module, torch.Tensor] = {}
    wanted = {m for down in downs for m in _makers(parents[down], down, width)}
    with hooks(wanted, lambda module, output: seen.__setitem__(module, output)), _entries(downs, seen):
        logits(model, given)
    return [_mlp(parents[down], down, width, seen, model) for down in downs if down in seen]


def _reads(module: nn.Module) -> int:
    return module.weight.shape[0] if isinstance(module, Conv1D) else module.in_features


def _writes(module: nn.Module) -> int:
    return module.weight.shape[1] if isinstance(module, Conv1D) else module.out_features


def _makers(parent: nn.Module, down: nn.Module, width: int) -> list[nn.Module]:
    children = [m for m in parent.children() if isinstance(m, _LINEAR) and m is not down]
    return [m for m in children if _writes(m) in (width, 2 * width) and _reads(m) == _writes(down)]


def _mlp(parent: nn.Module, down: nn.Module, width: int, seen: dict[nn.Module, torch.Tensor], model: nn.Module) -> Mlp:
    entered, halves = seen[down], []
    for maker in _makers(parent, down, width):
        halves += [(maker, start, start + width) for start in range(0, _writes(maker), width)]
    for source, start, stop in halves:
        a = seen[source][..., start:stop]
        others = [seen[m][..., i:j] for m, i, j in halves if (m, i) != (source, start)]
        for act in _activations(parent, model):
            made = act(a)
            for product in [made, *(made * other for other in others)]:
                if product.shape == entered.shape and torch.allclose(product, entered, rtol=1e-4, atol=1e-6):
                    return Mlp(down, source, start, stop, act)
    raise LookupError("no activation of what the MLP computes gives what enters its last projection")


def _activations(parent: nn.Module, model: nn.Module) -> Iterator[Any]:
    """Functions without weights that the MLP holds, and those that configurations name."""
    own = [m for m in parent.children() if not list(m.children()) and not isinstance(m, nn.Dropout | nn.LayerNorm)]
    yield from (m for m in own if not list(m.parameters()) or "act" in type(m).__name__.lower())
    yield from (ACT2FN[name] for name in ("silu", "gelu", "gelu_pytorch_tanh", "gelu_new", "relu", "relu2"))


@contextmanager
def hooks(modules: Any, react: Any) -> Iterator[None]:
    """Call react(module, output) after each module has run."""
    handles = [m.register_forward_hook(lambda module, args, output: react(module, output)) for m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _entries(modules: Sequence[nn.Module], seen: dict[nn.Module, torch.Tensor]) -> Iterator[None]:
    handles = [m.register_forward_pre_hook(lambda module, args: seen.__setitem__(module, args[0])) for m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def activations(model: nn.Module, found: Sequence[Mlp | Experts], given: dict[str, torch.Tensor]) -> torch.Tensor:
    """g, [layer, token, neuron], of one question; zeros behind the last neuron of a layer."""
    return padded(activations_of_layers(model, found, given)[0])


def padded(layers: Sequence[torch.Tensor]) -> torch.Tensor:
    """[token, neuron] of each layer, as one tensor with zeros behind the last neuron of a layer."""
    widest = max(values.shape[1] for values in layers)
    return torch.stack([nn.functional.pad(values, (0, widest - values.shape[1])) for values in layers])


def activations_of_layers(
    model: nn.Module, found: Sequence[Mlp | Experts], given: dict[str, torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """g of each layer, [token, neuron], of one question; and which experts tokens reach, [token, expert], of those
    layers that have any."""
    seen: dict[nn.Module, torch.Tensor] = {}
    dense = {mlp.source for mlp in found if isinstance(mlp, Mlp)}
    routed = [mlp.module for mlp in found if isinstance(mlp, Experts)]
    with hooks(dense, lambda module, output: seen.__setitem__(module, output)), _all_entries(routed, seen):
        logits(model, given)
    tokens = given["input_ids"].shape[1]
    reached = []

    def of_layer(mlp: Mlp | Experts) -> torch.Tensor:
        if isinstance(mlp, Experts):
            g, reaches = neurons(mlp, *seen[mlp.module])
            reached.append(reaches)
            return g
        if mlp.source not in seen:  # a layer of cross-attention, in a question without image
            return torch.zeros(tokens, mlp.stop - mlp.start)
        return _flat(mlp.act(seen[mlp.source][..., mlp.start : mlp.stop]))

    return [of_layer(mlp) for mlp in found], reached


@contextmanager
def _all_entries(modules: Sequence[nn.Module], seen: dict[nn.Module, Any]) -> Iterator[None]:
    """What modules of experts read: hidden states and the experts of each token."""

    def keep(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        seen[module] = (*args, *kwargs.values())[:2]

    handles = [m.register_forward_pre_hook(keep, with_kwargs=True) for m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _flat(values: torch.Tensor) -> torch.Tensor:
    """[token, unit]: some MLPs run on the tokens of all questions in one row."""
    return values.reshape(-1, values.shape[-1])


@contextmanager
def untied(found: Sequence[Mlp | Experts]) -> Iterator[None]:
    """Inside, layers that share the weight of their last projection (Zamba's) have one each."""
    downs = [mlp.down for mlp in found if isinstance(mlp, Mlp)]
    before = [down.weight for down in downs]
    again = [i for i, weight in enumerate(before) if any(weight is other for other in before[:i])]
    for i in again:
        downs[i].weight = nn.Parameter(before[i].clone(), requires_grad=False)
    try:
        yield
    finally:
        for i in again:
            downs[i].weight = before[i]


@contextmanager
def without(found: Sequence[Mlp | Experts], layer: Sequence[int], neuron: Sequence[int]) -> Iterator[None]:
    """The model whose last projections do not read these neurons: columns of zeros in their weights."""
    weights = [mlp.down if isinstance(mlp, Experts) else mlp.down.weight for mlp in found]
    before = [weight.clone() for weight in weights]
    try:
        for at, unit in zip(layer, neuron, strict=True):
            weight = weights[at]
            if isinstance(found[at], Experts):
                weight[unit // found[at].width, :, unit % found[at].width].zero_()
                continue
            (weight[unit] if isinstance(found[at].down, Conv1D) else weight[:, unit]).zero_()
        yield
    finally:
        for weight, kept in zip(weights, before, strict=True):
            weight.copy_(kept)


def attributions(
    model: nn.Module, processor: Any, sample: Sample, given: dict[str, torch.Tensor], modules: Sequence[nn.Module]
) -> tuple[float, list[torch.Tensor]]:
    """P of the right letter, and P max_t [a dP/da] of what each module puts out, [unit]."""
    kept: dict[nn.Module, torch.Tensor] = {}

    def keep(module: nn.Module, output: torch.Tensor) -> None:
        if not output.requires_grad:
            output.requires_grad_()
        output.retain_grad()
        kept[module] = output

    with torch.enable_grad(), hooks(modules, keep):
        p = log_probabilities(model, processor, sample, given)[sample.label].exp()
        p.backward()
    ran = [m in kept and kept[m].grad is not None for m in modules]
    scores = [
        _flat(kept[m].detach() * kept[m].grad).amax(dim=0) * p.detach() if known else torch.zeros(_writes(m))
        for m, known in zip(modules, ran, strict=True)
    ]
    return float(p), scores


def beside(model: nn.Module, mlp: Mlp) -> tuple[nn.Module, torch.Tensor]:
    """The units of `up` beside the gate of an MLP: the other half of a fused projection, or the other projection."""
    width = mlp.stop - mlp.start
    if _writes(mlp.source) == 2 * width:
        return mlp.source, torch.arange(width - mlp.start, 2 * width - mlp.start)
    parent = next(p for p in model.modules() if mlp.down in p.children())
    other = next(m for m in _makers(parent, mlp.down, width) if m is not mlp.source)
    return other, torch.arange(width)


def _is_own(name: str) -> bool:
    return not any(part in name for part in ("cross", "encoder"))


def attention_part(layer: nn.Module, site: str) -> nn.Module | None:
    """The module of this name in a layer's attention of its own tokens; None where there is none."""
    found = [
        module for name, module in layer.named_modules()
        if name.rpartition(".")[2] == site and isinstance(module, _LINEAR) and _is_own(name)
    ]  # fmt: skip
    return found[0] if len(found) == 1 else None
