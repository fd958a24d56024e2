"""Questions asked without what their images show: how much of an answer needs the image?

blank   each image is replaced by a plain grey one of the same size: the prompt has the same tokens, and a batch the
        same questions, so that what the image shows is all that differs
none    the question is asked as text alone: the prompt has no image, and the vision tower is not used
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from culture_neurons.data.images import Opener, Reference
from culture_neurons.types import Sample

CONTROLS = ("blank", "none")
#: The middle of the range, in each channel.
GREY = (128, 128, 128)


def apply_control(control: str, samples: Sequence[Sample], opener: Opener) -> tuple[list[Sample], Opener]:
    """The samples as they are asked under a control, and the opener of their images.

    Samples without an image are left out: for them nothing would differ.
    """
    shown = [sample for sample in samples if sample.image is not None]
    if control == "none":
        return [replace(sample, image=None, image_id="", image_size=None) for sample in shown], opener

    def blank(reference: Reference | None) -> Image.Image | None:
        # The image is opened for its size: what the table of samples says of it is not always known.
        return None if reference is None else Image.new("RGB", opener(reference).size, GREY)

    return shown, blank
