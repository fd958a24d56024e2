from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from culture_neurons.data import splitting
from culture_neurons.errors import ConfigError, DataError
from tests.conftest import examples

fractions = st.floats(0.05, 0.95)
seeds = st.integers(-5, 5)


@st.composite
def tables(draw: st.DrawFn, shared: bool) -> pd.DataFrame:
    """Up to 60 questions of 1 to 4 cultures in 1 to 3 categories; with `shared`, of few images."""
    n = draw(st.integers(0, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    images = [f"i{k}" if k else "" for k in random.integers(0, draw(st.integers(1, 40)), n)] if shared else [""] * n
    return pd.DataFrame({
        "sample_id": [f"s{i}" for i in range(n)],
        "culture": [f"c{k}" for k in random.integers(0, draw(st.integers(1, 4)), n)],
        "category": [f"k{k}" for k in random.integers(0, draw(st.integers(1, 3)), n)],
        "image_id": images,
    }, dtype=object)  # fmt: skip


@given(tables(shared=True), fractions, seeds)
@examples(100)
def test_an_image_is_never_on_both_sides(rows: pd.DataFrame, fraction: float, seed: int) -> None:
    side = splitting.split(rows, fraction, seed)
    assert set(side) <= {"identify", "evaluate"}
    shown = rows.assign(side=side)[rows["image_id"] != ""]
    assert (shown.groupby("image_id")["side"].nunique() <= 1).all()


@given(tables(shared=True), fractions, seeds, st.randoms(use_true_random=False))
@examples(60)
def test_neither_order_nor_names_of_images_matter(rows: pd.DataFrame, fraction: float, seed: int, random) -> None:
    expected = dict(zip(rows["sample_id"], splitting.split(rows, fraction, seed), strict=True))
    order = list(range(len(rows)))
    random.shuffle(order)
    mixed = rows.iloc[order].reset_index(drop=True)
    mixed["image_id"] = [f"other {name}" if name else "" for name in mixed["image_id"]]
    assert dict(zip(mixed["sample_id"], splitting.split(mixed, fraction, seed), strict=True)) == expected


@given(tables(shared=False), fractions, seeds)
@examples(100)
def test_without_shared_images_strata_and_cultures_are_off_by_less_than_one(
    rows: pd.DataFrame, fraction: float, seed: int
) -> None:
    rows = rows.assign(side=splitting.split(rows, fraction, seed) == "identify", all="")
    for keys in (["culture", "category"], ["culture"], ["all"]):
        for _, part in rows.groupby(keys):
            assert abs(part["side"].sum() - fraction * len(part)) < 1 + 1e-9


@given(tables(shared=True), fractions, seeds)
@examples(100)
def test_single_questions_fill_up_what_shared_images_leave(rows: pd.DataFrame, fraction: float, seed: int) -> None:
    """A stratum is off by one or more only where its single questions all lie on the side that lacks some."""
    count = rows["image_id"].map(rows["image_id"].value_counts())
    single = (rows["image_id"] == "") | (count == 1)
    rows = rows.assign(side=splitting.split(rows, fraction, seed) == "identify", single=single)
    for _, part in rows.groupby(["culture", "category"]):
        off = part["side"].sum() - fraction * len(part)
        alone = part.loc[part["single"], "side"].astype(bool)
        assert abs(off) < 1 + 1e-9 or (not alone.any() if off > 0 else alone.all())


def paired(n: int) -> pd.DataFrame:
    """n images with two questions each, in four cultures and five categories."""
    image = np.repeat(np.arange(n), 2)
    return pd.DataFrame({
        "sample_id": [f"s{i}" for i in range(2 * n)],
        "culture": [f"c{k % 4}" for k in image],
        "category": [f"k{k // 4 % 5}" for k in image],
        "image_id": [f"i{k}" for k in image],
    }, dtype=object)  # fmt: skip


def test_shared_images_are_stratified_too() -> None:
    rows = paired(400)
    rows["side"] = splitting.split(rows, 0.5, 1) == "identify"
    assert rows.groupby(["culture", "category"])["side"].mean().between(0.45, 0.55).all()
    assert rows.groupby("culture")["side"].mean().between(0.49, 0.51).all()


def test_an_image_in_two_cultures() -> None:
    rows = pd.DataFrame({
        "sample_id": list("abcdef"),
        "culture": ["x", "y", "x", "x", "y", "y"],
        "category": ["k", "l", "k", "k", "l", "l"],
        "image_id": ["i", "i", "", "", "", ""],
    }, dtype=object)  # fmt: skip
    for seed in range(10):
        side = splitting.split(rows, 0.5, seed)
        assert side[0] == side[1]
        assert sorted(side).count("identify") in (2, 3, 4)


def test_an_id_like_an_image_is_another_thing() -> None:
    """A question called as another question's image does not join it."""
    columns = {"culture": ["x", "x"], "category": ["k", "k"]}
    rows = pd.DataFrame({"sample_id": ["a", "b"], **columns, "image_id": ["", "a"]}, dtype=object)
    assert all(len(set(splitting.split(rows, 0.5, seed))) == 2 for seed in range(10))


def test_the_seed_matters_and_is_all_that_does() -> None:
    rows = paired(50)
    first = splitting.split(rows, 0.5, 1)
    assert (first == splitting.split(rows, 0.5, 1)).all()
    assert (first != splitting.split(rows, 0.5, 2)).any()


def test_a_known_split() -> None:
    """Splits stay what they are from version to version."""
    rows = paired(8)
    assert "".join(s[0] for s in splitting.split(rows, 0.5, 1)) == "eeeeiiiiiiiieeee"


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, float("nan"), True])
def test_fractions_out_of_range(fraction: float) -> None:
    with pytest.raises(ConfigError, match=r"split\.identify: .*; expected a number above 0 and below 1"):
        splitting.split(paired(2), fraction, 1)


