"""Parts of a model that a fine-tuning updates: rows of projections, or low-rank adapters beside them.

A fused projection (q, k and v of Phi-3, gate and up of GLM-4) holds several modules side by side: what is updated are
the rows of one of them. A low-rank adapter of a fused projection is one for all of its modules (they share its input
side), and its output side has rows for the chosen modules alone; the others stay 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from culture_neurons import files
from culture_neurons.errors import ConfigError, FileError, ModelError
from culture_neurons.models.loading import Loaded
from culture_neurons.models.projections import Projection, Site, projections
from culture_neurons.seeds import generator

#: A module: a site of `types.PROJECTIONS`, and a layer.
Module = tuple[str, int]
_KEY = "culture_neurons"


@dataclass(frozen=True)
class Part:
    """The rows of a parameter that make the outputs of a projection; `name` tells them in the file of an update."""

    name: str
    parameter: nn.Parameter
    of: Projection

    @property
    def values(self) -> torch.Tensor:
        """These rows, in the memory of the parameter."""
        return self.rows(self.parameter.data)

    def rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """These rows of a tensor like the parameter, in its memory; [group, row, ...] where they lie in several
        stretches."""
        if self.of.groups == 1:
            return tensor[self.of.start : self.of.stop]
        return tensor.unflatten(0, (self.of.groups, self.of.period))[:, self.of.start : self.of.stop]


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters: W x + alpha / rank * B A dropout(x), with A [rank, in], B [out, rank], B = 0 at first."""

    rank: int = 8
    alpha: float = 16
    dropout: float = 0.0


@contextmanager
def attach(loaded: Loaded, modules: Sequence[Module], lora: Lora | None, seed: int = 0) -> Iterator[list[Part]]:
    """The parts of the model that an update of `modules` changes; on exit the model is as it was.

    lora    None: weight (and bias) of the modules themselves; else adapters in float32, whose A is drawn by `seed`

    Raises ModelError for a module that is no plain linear projection with weights at hand, or, without `lora`, whose
    weights are no floating-point numbers.
    """
    where = projections(loaded.adapter, list(dict.fromkeys(site for site, _ in modules)))
    chosen = [_check_projection(loaded, site, layer, where[site]) for site, layer in modules]
    names = {module: name for name, module in loaded.model.named_modules()}
    if lora is None:
        yield from _rows(loaded, chosen, names)
    else:
        yield from _adapters(loaded, chosen, names, lora, seed)


def _rows(loaded: Loaded, chosen: Sequence[Projection], names: Mapping[nn.Module, str]) -> Iterator[list[Part]]:
    parts = []
    for part in chosen:
        for kind, parameter in part.module.named_parameters(recurse=False):
            if not parameter.is_floating_point():
                raise ModelError(
                    f"model {loaded.name!r}: {names[part.module]} has weights of {parameter.dtype}, which can't be "
                    "trained; use method: lora"
                )
            parts.append(_part(f"{names[part.module]}.{kind}", parameter, part))
    before = [part.values.cpu().clone() for part in parts]
    try:
        yield parts
    finally:
        for part, values in zip(parts, before, strict=True):
            part.values.copy_(values)


