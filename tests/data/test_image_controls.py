from dataclasses import replace

from PIL import Image

from culture_neurons.data.image_controls import GREY, apply_control
from culture_neurons.types import Sample

WITH = Sample("q1", "a", "k", "Which?", ("x", "y"), 0, "evaluate", {"path": "p"}, "p", (30, 20))
BARE = replace(WITH, sample_id="q2", image=None, image_id="", image_size=None)


def opener(reference):
    return None if reference is None else Image.effect_noise((30, 20), 90).convert("RGB")


def test_blank_image_has_the_size_of_the_real_one_and_nothing_on_it():
    samples, blank = apply_control("blank", [WITH, BARE], opener)
    assert samples == [WITH]  # the same batches, and as many tokens, as with the image
    image = blank(WITH.image)
    assert (image.size, image.mode) == ((30, 20), "RGB")
    assert image.getcolors() == [(600, GREY)]
    assert blank(None) is None


def test_none_asks_the_same_question_without_an_image():
    (sample,), _ = apply_control("none", [BARE, WITH], opener)
    assert sample == replace(WITH, image=None, image_id="", image_size=None)