TOPICS = {"by": "category", "identify": ["Food", "Sport"], "evaluate": ["Family "]}


def test_by_category() -> None:
    how = splitting.settings(TOPICS)
    rows = pd.DataFrame({"category": ["Family", "Food", "Sport"], "image_id": ["a", "b", "b"]})
    assert splitting.assign(rows, how).tolist() == ["evaluate", "identify", "identify"]
    with pytest.raises(DataError, match="1 images are shown by questions of both halves\n"):
        splitting.assign(rows.assign(image_id="b"), how)
    assert len(set(splitting.assign(rows.assign(image_id=""), how))) == 2


def test_variants_of_a_question_stay_together():
    rows = pd.DataFrame([
        {"sample_id": f"{c}{q}-{v}", "culture": c, "category": "t", "image_id": "", "question_id": str(q)}
        for c in "ab" for q in range(40) for v in range(5)
    ])  # fmt: skip
    side = pd.Series(splitting.split(rows, 0.5, 1))
    assert (side.groupby([rows["culture"], rows["question_id"]]).nunique() == 1).all()
    assert 170 <= (side == "identify").sum() <= 230
    # Equal numbers of different cultures are different questions.
    both = side.groupby(rows["question_id"]).nunique()
    assert (both == 2).any()
    alone = splitting.split(rows.drop(columns="question_id"), 0.5, 1)
    assert (pd.Series(alone).groupby([rows["culture"], rows["question_id"]]).nunique() == 2).any()


def test_a_whole_data_set_on_one_side() -> None:
    for half in splitting.SIDES:
        side = splitting.assign(paired(3), splitting.settings({"by": "whole", "half": half}))
        assert side.tolist() == [half] * 6
    assert splitting.settings({"by": "whole"}).half == "evaluate"


def test_by_source_is_as_the_source_says() -> None:
    rows = paired(3)
    how = splitting.settings({"by": "source", "identify": 0.5, "evaluate": None, "seed": 1})
    with pytest.raises(ConfigError, match=r"split\.by: source; this source deals no halves: expected share or cat"):
        splitting.assign(rows, how)
    sides = ["identify", "evaluate", "evaluate"] * 2
    assert splitting.assign(rows.assign(half=sides), how).tolist() == sides
    with pytest.raises(ConfigError, match=r"deals no halves"):
        splitting.assign(rows.assign(half=[*sides[:-1], None]), how)


def test_by_share_is_the_default() -> None:
    rows = paired(20)
    assert splitting.settings({}) == splitting.Split(0.5, 1, None)
    how = splitting.settings({"by": "share", "identify": 0.25, "seed": 3})
    assert (splitting.assign(rows, how) == splitting.split(rows, 0.25, 3)).all()


@pytest.mark.parametrize(("stanza", "message"), [
    ({"bye": 1}, r"split: unknown key 'bye' \(did you mean 'by'\?\)"),
    ({"by": "topic"}, r"split\.by: 'topic'; expected share, category or source"),
    ({"by": "whole", "half": "both"}, r"split\.half: 'both'; expected identify or evaluate"),
    ({"by": "whole", "seed": 1}, r"split: unknown key 'seed'"),
    ({"seed": "x"}, r"split\.seed: expected a whole number"),
    ({"identify": "half"}, r"split\.identify: 'half'; expected a number"),
    ({"evaluate": ["Food"]}, r"split\.evaluate: a share leaves the rest"),
    (TOPICS | {"identify": 0.5}, r"split\.identify: expected a list of categories \(by: category\), found 0\.5"),
    (TOPICS | {"evaluate": []}, r"split\.evaluate: expected a list"),
    (TOPICS | {"evaluate": ["x", "Food"]}, r"split\.evaluate: 'Food' is listed twice"),
])  # fmt: skip
def test_wrong_settings(stanza: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        splitting.settings(stanza)
