"""Masks in the form in which LAPE publishes them, `List[List[LongTensor]]`: per culture and layer, neuron indices.

Tang et al. 2024 (arXiv 2402.16438) save such a list with `torch.save`, in the order of their languages; names,
model and site are not in the file. Files are read with torch's weights-only loader, which builds tensors and plain
containers and runs no code of the file.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from culture_neurons.errors import FileError
from culture_neurons.files import atomic, first_line
from culture_neurons.types import NeuronMask

#: Whole numbers; uint16 and wider unsigned types lack most operations of torch, and nobody saves them.
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
#: Bytes that one tensor may take in the file beside its values, and the file beside its tensors.
_PER_TENSOR, _PER_FILE = 4096, 1 << 20


def read(
    path: str | Path, cultures: Sequence[str], layers: int, neurons: int, site: str = "act_fn"
) -> list[NeuronMask]:
    """The mask of every culture, in the order of `cultures`; neurons by layer, then index.

    cultures          the name of each list in the file, in the file's order
    layers, neurons   of the model: the number of layers, and of neurons in each

    LAPE's code leaves out the lists of the last languages if they have no neuron, so that a file may hold fewer lists
    than there are names: these cultures get empty masks.

    Raises FileError, naming file, culture and layer, for anything but a list per culture with a 1-d tensor of whole
    numbers per layer, each from 0 to `neurons` - 1 and listed once. A tensor without elements, of any type and shape,
    is an empty list of neurons.
    """
    lists = _load(Path(path), len(cultures) * layers * (neurons * 8 + _PER_TENSOR) + _PER_FILE)
    if not isinstance(lists, list) or not lists:
        raise FileError(f"{path}: holds {_kind(lists)}; expected a list with one list of tensors per culture")
    if len(lists) > len(cultures):
        raise FileError(f"{path}: holds the masks of {len(lists)} cultures, but {len(cultures)} are named")
    masks = []
    for culture, tensors in zip(cultures, lists, strict=False):
        if not isinstance(tensors, list):
            raise FileError(f"{path}: culture {culture!r}: holds {_kind(tensors)}; expected a list of tensors")
        if len(tensors) != layers:
            raise FileError(f"{path}: culture {culture!r}: {len(tensors)} layers, but the model has {layers}")
        indices = [_indices(tensors[i], neurons, f"{path}: culture {culture!r}, layer {i}") for i in range(layers)]
        layer = np.repeat(np.arange(layers), [len(of_layer) for of_layer in indices])
        masks.append(NeuronMask(culture, site, layer, np.concatenate(indices)))
    none = np.empty(0, np.int64)
    return masks + [NeuronMask(culture, site, none, none) for culture in cultures[len(lists) :]]


def write(path: str | Path, masks: Sequence[NeuronMask], layers: int) -> None:
    """Save masks, in their order, for others to load; indices ascend. The same masks give the same bytes."""
    lists = [
        [torch.from_numpy(np.sort(mask.neuron[mask.layer == layer]).astype(np.int64)) for layer in range(layers)]
        for mask in masks
    ]
    # Through an open file: given a path, torch writes the file's (temporary) name into it.
    with atomic(path) as temporary, open(temporary, "wb") as stream:
        torch.save(lists, stream)


def _load(path: Path, largest: int) -> Any:
    """What is in the file; nothing that is larger than `largest` bytes, packed or not, is read."""
    try:
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(part.file_size for part in archive.infolist()))
    except FileNotFoundError:
        raise FileError(f"{path}: no such file") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FileError(f"{path}: can't be read ({first_line(error)})") from None
    if size > largest:
        raise FileError(f"{path}: {size} bytes; masks of as many cultures of this model take {largest} at most")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on old forms of storage
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in the unpickler, the zip reader or in what it calls
        # Of torch's message the reason alone: what follows is advice to switch the protection off.
        match = re.search(r"WeightsUnpickler error: (.+)", str(error))
        reason = (match[1][:200] if match else first_line(error)).partition(". ")[0]
        raise FileError(
            f"{path}: damaged, or not made of lists and tensors alone ({reason}); nothing was unpickled"
        ) from None


def _indices(tensor: Any, neurons: int, where: str) -> np.ndarray:
    """The sorted indices of one layer, int64. Raises FileError, which begins with `where`."""
    plain = isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided and tensor.device.type == "cpu"
    # Of `torch.tensor([])` torch makes floats, and of `nonzero()` two dimensions: no neuron, whatever the type.
    if plain and tensor.numel() == 0:
        return np.empty(0, np.int64)
    if not plain or tensor.dtype not in _INTEGERS or tensor.ndim != 1:
        raise FileError(f"{where}: holds {_kind(tensor)}; expected a 1-d tensor of whole numbers")
    # A tensor can pretend to be larger than its storage, so this comes before anything is computed from it.
    if len(tensor) > neurons:
        raise FileError(f"{where}: {len(tensor)} indices, but the model has {neurons} neurons per layer")
    indices = np.sort(np.array(tensor.tolist(), np.int64))
    for odd in indices[(indices < 0) | (indices >= neurons)][:1]:
        raise FileError(f"{where}: neuron {odd}; expected 0 to {neurons - 1}")
    for twice in indices[1:][indices[1:] == indices[:-1]][:1]:
        raise FileError(f"{where}: neuron {twice} is listed twice")
    return indices


def _kind(value: Any) -> str:
    """What a value is, in a few words and without its content."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of {str(value.dtype).removeprefix('torch.')} with {value.ndim} dimensions"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | dict | tuple) else "")
