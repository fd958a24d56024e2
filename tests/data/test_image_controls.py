from dataclasses import replace

from PIL import Image

from culture_neurons.data.image_controls import GREY, apply_control, choose_images
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


def question(sample_id, culture, category="k", image_id=None, owners=(), label=0):
    image_id = f"i-{sample_id}" if image_id is None else image_id
    return Sample(
        sample_id, culture, category, "Which?", ("x", "y", "z"), label, "evaluate", {"path": image_id}, image_id,
        (len(sample_id), 9), option_cultures=tuple(owners),
    )  # fmt: skip


def shown(samples, sample_id):
    return choose_images(samples).get(sample_id)


MANY = [question(f"{culture}{kind}{i}", culture, kind) for culture in "abcd" for kind in "kl" for i in range(6)]


def test_a_swapped_image_is_of_another_culture_and_the_same_category():
    chosen = choose_images(MANY)
    assert len(chosen) == len(MANY)
    for sample in MANY:
        assert chosen[sample.sample_id].culture != sample.culture
        assert chosen[sample.sample_id].category == sample.category
    # The cultures and their questions are dealt evenly.
    others = [chosen[sample.sample_id].culture for sample in MANY]
    assert all(4 <= others.count(culture) <= 20 for culture in "abcd")
    assert len({other.sample_id for other in chosen.values()}) > len(MANY) / 2


def test_a_swapped_sample_is_asked_about_the_image_that_is_shown():
    asked, same = apply_control("swapped", [*MANY, BARE], opener)
    assert same is opener
    chosen = choose_images(MANY)
    assert [sample.sample_id for sample in asked] == [sample.sample_id for sample in MANY]
    for sample, before in zip(asked, MANY, strict=True):
        other = chosen[sample.sample_id]
        assert sample == replace(before, image=other.image, image_id=other.image_id, image_size=other.image_size)
        assert sample.image_id != before.image_id


def test_another_category_serves_where_no_culture_has_the_same():
    alone = question("x", "a", "only here")
    other = shown([*MANY, alone], "x")
    assert other.culture != "a"
    # One culture has it: its image is taken, whatever the hash says of the others.
    assert all(shown([*MANY, alone, question(f"y{i}", "d", "only here")], "x").sample_id == f"y{i}" for i in range(20))


def test_the_order_of_samples_and_one_more_do_not_matter():
    chosen = choose_images(MANY)
    assert choose_images(MANY[::-1]) == chosen
    more = choose_images([*MANY, question("new", "c", "k")])
    changed = {name for name, other in chosen.items() if more[name] != other}
    assert all(more[name].sample_id == "new" for name in changed)
    assert len(changed) < 10


def test_an_image_of_the_own_culture_is_never_another_cultures():
    """One image that two cultures ask about."""
    both = [question("a1", "a", image_id="i"), question("b1", "b", image_id="i")]
    assert choose_images(both) == {}
    chosen = choose_images([*both, question("b2", "b")])
    assert {name: other.sample_id for name, other in chosen.items()} == {"a1": "b2", "b2": "a1"}
    nameless = [question("a1", "a", image_id=""), question("b1", "b", image_id="")]  # two images, as far as is known
    assert {name: other.sample_id for name, other in choose_images(nameless).items()} == {"a1": "b1", "b1": "a1"}


def test_the_image_is_of_the_culture_of_one_wrong_option():
    samples = [*MANY, question("x", "a", owners=("c", "a", "b"), label=1)]
    assert {shown([*samples, question(f"{c}{i}", c)], "x").culture for c in "bd" for i in range(20)} <= {"b", "c"}
    for owners, label, expected in (
        (("a", "b", "b"), 0, None),  # two options of the other culture
        (("a", "b", "e"), 0, "b"),  # no image of the third
        (("b", "a", "a"), 0, None),  # the right one is another culture's: never that, nor the own one
        (("b", "a", "c"), 0, "c"),
        (("e", "e", "e"), 1, None),
    ):
        other = shown([*MANY, question("x", "a", owners=owners, label=label)], "x")
        assert (other and other.culture) == expected
        asked, _ = apply_control("swapped", [*MANY, question("x", "a", owners=owners, label=label)], opener)
        assert len(asked) == len(MANY) + (expected is not None)


def test_owners_go_before_the_category():
    far = question("x", "a", "only here", owners=("a", "b", "c"))
    assert {shown([*MANY, far, question(f"d{i}", "d", "only here")], "x").culture for i in range(10)} <= {"b", "c"}
