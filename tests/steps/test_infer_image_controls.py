import numpy as np
import pandas as pd
import pytest

from culture_neurons import files
from culture_neurons.data.image_controls import choose_images
from culture_neurons.data.samples import read_samples
from culture_neurons.errors import ConfigError
from culture_neurons.steps import infer, infer_image_controls

pytestmark = pytest.mark.workflow


def ask(step, base, out, samples=None):
    paths = [out / f"run/m/controls/{name}.parquet" for name in ("blank", "none")]
    more = ["--samples", samples] if samples else []
    step.run(infer_image_controls, *step.shared(base), "--answers-out", *paths, *more)
    return [files.read_table(path) for path in paths]


def test_answers_to_the_evaluate_questions_in_the_form_of_predictions(base, tmp_path, step):
    shown, _ = files.read_table(base / "m/predictions.parquet")
    shown = shown[shown["split"] == "evaluate"].reset_index(drop=True)
    (blank, metadata), (none, _) = ask(step, base, tmp_path)
    assert metadata["image_control"] == "blank"
    assert (metadata["rows"], metadata["without_image"], metadata["model"]) == (len(shown), 0, "m")
    for table in (blank, none):
        assert list(table.columns) == list(shown.columns)
        assert table[["sample_id", "culture", "split"]].equals(shown[["sample_id", "culture", "split"]])
        assert all(map(np.array_equal, table["option_order"], shown["option_order"]))
        assert not np.allclose(np.stack(table["logprobs"]), np.stack(shown["logprobs"]), atol=1e-5)


def changed(base, path, change):
    """samples.parquet with each row of a list as `change(row, number of the row in its half)` gives it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _, metadata = files.read_table(base / "samples.parquet")
    table = pq.read_table(base / "samples.parquet")
    rows, number = table.to_pylist(), {"identify": 0, "evaluate": 0}
    for row in rows:
        row |= change(row, number[row["split"]])
        number[row["split"]] += 1
    files.write_table(path, pa.Table.from_pylist(rows, schema=table.schema), metadata)
    return path


def without_images(base, path, keep):
    """samples.parquet in which only the first `keep` evaluate questions have an image."""
    changed(base, path, lambda row, i: {"image": row["image"] if i < keep or row["split"] != "evaluate" else None})


def as_stored(reference):
    """A reference to an image as a row of samples.parquet has it."""
    return {**dict.fromkeys(("bytes", "path", "row")), **reference}


def swapped(step, base, out, samples, batch_size=8):
    path = out / "run/m/controls/swapped.parquet"
    step.run(infer_image_controls, *step.shared(base, batch_size), "--samples", samples, "--answers-out", path)
    return files.read_table(path)


def inferred(step, base, out, samples, batch_size=8):
    """Answers to the evaluate questions as they are in `samples`."""
    step.run(infer, *step.shared(base, batch_size), "--samples", samples, "--answers-out", out / "answers.parquet")
    table, _ = files.read_table(out / "answers.parquet")
    return table[table["split"] == "evaluate"].reset_index(drop=True)


@pytest.mark.parametrize("keep", [0, 5])
def test_questions_without_an_image_are_left_out_and_counted(base, tmp_path, step, keep):
    without_images(base, tmp_path / "samples.parquet", keep)
    samples, _ = read_samples(tmp_path / "samples.parquet", "evaluate")
    for table, metadata in ask(step, base, tmp_path, tmp_path / "samples.parquet"):
        assert (len(table), metadata["rows"], metadata["without_image"]) == (keep, keep, len(samples) - keep)
        assert set(table["sample_id"]) == {s.sample_id for s in samples if s.image is not None}


def test_swapped_questions_are_asked_about_the_image_of_another_culture(base, tmp_path, step):
    found, metadata = swapped(step, base, tmp_path, base / "samples.parquet")
    samples, _ = read_samples(base / "samples.parquet", "evaluate")
    chosen = choose_images(samples)
    assert (metadata["image_control"], metadata["rows"], metadata["without_image"]) == ("swapped", len(samples), 0)
    assert metadata["without_other_image"] == []
    assert list(found.columns) == [*files.read_table(base / "m/predictions.parquet")[0].columns, "shown_culture"]
    assert found["shown_culture"].tolist() == [chosen[name].culture for name in found["sample_id"]]
    assert (found["shown_culture"] != found["culture"]).all()

    # The same, to the last bit, as if these had been the images of the questions.
    def with_other(row, _):
        other = chosen.get(row["sample_id"])
        return {"image": as_stored(other.image), "image_id": other.image_id} if other else {}

    expected = inferred(step, base, tmp_path, changed(base, tmp_path / "samples.parquet", with_other))
    pd.testing.assert_frame_equal(found[expected.columns], expected)
    shown = inferred(step, base, tmp_path, base / "samples.parquet")
    assert not np.allclose(np.stack(found["logprobs"]), np.stack(shown["logprobs"]), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_same_picture_gives_the_same_answers(base, tmp_path, step, batch_size):
    """All images are one picture under names of their own."""
    samples, _ = read_samples(base / "samples.parquet", "evaluate")
    picture = {"image": as_stored(samples[0].image)}
    path = changed(base, tmp_path / "samples.parquet", lambda *_: picture)
    found, _ = swapped(step, base, tmp_path, path, batch_size)
    shown = inferred(step, base, tmp_path, path, batch_size)
    if batch_size == 1:
        pd.testing.assert_frame_equal(found[shown.columns], shown)
    assert (found["prediction"] == shown["prediction"]).all()
    np.testing.assert_allclose(np.stack(found["logprobs"]), np.stack(shown["logprobs"]), atol=1e-5)


def test_questions_without_another_image_are_left_out_and_listed(base, tmp_path, step, caplog):
    """Images of one culture alone, and of one question of a second."""
    caplog.set_level("INFO", "culture_neurons")
    samples, _ = read_samples(base / "samples.parquet", "evaluate")
    cultures = sorted({sample.culture for sample in samples})
    mine = [s.sample_id for s in samples if s.culture == cultures[0]]
    one_more = [*mine, next(s.sample_id for s in samples if s.culture == cultures[1])]
    for keep, rows, left_out in ((mine, 0, mine), (one_more, len(one_more), [])):

        def change(row, _, keep=keep):
            return {} if row["sample_id"] in keep else {"image": None}

        found, metadata = swapped(step, base, tmp_path, changed(base, tmp_path / "samples.parquet", change))
        assert (len(found), metadata["rows"], metadata["without_other_image"]) == (rows, rows, left_out)
        assert metadata["without_image"] == len(samples) - len(keep)
        without = f"{len(samples) - len(keep)} questions have no image"
        assert f"{without}, for {len(left_out)} there is none of another culture" in caplog.text


def test_a_further_data_set_has_a_folder_of_its_own(base, tmp_path, step):
    path = tmp_path / "run/m/sets/more/controls/none.parquet"
    step.run(infer_image_controls, *step.shared(base), "--answers-out", path)
    assert files.read_table(path)[1]["image_control"] == "none"


def test_controls_are_those_that_are_known(base, tmp_path, step):
    path = tmp_path / "run/m/controls/grey.parquet"
    with pytest.raises(ConfigError, match=r"--answers-out: of grey; expected some of blank, none, swapped$"):
        step.run(infer_image_controls, *step.shared(base), "--answers-out", path)
    assert list(tmp_path.iterdir()) == []