def _adapters(
    loaded: Loaded, chosen: Sequence[Projection], names: Mapping[nn.Module, str], lora: Lora, seed: int
) -> Iterator[list[Part]]:
    from peft import LoraConfig, inject_adapter_in_model

    targets = {part.module: names[part.module] for part in chosen}
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout,
                        target_modules=sorted(targets.values()), bias="none")  # fmt: skip
    try:
        inject_adapter_in_model(config, loaded.model)
        layers = {name: loaded.model.get_submodule(name) for name in targets.values()}
        n_adapters = sum(hasattr(module, "lora_A") for module in loaded.model.modules())
        if n_adapters != len(targets):
            raise ModelError(f"model {loaded.name!r}: {n_adapters} modules got an adapter instead of {len(targets)}")
        parts = []
        for module, name in targets.items():
            a, b = (getattr(layers[name], side)["default"].weight for side in ("lora_A", "lora_B"))
            a.data, b.data = a.data.float(), torch.zeros_like(b.data, dtype=torch.float32)
            # As peft draws it, but the same on every device and beside whatever other modules.
            bound = a.shape[1] ** -0.5
            drawn = generator("lora", seed, name).uniform(-bound, bound, tuple(a.shape))
            a.data.copy_(torch.from_numpy(drawn))
            parts.append(Part(f"base_model.model.{name}.lora_A.weight", a, Projection(module, 0, len(a))))
            parts += [_part(f"base_model.model.{name}.lora_B.weight", b, p) for p in chosen if p.module is module]
        yield parts
    finally:
        for module, name in targets.items():
            if loaded.model.get_submodule(name) is not module:
                loaded.model.set_submodule(name, module)
        if hasattr(loaded.model, "peft_config"):
            del loaded.model.peft_config
        loaded.model.requires_grad_(False)


def _part(name: str, parameter: nn.Parameter, of: Projection) -> Part:
    """The rows of a projection; the name says which where they are not all."""
    where = f"[{of.start}:{of.stop}{f' of {of.period}' if of.groups > 1 else ''}]"
    return Part(name if of.width == len(parameter) else name + where, parameter, of)


def _check_projection(loaded: Loaded, site: str, layer: int, of_site: Site) -> Projection:
    if not 0 <= layer < len(of_site):
        raise ConfigError(f"{site} of layer {layer}: model {loaded.name!r} has {len(of_site)} layers")
    part = of_site[layer]
    if part is None:
        raise ModelError(f"model {loaded.name!r}: layer {layer} has no {site}; was the mask made for another model?")
    if not isinstance(part.module, nn.Linear):
        kind = type(part.module).__name__
        raise ModelError(
            f"model {loaded.name!r}: {site} of layer {layer} has the type {kind}; only linear ones are updated"
        )
    if part.module.weight.device.type == "meta":
        raise ModelError(
            f"model {loaded.name!r}: {site} of layer {layer} is offloaded, so it can't be updated; use a larger device"
        )
    return part


def write(path: str | Path, parts: Sequence[Part], metadata: Mapping[str, Any]) -> None:
    """Write the rows of an update: safetensors by name, `metadata` as JSON, and a digest of all of it."""
    tensors = {part.name: part.values.cpu().contiguous() for part in parts}
    header = {**metadata, "digest": _digest(tensors)}
    # Bytes, not save_file: its files are readable by their owner alone.
    data = save(tensors, {_KEY: json.dumps(header, sort_keys=True, ensure_ascii=False)})
    with files.atomic(path) as temporary:
        temporary.write_bytes(data)


def read(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The rows of an update by name, and the metadata. Raises FileError when the file is missing or damaged."""
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        good = isinstance(metadata, dict) and metadata.get("digest") == _digest(tensors)
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise files.damaged(path, f"no update of a fine-tuning ({files.first_line(error)})") from None
    if not good:
        raise files.damaged(path, "no update of a fine-tuning, or its bytes have changed")
    return tensors, metadata


def apply(parts: Sequence[Part], tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Put the rows of an update in force. Raises FileError, naming `source`, when they are not those of `parts`."""
    expected = {part.name: tuple(part.values.shape) for part in parts}
    shapes = {name: tuple(values.shape) for name, values in tensors.items()}
    if strange := sorted(set(expected.items()) ^ set(shapes.items())):
        name = strange[0][0]
        raise FileError(
            f"{source}: {name} has the shape {shapes.get(name)}, but the model's is {expected.get(name)}; "
            "delete it and run again"
        )
    for part in parts:
        part.values.copy_(tensors[part.name])


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(tensors.items()):
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\0".encode())
        digest.update(values.contiguous().view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()
