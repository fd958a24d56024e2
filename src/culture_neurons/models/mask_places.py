"""Where the neurons of masks are in a model: modules, and the outputs of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from culture_neurons.errors import ConfigError
from culture_neurons.models.adapters import Adapter
from culture_neurons.models.projections import Projection, projections, widths
from culture_neurons.types import NeuronMask, OwnMasks


def masks_of(mask: NeuronMask | OwnMasks) -> Sequence[NeuronMask]:
    """The masks that are in force together; for different questions, where there are several."""
    return mask.masks if isinstance(mask, OwnMasks) else (mask,)


def positions(
    adapter: Adapter, masks: Sequence[NeuronMask | OwnMasks]
) -> tuple[list[nn.Module], list[int], dict[str, dict[int, tuple[int, Projection]]]]:
    """The modules that masks act on, the layer of each, and by site, per layer, the module's number and the site's
    place in what it puts out. Raises ConfigError for a neuron that the model does not have."""
    single_masks = [mask for group in masks for mask in masks_of(group)]
    used = sorted({str(site) for mask in single_masks for site in np.unique(mask.site)} - {"act_fn"})
    of_act = zip(adapter.activations, adapter.widths, strict=True)
    by_site = {"act_fn": [Projection(module, 0, width) for module, width in of_act]}
    by_site |= projections(adapter, used)
    for mask in single_masks:
        for site in map(str, np.unique(mask.site)):
            layer, neuron = mask.layer[mask.site == site], mask.neuron[mask.site == site]
            units = np.array(widths(by_site[site]))
            outside = (layer < 0) | (layer >= len(units)) | (neuron < 0)
            outside |= neuron >= np.where(outside, 0, units[np.where(outside, 0, layer)])
            if outside.any():
                at, sizes = int(outside.argmax()), " or ".join(map(str, np.unique(units)))
                raise ConfigError(
                    f"mask of {mask.culture!r}: layer {layer[at]}, neuron {neuron[at]} is outside the model "
                    f"({len(units)} layers of {sizes} neurons at {site}); was it made for another model?"
                )
    # A fused projection is one module, which holds several sites.
    layer_of = {p.module: layer for of_site in by_site.values() for layer, p in enumerate(of_site) if p is not None}
    number = {module: i for i, module in enumerate(layer_of)}
    places = {
        site: {layer: (number[p.module], p) for layer, p in enumerate(of_site) if p is not None}
        for site, of_site in by_site.items()
    }
    return list(layer_of), list(layer_of.values()), places


def on_devices(
    masks: Sequence[NeuronMask],
    places: dict[str, dict[int, tuple[int, Projection]]],
    devices: Sequence[torch.device],
) -> dict[int, dict[int, tuple]]:
    """Number of the module -> number of the mask -> its neurons there, on the layer's device, and its factor."""
    result: dict[int, dict[int, tuple]] = {}
    for number, mask in enumerate(masks):
        for site in map(str, np.unique(mask.site)):
            for layer in map(int, np.unique(mask.layer[mask.site == site])):
                place, projection = places[site][layer]
                chosen = mask.neuron[(mask.site == site) & (mask.layer == layer)]
                neurons = projection.outputs()[torch.from_numpy(chosen)].to(devices[layer])
                of_place = result.setdefault(place, {})
                before = [of_place[number][0]] if number in of_place else []
                of_place[number] = torch.cat([*before, neurons]), mask.factor
    return result
