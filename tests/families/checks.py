"""One family, checked: what the package gives for a batch against `reference`, action by action."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from culture_neurons.errors import CultureNeuronsError
from culture_neurons.models import loading, padding
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.adapters import adapt
from culture_neurons.models.attribution import attribute, attributor
from culture_neurons.models.hooks import record
from culture_neurons.models.inference import answer, ask, on_device, reader_of
from culture_neurons.models.inputs import Batch, prepare
from culture_neurons.models.projections import projections
from culture_neurons.models.recording import activation_sums
from culture_neurons.models.vision import keep_image_features
from culture_neurons.types import PROJECTIONS, NeuronMask
from tests.families import building, reference
from tests.families.experts import Experts, experts_of
from tests.families.questions import GENERATE, PROMPT, open_picture, samples

ACTIONS = ("answer", "record", "ablate", "attribute", "generate")
#: Numbers of float32 may be so far apart, where they are not large.
_TOLERANCE = 1e-5
_ALL_WITH_IMAGE = "expected an image with every question"
_ENCODER = "tokens see what follows them, as in an encoder"


class Differs(Exception):
    """What the package gives is not what it should be."""


def check(model_type: str, folder: Path, **more: Any) -> dict[str, Any]:
    """What works: `text` and, for a family that sees, `images`: action -> "" or why not; `refused`: why it does not
    load at all. The model is saved in `folder`; `more` for its configuration."""
    if building.has_encoder(model_type):
        return {"refused": "an encoder beside the decoder"}
    try:
        model = building.model(model_type, **more)
    except ImportError as error:
        return {"refused": f"wants the package {_package(error)}"}
    sees = building.families()[model_type].sees
    # A family that sees may read its prompt both ways (PaliGemma): the answer is at its end.
    causal = sees or _is_causal(model)
    model.save_pretrained(folder)
    try:
        building.processor(model_type).save_pretrained(folder)
        settings = _settings(model_type, folder)
        loaded = loading.load(settings | {"dtype": "float32"})
        padding.check_padding(loaded)
    except Exception as error:
        return {"refused": _why_not(model, error, folder) if causal else _ENCODER}
    if not causal:
        return {"refused": f"loads, but {_ENCODER}"}
    result: dict[str, Any] = {
        "mlps": f"{loaded.adapter.n_layers} of {loaded.adapter.n_neurons}", "sites": _sites(loaded),
        "plain": all(layout.plain for layout in loaded.adapter.layouts),
    }  # fmt: skip
    for mode in ("text", "images") if sees else ("text",):
        result[mode] = _all_actions(loaded, settings, mode == "images")
    return result


def _why_not(model: nn.Module, error: Exception, folder: Path) -> str:
    """Why a family does not load. Where it is its processor that can't be had, the structure of the model may be a
    reason too, and a better one."""
    try:
        adapt(model)
    except CultureNeuronsError as refusal:
        return reason(refusal)
    if isinstance(error, ImportError):
        return f"wants the package {_package(error)}"
    if isinstance(error, CultureNeuronsError):
        return reason(error).replace(str(folder), "its folder")
    return f"not checked: {reason(error)}".replace(str(folder), "its folder")


def _settings(model_type: str, folder: Path) -> dict[str, str]:
    """The stanza of a model. Some processors lose a chat template in their folder: then the stanza says `none`."""
    settings = {"name": model_type, "path": str(folder)}
    if building.families()[model_type].sees and not building.keeps_template(folder):
        settings["chat_template"] = "none"
    return settings


def _all_actions(loaded: loading.Loaded, settings: dict[str, str], images: bool) -> dict[str, str]:
    """Action -> "" or why not. Without right answers nothing else is looked at."""
    case = Case(loaded, settings, images)
    outcome = {"answer": _tried(case.answer)}
    if images and outcome["answer"].endswith(_ALL_WITH_IMAGE):
        case = Case(loaded, settings, True, bare=False)
        outcome = {"answer": _tried(case.answer)}
    for action in ACTIONS[1:]:
        outcome[action] = _tried(getattr(case, action)) if not outcome["answer"] else "no answers"
    return outcome


def _tried(action: Callable[[], None]) -> str:
    try:
        action()
    except Exception as error:
        return reason(error)
    return ""


class Case:
    """A loaded family and its questions, with images or without.

    settings   its stanza, but for the type of its numbers
    bare       whether a question among those with images has none
    """

    def __init__(self, loaded: loading.Loaded, settings: dict[str, str], images: bool, bare: bool = True) -> None:
        self.loaded, self.model, self.settings = loaded, loaded.model, settings
        self.images, self.bare, self.samples = images, bare, samples(images, bare=bare)
        self._found: list[reference.Mlp] | None = None
        self._alone: list[dict[str, torch.Tensor]] | None = None

    @property
    def alone(self) -> list[dict[str, torch.Tensor]]:
        """The inputs of each question alone."""
        if self._alone is None:
            self._alone = [reference.inputs(self.model, self.loaded.processor, sample) for sample in self.samples]
        return self._alone

    @property
    def mlps(self) -> list[reference.Mlp]:
        if self._found is None:
            layers, width = list(enumerate(self.loaded.adapter.layers)), self.width_of_dense
            routed = {i: experts_of(layer) for i, layer in layers if i in self.loaded.adapter.experts}
            with torch.inference_mode():
                # Some layers run only where there is an image.
                sees = self.loaded.image_token_id is not None
                try:
                    given = reference.inputs(self.model, self.loaded.processor, samples(sees)[0])
                    found = reference.mlps(self.model, width, given)
                except (ValueError, RuntimeError, TypeError, IndexError):
                    found = reference.mlps(self.model, width, self.alone[0])
            if routed:  # shared experts beside them are none of the layer's neurons
                inside = {i: set(layer.modules()) for i, layer in layers if i not in routed}
                dense = {i: mlp for i, modules in inside.items() for mlp in found if mlp.down in modules}
                found = [routed.get(i, dense.get(i)) for i, _ in layers if i in routed or i in dense]
            if len(found) != self.loaded.adapter.n_layers:
                raise Differs(f"{self.loaded.adapter.n_layers} layers are adapted, {len(found)} MLPs ran")
            self._found = found
        return self._found

    @property
    def width_of_dense(self) -> int:
        """Neurons of MLPs without experts; 0 without any."""
        adapter = self.loaded.adapter
        return max((width for i, width in enumerate(adapter.widths) if i not in adapter.experts), default=0)

    def batch(self, loaded: loading.Loaded | None = None) -> Batch:
        return prepare(loaded or self.loaded, self.samples, open_picture, PROMPT)

    @cached_property
    def expected(self) -> list[torch.Tensor]:
        """Log-probabilities of the options of each question, of the model as it is."""
        return self.expected_now()

    def expected_now(self) -> list[torch.Tensor]:
        pairs = zip(self.samples, self.alone, strict=True)
        with torch.inference_mode():
            return [reference.log_probabilities(self.model, self.loaded.processor, s, given) for s, given in pairs]

    def answer(self) -> None:
        if self.images:
            square = Case(self.loaded, self.settings, True)
            square.samples = samples(True, square=True, bare=self.bare)
            square.compare_answers("square ")
        self.compare_answers()

    def compare_answers(self, pictures: str = "") -> None:
        given = answer(self.loaded, self.batch(), PROMPT)
        expected = self.expected
        for one, other, sample in zip(given, expected, self.samples, strict=True):
            _same(one.logprobs, other.tolist(), f"log-probabilities of {pictures}question {sample.sample_id}")
        if np.ptp([float(other.max()) for other in expected]) < 1e-3:
            raise Differs("the model answers nothing: its logits do not depend on the question")

    def record(self) -> None:
        batch = self.batch()
        with record(self.loaded.adapter) as recorder:
            tokens, fired, positive = activation_sums(self.loaded, batch, "all", recorder)
        for i, given in enumerate(self.alone):
            with torch.inference_mode():
                layers, reached = reference.activations_of_layers(self.model, self.mlps, given)
            g = reference.padded(layers).double()
            expected = [given["input_ids"].shape[1], *(n for of_layer in reached for n in of_layer.sum(dim=0).tolist())]
            if np.atleast_1d(tokens[i]).tolist() != expected:
                raise Differs(f"{tokens[i]} tokens are counted, not {expected}")
            _same(positive[i], g.clamp_min(0).sum(dim=1).numpy(), f"sums of question {i}")
            lowest, highest = (g > 1e-6).sum(dim=1).numpy(), (g > -1e-6).sum(dim=1).numpy()
            if ((fired[i] < lowest) | (fired[i] > highest)).any():
                raise Differs(f"counts of question {i} are others")

    def ablate(self) -> None:
        masks = [self.mask(0, first=0), self.mask(6, first=0), self.mask(8, first=self.loaded.adapter.n_layers - 1)]
        with evaluator(self.loaded, masks, PROMPT) as evaluate:
            answers = evaluate(self.batch())
        plain = self.expected
        for mask, given in zip(masks, answers, strict=True):
            cut = reference.without(self.mlps, mask.layer.tolist(), mask.neuron.tolist())
            with torch.inference_mode(), reference.untied(self.mlps), cut:
                expected = self.expected_now() if len(mask) else plain
            for one, other, sample in zip(given, expected, self.samples, strict=True):
                _same(one.logprobs, other.tolist(), f"answers under {len(mask)} neurons, question {sample.sample_id}")
            moved = max(float((a - b).abs().max()) for a, b in zip(expected, plain, strict=True))
            if len(mask) and moved < 100 * _TOLERANCE:
                raise Differs("the mask changes nothing, in the reference too")
        self.empty_mask_in_bfloat16()

    def empty_mask_in_bfloat16(self) -> None:
        """An empty mask gives the same bits as no mask."""
        loaded = loading.load(self.settings | {"dtype": "bfloat16"})
        masks = [self.mask(0, first=0), self.mask(6, first=0)]
        with evaluator(loaded, masks, PROMPT) as evaluate:
            under = evaluate(self.batch(loaded))[0]
        for one, other in zip(under, answer(loaded, self.batch(loaded), PROMPT), strict=True):
            if one.logprobs != other.logprobs:
                raise Differs("bfloat16: an empty mask changes the answers")

    def mask(self, size: int, first: int) -> NeuronMask:
        """Neurons of the layers from `first` on, every third of a layer."""
        rng = np.random.default_rng(3)
        layer = np.sort(rng.integers(first, self.loaded.adapter.n_layers, size))
        rounds, neuron = divmod(np.arange(size) * 3, self.loaded.adapter.n_neurons)
        neuron += rounds
        if self.loaded.adapter.experts:  # few tokens reach one: those of all questions that are strongest
            with torch.inference_mode():
                g = sum(reference.activations(self.model, self.mlps, given).abs().sum(dim=1) for given in self.alone)
            neuron = np.array([g[at].argsort(descending=True)[i].item() for i, at in enumerate(layer)], dtype=int)
        return NeuronMask("x", np.array(["act_fn"] * size), layer, neuron)

    def attribute(self) -> None:
        sites = _sites(self.loaded)
        if not sites:
            with attributor(self.loaded, PROJECTIONS):  # it says why
                raise Differs("no site of attribution")
        batch = self.batch()
        with attributor(self.loaded, sites) as hooks:
            p, by_site = attribute(self.loaded, batch, hooks)
        places = {site: _places(self.loaded, self.mlps, site) for site in sites}
        modules = list(dict.fromkeys(place[0] for of_site in places.values() for place in of_site if place))
        for i, (sample, given) in enumerate(zip(self.samples, self.alone, strict=True)):
            expected, scores = reference.attributions(self.model, self.loaded.processor, sample, given, modules)
            of_module = dict(zip(modules, scores, strict=True))
            # They are small: to 1e-4 of the largest, and not to 1e-5.
            largest = 10 * max(float(score.abs().max()) for score in scores)
            _same([p[i]], [expected], f"probability of question {sample.sample_id}")
            for site in sites:
                for layer, place in enumerate(places[site]):
                    given_here, what = by_site[site][i][layer], f"attributions of {site}, question {sample.sample_id}"
                    wanted = of_module[place[0]][place[1]].numpy() if place else np.empty(0)
                    _same(given_here[: len(wanted)] / largest, wanted / largest, what)
                    if not np.isnan(given_here[len(wanted) :]).all():
                        raise Differs(f"{what}: layer {layer} has more units than {len(wanted)}")

    def generate(self) -> None:
        padding.check_padding(self.loaded, generates=True)
        batch = prepare(self.loaded, self.samples, open_picture, GENERATE)
        with torch.inference_mode(), keep_image_features(self.model, batch.image_of):
            _, texts = ask(self.loaded, on_device(self.loaded, batch), GENERATE, reader_of(self.loaded, batch))
        for text, given, sample in zip(texts, self.alone, self.samples, strict=True):
            with torch.inference_mode():
                expected = reference.generate(self.model, self.loaded.processor, given, GENERATE.max_new_tokens)
            if text != expected:
                raise Differs(f"question {sample.sample_id} generates {text!r}, not {expected!r}")


def _sites(loaded: loading.Loaded) -> list[str]:
    """The sites of attribution that the model has."""
    sites = []
    for site in PROJECTIONS:
        try:
            with attributor(loaded, [site]):
                has_site = any(projections(loaded.adapter, [site])[site])
            sites += [site] if has_site else []
        except CultureNeuronsError:
            continue
    return sites


def _places(
    loaded: loading.Loaded, found: list[reference.Mlp], site: str
) -> list[tuple[nn.Module, torch.Tensor] | None]:
    """Per layer, the module of a site and its units; None where the layer has no such site.

    Where a module of the attention holds more than one site, the package is asked which units are whose;
    its own tests are about that.
    """
    dense = [None if isinstance(mlp, Experts) else mlp for mlp in found]
    if site == "gate_proj":
        return [mlp and (mlp.source, torch.arange(mlp.start, mlp.stop)) for mlp in dense]
    if site == "up_proj":
        return [mlp and reference.beside(loaded.model, mlp) for mlp in dense]
    given = projections(loaded.adapter, [site])[site]
    places = []
    for layer, projection in zip(loaded.adapter.layers, given, strict=True):
        outputs = getattr(projection, "outputs", lambda p=projection: torch.arange(p.start, p.stop))
        places.append(projection and (reference.attention_part(layer, site) or projection.module, outputs()))
    return places


def _same(given: Any, expected: Any, what: str) -> None:
    """Raise Differs unless numbers agree to 1e-5, or to 1e-5 of the largest where that is above 1."""
    given, expected = np.asarray(given, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if given.shape != expected.shape:
        raise Differs(f"{what}: {given.shape}, not {expected.shape}")
    apart = np.abs(given - expected).max(initial=0)
    if not apart <= _TOLERANCE * max(1, np.abs(expected).max(initial=0)):
        raise Differs(f"{what} are {apart:.1g} apart")


@torch.inference_mode()
def _is_causal(model: nn.Module) -> bool:
    """Whether an early logit does not depend on the last token; True where that can't be tried."""
    ids = torch.arange(40, 49)[None]
    other = ids.clone()
    other[0, -1] = 60
    try:
        one, two = (model(input_ids=x, attention_mask=torch.ones_like(x)).logits for x in (ids, other))
    except Exception:
        return True
    if one.shape[1] != ids.shape[1]:
        return True
    return bool(torch.allclose(one[0, :-1], two[0, :-1], atol=1e-4))


def reason(error: BaseException) -> str:
    """An error in a line: what the package says, without the model's name; of others, the kind too."""
    text = str(error).strip().partition("\n")[0]
    text = re.sub(r"^model( type)? '[^']*'(\s*\([^)]*\))?: ", "", text)
    if isinstance(error, Differs):
        return text
    if isinstance(error, CultureNeuronsError):
        return text
    return f"{type(error).__name__}: {text}"


def _package(error: ImportError) -> str:
    match = re.search(r"pip install `?([\w-]+)", str(error))
    return match.group(1) if match else str(error).strip().partition("\n")[0]
