"""Whether torchvision, which some processors need, can be used beside the torch that is installed."""

from __future__ import annotations

import importlib
import importlib.util

from culture_neurons.errors import ModelError
from culture_neurons.files import first_line

#: How to get torchvision.
INSTALL = "install the extra vision (pip install -e '.[vision]'), a build for the same device as torch"


def check_torchvision() -> None:
    """Raise ModelError where torchvision is there but does not fit torch: transformers takes it as usable, and none of
    its processors could be imported then."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except (RuntimeError, ImportError, OSError) as error:
        raise ModelError(f"torchvision does not fit torch ({first_line(error)}); {INSTALL}, or remove it") from None
