"""Questions asked without what their images show: how much of an answer needs the image?

blank    each image is replaced by a plain grey one of the same size: the prompt has the same tokens, and a batch the
         same questions, so that what the image shows is all that differs
none     the question is asked as text alone: the prompt has no image, and the vision tower is not used
swapped  the question is shown the image of another culture (`choose_images`): does the answer follow the picture?
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from PIL import Image

from culture_neurons import seeds
from culture_neurons.data.images import Opener, Reference
from culture_neurons.types import Sample

SWAPPED = "swapped"
CONTROLS = ("blank", "none", SWAPPED)
#: The middle of the range, in each channel.
GREY = (128, 128, 128)


def apply_control(control: str, samples: Sequence[Sample], opener: Opener) -> tuple[list[Sample], Opener]:
    """The samples as they are asked under a control, and the opener of their images.

    Samples without an image are left out: for them nothing would differ; under `SWAPPED` so are those for which there
    is no image of another culture.
    """
    shown = [sample for sample in samples if sample.image is not None]
    if control == "none":
        return [replace(sample, image=None, image_id="", image_size=None) for sample in shown], opener
    if control == SWAPPED:
        chosen = choose_images(shown)
        pairs = [(sample, chosen[sample.sample_id]) for sample in shown if sample.sample_id in chosen]
        return [_show(sample, other) for sample, other in pairs], opener

    def blank(reference: Reference | None) -> Image.Image | None:
        # The image is opened for its size: what the table of samples says of it is not always known.
        return None if reference is None else Image.new("RGB", opener(reference).size, GREY)

    return shown, blank


def choose_images(samples: Iterable[Sample]) -> dict[str, Sample]:
    """Id of a sample -> the sample of another culture whose image it is shown; none where there is no such image.

    It is one of the same category where there is one. Where a sample says whose its options are, the other culture is
    one that has exactly one of them, a wrong one. The culture, and which of its samples, are hashes of the ids: neither
    the order of the samples nor a sample more changes the choice of others, unless it is chosen itself.
    """
    samples = [sample for sample in samples if sample.image is not None]
    everything: dict[str, list[Sample]] = defaultdict(list)
    by_category: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        everything[sample.culture].append(sample)
        by_category[sample.category][sample.culture].append(sample)
    chosen = {}
    for sample in samples:
        others = next(_others(sample, (by_category[sample.category], everything)), None)
        if others:
            chosen[sample.sample_id] = min(others, key=lambda other: _rank(sample, other.sample_id))
    return chosen


def _others(sample: Sample, pools: Iterable[Mapping[str, list[Sample]]]) -> Iterator[list[Sample]]:
    """The samples of each culture whose image one may be shown, in the order in which they are tried."""
    for pool in pools:
        for culture in sorted(other_cultures(sample, pool), key=lambda name: _rank(sample, name)):
            # An image that both cultures ask about is not another one.
            others = [o for o in pool[culture] if not sample.image_id or o.image_id != sample.image_id]
            if others:
                yield others


def other_cultures(sample: Sample, cultures: Iterable[str]) -> set[str]:
    """Those of the cultures whose image can be shown in place of a sample's own."""
    others = set(cultures) - {sample.culture}
    if not sample.option_cultures:
        return others
    right, owners = sample.option_cultures[sample.label], sample.option_cultures
    return {culture for culture in others if culture != right and owners.count(culture) == 1}


def _rank(sample: Sample, name: str) -> tuple[int, str]:
    """The place of a name in an order that is random, and a sample's own."""
    return seeds.number("image control", SWAPPED, sample.sample_id, name), name


def _show(sample: Sample, other: Sample) -> Sample:
    return replace(sample, image=other.image, image_id=other.image_id, image_size=other.image_size)
