"""What a model runs on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from culture_neurons.models.loading import Loaded


def devices_of(loaded: Loaded) -> list[torch.device]:
    """Where the weights of a model lie, each device once; those that accelerate keeps elsewhere compute on none."""
    devices = dict.fromkeys(parameter.device for parameter in loaded.model.parameters())
    return [device for device in devices if device.type != "meta"] or [torch.device("cpu")]


def describe(loaded: Loaded) -> dict[str, Any]:
    """The devices: name, type, number, and the peak of memory on the fullest in bytes (None where CUDA is not used)."""
    devices = devices_of(loaded)
    outside = [device for device in devices if device.type != "cpu"]
    cuda = [device for device in outside if device.type == "cuda"]
    names = [torch.cuda.get_device_name(d) if d.type == "cuda" else d.type for d in outside] or [_processor()]
    return {
        "device": ", ".join(dict.fromkeys(names)),
        "device_type": outside[0].type if outside else "cpu",
        "devices": max(1, len(outside)),
        "peak_device_bytes": max(map(torch.cuda.max_memory_allocated, cuda)) if cuda else None,
    }


def _processor() -> str:
    """The name of the processor, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, names), "") or platform.processor() or platform.machine() or "CPU"
