import numpy as np
import pytest

from culture_neurons import files
from culture_neurons.data.samples import read_samples
from culture_neurons.errors import ConfigError
from culture_neurons.steps import infer_image_controls

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


def without_images(base, path, keep):
    """samples.parquet in which only the first `keep` evaluate questions have an image."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _, metadata = files.read_table(base / "samples.parquet")
    table = pq.read_table(base / "samples.parquet")
    rows = table.to_pylist()
    left = keep
    for row in rows:
        if row["split"] == "evaluate":
            row["image"], left = (row["image"] if left > 0 else None), left - 1
    files.write_table(path, pa.Table.from_pylist(rows, schema=table.schema), metadata)


@pytest.mark.parametrize("keep", [0, 5])
def test_questions_without_an_image_are_left_out_and_counted(base, tmp_path, step, keep):
    without_images(base, tmp_path / "samples.parquet", keep)
    samples, _ = read_samples(tmp_path / "samples.parquet", "evaluate")
    for table, metadata in ask(step, base, tmp_path, tmp_path / "samples.parquet"):
        assert (len(table), metadata["rows"], metadata["without_image"]) == (keep, keep, len(samples) - keep)
        assert set(table["sample_id"]) == {s.sample_id for s in samples if s.image is not None}


def test_controls_are_those_that_are_known(base, tmp_path, step):
    path = tmp_path / "run/m/controls/grey.parquet"
    with pytest.raises(ConfigError, match="--answers-out: of grey; expected blank and none"):
        step.run(infer_image_controls, *step.shared(base), "--answers-out", path)
    assert list(tmp_path.iterdir()) == []
