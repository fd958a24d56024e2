from __future__ import annotations

import base64
import io
import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from culture_neurons import files, store
from culture_neurons.data.samples import write_samples
from culture_neurons.errors import FileError
from culture_neurons.selectors import selection
from culture_neurons.steps import cards

METADATA = {"step": "merge", "model": "tiny", "revision": "abc", "dtype": "float32", "token_rule": "all"}
IDS = [f"s{i}" for i in range(6)]


@cache
def png(size=(400, 200)) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Six recorded samples of two cultures, one of them without a picture and one with a damaged one."""
    rng = np.random.default_rng(0)
    fired = rng.integers(1, 10, (6, 2, 5))
    tmp_path /= "m"
    with store.statistics_writer(tmp_path / "statistics.h5", IDS, list("bababa"), "act_fn", 2, 5, METADATA) as writer:
        writer.write(IDS, np.full(6, 9), fired, fired * 0.5)
    scores = rng.random((2, 2, 5))
    store.write_scores(tmp_path / "scores/cas.h5", scores, ["a", "b"], "act_fn", METADATA)
    store.write_scores(tmp_path / "scores/lap.h5", -scores, ["a", "b"], "act_fn", METADATA)
    files.write_table(tmp_path / "mask.parquet", selection.select(scores, ["a", "b"], 0.5), METADATA)
    rows = pd.DataFrame({
        "sample_id": IDS, "culture": list("bababa"), "category": "dish", "question": "Which <dish>?",
        "options": [["x", "y" * 999]] * 6, "label": 1, "split": "identify", "image_id": "",
        "image": [None, {"bytes": b"\x89PNG"}, *({"bytes": png()} for _ in range(4))], "width": None, "height": None,
    })  # fmt: skip
    write_samples(tmp_path / "samples.parquet", rows, {"images": {"type": "embedded"}})
    return tmp_path


def run(folder, *more):
    cards.main(cards.arguments().parse_args([
        "--statistics", str(folder / "statistics.h5"), "--mask", str(folder / "mask.parquet"), "--selector", "cas",
        "--top-fraction", "0.5", "--scores", str(folder / "scores/cas.h5"), str(folder / "scores/lap.h5"),
        "--samples", str(folder / "samples.parquet"), "--count", "2", "--examples", "6",
        "--out", str(folder / "cards.json"), *more,
    ]))  # fmt: skip
    return files.read_json(folder / "cards.json")


def test_cards_of_the_strongest_neurons(folder):
    content = run(folder, "--resamples", "20")
    assert [(card["culture"], card["rank"]) for card in content["cards"]] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert content["cultures"] == ["a", "b"]
    sums, _ = store.read_statistics(folder / "statistics.h5")
    for card in content["cards"]:
        expected = sums.fired[:, card["layer"], card["neuron"]] / sums.tokens
        np.testing.assert_allclose(card["value"], expected, rtol=1e-4)
        assert all(
            low <= value <= high for low, value, high in zip(card["low"], card["value"], card["high"], strict=True)
        )
        assert card["ranks"] == {"cas": card["rank"], "lap": None}
        assert (card["planted"], card["selected_again"]) == (None, None)
        means = [sample["activation"] for sample in card["samples"]]
        assert len(means) == 6
        assert means == sorted(means, reverse=True)
    assert (content["model"], content["revision"], content["step"]) == ("tiny", "abc", "cards")
    assert content["history"].keys() == {"merge"}


def test_pictures_are_small_and_may_be_missing(folder):
    samples = run(folder)["samples"]
    assert samples.keys() == set(IDS)
    assert [samples[name]["image"] is None for name in IDS] == [True, True, False, False, False, False]
    for name in IDS[2:]:
        data = base64.b64decode(samples[name]["image"])
        assert len(data) <= cards.MOST_BYTES
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size) == ("JPEG", (96, 48))
    assert samples["s0"]["culture"] == "b"
    assert len(samples["s0"]["answer"]) == cards.LONGEST


def test_what_is_planted_and_what_was_chosen_again(folder):
    first, second = run(folder)["cards"][:2]
    files.write_csv(folder / "planted.csv", pd.DataFrame([{"site": "act_fn", **{k: first[k] for k in (
        "culture", "layer", "neuron")}}]))  # fmt: skip
    key = {k: second[k] for k in ("culture", "layer", "neuron")}
    reselected = pd.DataFrame([
        {"selector": name, "top_fraction": fraction, **key, "selected_again": share}
        for name, fraction, share in (("lap", 0.5, 0.75), ("cas", 0.5, 0.25), ("cas", 0.25, 0.5))
    ])  # fmt: skip
    files.write_table(folder / "stability.parquet", reselected, {})
    content = run(folder, "--planted", str(folder / "planted.csv"), "--stability", str(folder / "stability.parquet"))
    assert [card["planted"] for card in content["cards"]] == [True, False, False, False]
    assert [card["selected_again"] for card in content["cards"]] == [None, 0.25, None, None]


def test_a_culture_of_one_image_has_no_intervals_and_says_so(folder):
    rows, metadata = files.read_table(folder / "samples.parquet")
    files.write_table(folder / "samples.parquet", rows.assign(image_id=["b", "a"] * 3), metadata)
    content = run(folder)
    assert content["units"] == {"a": 1, "b": 1}
    assert all(end == [None, None] for card in content["cards"] for end in (card["low"], card["high"]))
    files.write_table(folder / "samples.parquet", rows.assign(image_id=["b", "a", "b", "x", "b", "a"]), metadata)
    content = run(folder)
    assert content["units"] == {"a": 2, "b": 1}
    assert all(card["low"][1] is None for card in content["cards"])
    assert any(card["low"][0] is not None for card in content["cards"])


def test_samples_of_another_run_are_refused(folder):
    rows, metadata = files.read_table(folder / "samples.parquet")
    files.write_table(folder / "samples.parquet", rows.iloc[1:], metadata)
    with pytest.raises(
        FileError, match=r"statistics\.h5: sample 's0' is not in .*samples\.parquet; delete the older file"
    ):
        run(folder)


def test_imported_masks_have_no_scores(folder):
    mask, metadata = files.read_table(folder / "mask.parquet")
    files.write_table(folder / "mask.parquet", mask.assign(score=np.nan), metadata)
    assert run(folder, "--scores")["cards"][0]["score"] is None


def test_same_input_same_bytes(folder):
    run(folder, "--planted", "--stability")  # neither: as the workflow calls it for most models
    first = (folder / "cards.json").read_bytes()
    run(folder)
    assert (folder / "cards.json").read_bytes() == first


def test_files_of_two_models_are_not_mixed(folder):
    mask, metadata = files.read_table(folder / "mask.parquet")
    files.write_table(folder / "mask.parquet", mask, {**metadata, "revision": "other"})
    with pytest.raises(FileError, match="another model revision"):
        run(folder)


def test_the_file_is_plain_json(folder):
    text = (run(folder), (folder / "cards.json").read_text(encoding="utf-8"))[1]
    assert "NaN" not in text
    assert json.loads(text)["selector"] == "cas"
