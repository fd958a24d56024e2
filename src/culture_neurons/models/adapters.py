"""Where the neurons of a loaded model are: its decoder layers and their MLPs.

What an MLP is, gated or plain, and that its numbers are what they should be: `models.mlps` and `models.mlp_numbers`.
The neurons of site `act_fn` are g = act(gate x) of a gated MLP, and act(fc x) of a plain one.

The layer axis counts decoder layers that have an MLP. In hybrid decoders (Nemotron-H, Zamba) others have none: these
hold what mixes tokens, and nothing else. In a layer with routed experts (`models.experts`) the neurons are theirs,
expert by expert; what else it holds, shared experts or a dense MLP, is named in `unseen`. Other layers with experts
(`models.branches`) or with more than one MLP are refused.

Vision towers have MLPs too, so only the decoder is searched: for known model types its path is written down; for others
it is what the model itself calls its decoder.

To add a model type whose decoder is not found: one line in `DECODER_LAYERS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models import branches
from culture_neurons.models import experts as routed
from culture_neurons.models.experts import RoutedExperts
from culture_neurons.models.mlp_numbers import Search, find
from culture_neurons.models.mlp_refusals import refusal
from culture_neurons.models.mlps import Function, Layout, Mlp, candidates
from culture_neurons.types import Experts

#: Model type (`config.model_type`) -> attribute path of the list of decoder layers.
DECODER_LAYERS = {
    "qwen2_5_vl": "model.language_model.layers",
    "llava_next": "model.language_model.layers",
}
#: What the attention of a layer is called; of the others, its output is not kept in replays.
_ATTENTIONS = ("self_attn", "self_attention", "attention", "attn")


@dataclass(frozen=True)
class Adapter:
    """The decoder of one model. Sequences of modules have one for each layer with an MLP, input side first.

    model_type      `config.model_type`
    layers          decoder layers that have an MLP: the layer axis of all results
    activations     where neurons are ablated: the activation module of the MLP, at its output; or, where there is none
                    of its own, the projection back to the residual stream, at its input (`reads_input`)
    n_neurons       neurons per layer (the MLP's intermediate width); of the widest one where layers differ (`widths`)
    mlps            the module that holds the MLP's parts; the layer itself in OPT
    attentions      the attention of each layer; None where there is none under a usual name
    layouts         how the parts of each layer's MLP are called
    up_first        whether the first half of a fused projection is up, and the second gate
    unseen          names of what layers hold beside attention and MLP, where no neurons are sought (Gemma 3n's laurel)
    decoder_layers  all decoder layers; the same as `layers` where each has an MLP
    functions       of gated MLPs without an activation module, by layer: from what gate puts out to g
    experts         of layers with routed experts, by layer; `mlps` and `activations` are the experts' there
    """

    model_type: str
    layers: Sequence[nn.Module]
    activations: Sequence[nn.Module]
    n_neurons: int
    mlps: Sequence[nn.Module] = ()
    attentions: Sequence[nn.Module | None] = ()
    layouts: Sequence[Layout] = ()
    up_first: bool = False
    unseen: Sequence[str] = ()
    decoder_layers: Sequence[nn.Module] = ()
    functions: Mapping[int, Function] = field(default_factory=dict)
    experts: Mapping[int, RoutedExperts] = field(default_factory=dict)
    #: Neurons of each layer.
    widths: Sequence[int] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths) or (self.n_neurons,) * len(self.layers))

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def expert_axis(self) -> Experts | None:
        """How neurons are shared out among experts; None for a model without any."""
        counts = [self.experts[i].count if i in self.experts else 0 for i in range(self.n_layers)]
        return Experts(self.widths, counts) if self.experts else None

    def part(self, layer: int, name: str) -> nn.Module | None:
        """The module that is gate, up or down of a layer's MLP; None where there is none of its own."""
        path = getattr(self.layouts[layer], name)
        return self.mlps[layer].get_submodule(path) if path else None

    def reads_input(self, layer: int) -> bool:
        """Whether the neurons of a layer are ablated at the input of `activations[layer]`, not at its output."""
        return bool(self.layouts) and not self.layouts[layer].activation

    @property
    def numbers(self) -> list[int]:
        """Of each layer with an MLP, its place among all decoder layers, from 0: messages call layers by it."""
        place = {id(layer): i for i, layer in enumerate(self.decoder_layers or self.layers)}
        return [place[id(layer)] for layer in self.layers]


def adapt(model: nn.Module) -> Adapter:
    """Find and check the MLPs of a model's decoder.

    A model with routed experts is told to run them in its own code (`experts.use_own_loop`).

    Raises ModelError, which says what was found and what was looked for, when there are none, when their widths differ,
    when an MLP or experts compute something else (`models.mlp_numbers`, `models.experts`), or when any layer has a
    second MLP.
    """
    model_type = str(getattr(getattr(model, "config", None), "model_type", type(model).__name__))
    decoder_layers = _decoder_layers(model, model_type)
    experts = _routed_experts(model, decoder_layers, model_type)
    layers_and_mlps = [
        (layer, _mlp_of(experts[i]) if i in experts else _only_mlp(layer, find(layer), model_type, i))
        for i, layer in enumerate(decoder_layers)
    ]
    with_mlp = [(layer, mlp) for layer, mlp in layers_and_mlps if mlp is not None]
    for i, (layer, mlp) in enumerate(layers_and_mlps):
        if mlp is None and (not with_mlp or branches.unknown_matrices(layer, [])):
            raise _no_mlp(model_type, i, layer, find(layer))
    layers, mlps = [layer for layer, _ in with_mlp], [mlp for _, mlp in with_mlp]
    if len({id(mlp.part("activation")) for mlp in mlps if mlp.layout.activation}) != len(mlps):
        mlps = [_without_activation(mlp) for mlp in mlps]
    activations = [mlp.part("activation" if mlp.layout.activation else "down") for mlp in mlps]
    if len({id(a) for a in activations}) != len(activations):
        raise ModelError(f"{model_type}: several layers share one MLP, so they can't be told apart")
    numbers = [number for number, (_, mlp) in enumerate(layers_and_mlps) if mlp is not None]
    by_layer = {i: experts[number] for i, number in enumerate(numbers) if number in experts}
    widths = [by_layer[i].count * by_layer[i].width if i in by_layer else mlp.width for i, mlp in enumerate(mlps)]
    if len(dense := {width for i, width in enumerate(widths) if i not in by_layer}) > 1:
        raise ModelError(f"{model_type}: MLPs have different widths {sorted(dense)}; expected one")
    up_first = {mlp.up_first for mlp in mlps if mlp.up_first is not None} or {False}
    if len(up_first) != 1:
        raise ModelError(f"{model_type}: the halves of its fused projection change places between layers")
    parts = [[getattr(mlp.layout, name) for name in ("gate", "up", "down")] for mlp in mlps]
    unseen = [
        name
        for i, (layer, mlp, of_mlp) in enumerate(zip(layers, mlps, parts, strict=True))
        for name in (
            _beside_experts(layer, mlp)
            if i in by_layer
            else branches.unknown_matrices(layer, [mlp.module.get_submodule(path) for path in of_mlp if path])
        )
    ]
    return Adapter(
        model_type,
        tuple(layers),
        tuple(activations),
        max(widths),
        mlps=tuple(mlp.module for mlp in mlps),
        attentions=tuple(map(_attention, layers)),
        layouts=tuple(mlp.layout for mlp in mlps),
        up_first=up_first.pop(),
        unseen=tuple(dict.fromkeys(unseen)),
        decoder_layers=tuple(decoder_layers),
        functions={i: mlp.function for i, mlp in enumerate(mlps) if mlp.function is not None},
        experts=by_layer,
        widths=widths,
    )


def _routed_experts(
    model: nn.Module, layers: Sequence[nn.Module], model_type: str
) -> dict[int, RoutedExperts]:  # fmt: skip
    """The experts of the layers that have any, by the number of the layer. Raises ModelError for others than routed
    ones that can be watched."""
    signs = {i: sign for i, layer in enumerate(layers) if (sign := branches.experts(layer))}
    if not signs:
        return {}
    routed.use_own_loop(model)
    result = {}
    for i, sign in signs.items():
        experts = routed.find(layers[i])
        if not isinstance(experts, RoutedExperts):
            raise _experts_refused(model_type, i, sign, experts or "these are no routed experts")
        if others := branches.bank(layers[i], experts.module):
            raise _experts_refused(model_type, i, others, f"these stand beside the routed experts {experts.name}")
        result[i] = experts
    try:
        routed.check_order(model, result)
    except ModelError as error:
        first = min(result)
        raise _experts_refused(model_type, first, signs[first], str(error)) from None
    return result


def _mlp_of(experts: RoutedExperts) -> Mlp:
    """Experts in the place of an MLP: its parts are no modules, but for the activation."""
    return Mlp(experts.name, experts.module, Layout("", "", "", experts.activation))


def _beside_experts(layer: nn.Module, experts: Mlp) -> list[str]:
    """What a layer holds beside its routed experts: dense MLPs and shared experts."""
    inside = [mlp.name for mlp in find(layer).mlps]
    return inside + [n for n in branches.unknown_matrices(layer, [experts.module]) if not _within(n, inside)]


def _within(name: str, others: Sequence[str]) -> bool:
    return any(f"{other}.".startswith(f"{name}.") for other in others)


def _only_mlp(layer: nn.Module, search: Search, model_type: str, index: int) -> Mlp | None:
    """The one MLP of a layer; None where nothing in it looks like one."""
    if len(search.mlps) > 1:
        first, second = (mlp.name or "the layer's own" for mlp in search.mlps[:2])
        raise ModelError(
            f"model type {model_type!r}: layer {index} has a second MLP ({second}) beside {first}; "
            "only models with one MLP per layer can be analysed"
        )
    if not search.mlps and search.failures:
        raise _no_mlp(model_type, index, layer, search)
    return search.mlps[0] if search.mlps else None


def _without_activation(mlp: Mlp) -> Mlp:
    """The same MLP where its activation is a module that other layers use too: there it is as good as a function."""
    if not (mlp.layout.activation and mlp.layout.down):  # experts have their own
        return mlp
    function = None if mlp.layout.plain else mlp.part("activation")
    return replace(mlp, layout=replace(mlp.layout, activation=""), function=function)


def _no_mlp(model_type: str, index: int, layer: nn.Module, search: Search) -> ModelError:
    doubts = [(name, reason) for name, reason in search.doubts if not branches.mixes_tokens(name)]
    if failures := search.failures or doubts:
        name, reason = failures[0]
        return refusal(model_type, f"the MLP of layer {index} {reason} ({name or 'in the layer itself'})", layer)
    return refusal(model_type, f"layer {index} has no MLP", layer)


def _experts_refused(model_type: str, layer: int, sign: str, why: str) -> ModelError:
    return ModelError(
        f"model type {model_type!r}: layer {layer} holds experts: {sign}\n"
        f"{why}; expected one module of routed experts, each an MLP with an activation module, or one dense MLP"
    )


def _attention(layer: nn.Module) -> nn.Module | None:
    modules = (getattr(layer, name, None) for name in _ATTENTIONS)
    return next((module for module in modules if isinstance(module, nn.Module)), None)


def _decoder_layers(model: nn.Module, model_type: str) -> Sequence[nn.Module]:
    path = DECODER_LAYERS.get(model_type)
    if path is not None:
        module: object = model
        for name in path.split("."):
            module = getattr(module, name, None)
        if isinstance(module, nn.ModuleList) and len(module):
            return module
        raise ModelError(f"model type {model_type!r}: DECODER_LAYERS in models/adapters.py says {path!r}, "
                         "but there is no list of layers")  # fmt: skip
    get_decoder = getattr(model, "get_decoder", None)
    decoder = get_decoder() if callable(get_decoder) else model
    everywhere = _lists_of_layers(model)
    prefix = next((name for name, module in model.named_modules() if module is decoder), "")
    inside = {name: x for name, x in everywhere.items() if not prefix or name.startswith(f"{prefix}.")} or everywhere
    own = [name for name in inside if "." not in name.removeprefix(prefix).removeprefix(".")]
    gated = [name for name, x in inside.items() if all(map(_looks_gated, x))]
    for names in (list(inside), own, gated):
        if len(names) == 1:
            return inside[names[0]]
    if not inside:
        raise refusal(model_type, "it has no list of layers with projections", model)
    raise refusal(
        model_type,
        f"which of its {len(inside)} lists of layers is the decoder is not known",
        model,
        "add the decoder's to DECODER_LAYERS in models/adapters.py: "
        + " or ".join(f'"{model_type}": "{name}"' for name in list(inside)[:6]),
    )


def _lists_of_layers(model: nn.Module) -> dict[str, nn.ModuleList]:
    """By path: the lists of modules that hold projections, without those inside of others."""
    result: dict[str, nn.ModuleList] = {}
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or name.startswith(tuple(f"{outer}." for outer in result)):
            continue
        if any(branches.matrices(member) > 1 for member in module):
            result[name] = module
    return result


def _looks_gated(layer: nn.Module) -> bool:
    return any(not layout.plain for candidate in candidates(layer) for layout in candidate.layouts)
