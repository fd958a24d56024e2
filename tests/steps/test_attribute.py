import numpy as np
import pytest

from culture_neurons import files, store
from culture_neurons.data.prompts import without_question
from culture_neurons.data.samples import read_samples
from culture_neurons.errors import ConfigError, DataError
from culture_neurons.models import attribution, batching, projection_checks
from culture_neurons.models.attribution import attribute as attribute_batch
from culture_neurons.models.attribution import attributor
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.loading import load
from culture_neurons.steps import attribute

pytestmark = pytest.mark.workflow

SITES = ["gate_proj", "k_proj"]


def attributed(base, step, target, *more, batch_size=8):
    words = ["--predictions", base / "m/predictions.parquet", "--sites", *SITES, *more, "--attributions-out", target]
    step.run(attribute, *step.shared(base, batch_size), *words)
    return target


@pytest.mark.parametrize("control", [False, True])
def test_sums_are_those_of_a_loop_over_questions(base, tmp_path, step, control):
    attributions, metadata = store.read_attributions(
        [attributed(base, step, tmp_path / "a.h5", *(["--control"] if control else []))]
    )
    samples, opener = read_samples(base / "samples.parquet", split="identify")
    samples = [without_question(s) for s in samples] if control else samples
    loaded = load({"name": "m", "path": str(base / "model")})
    expected = {site: np.zeros_like(values) for site, values in attributions.sums.items()}
    with attributor(loaded, SITES) as hooks:
        for sample in samples:
            _, values = attribute_batch(loaded, prepare(loaded, [sample], opener, Prompt()), hooks)
            for site, value in values.items():
                of_sample = np.maximum(value[0], 0) if control else value[0]
                expected[site][attributions.cultures.index(sample.culture)] += of_sample
    assert (metadata["control"], attributions.samples.sum()) == (control, len(samples))
    for site, values in attributions.sums.items():
        assert np.abs(values).max() > 0
        np.testing.assert_allclose(values, expected[site], atol=1e-4 * np.abs(expected[site]).max())


@pytest.mark.parametrize(("more", "each"), [([], -1.0), (["--control"], 0.0)])
def test_negative_attributions_count_as_none_in_the_control_alone(base, tmp_path, step, monkeypatch, more, each):
    def negative(loaded, batch, hooks):
        p, attributions = attribute_batch(loaded, batch, hooks)
        return p, {site: np.full_like(values, -1.0) for site, values in attributions.items()}

    monkeypatch.setattr(attribution, "attribute", negative)
    attributions, _ = store.read_attributions([attributed(base, step, tmp_path / "a.h5", *more)])
    for values in attributions.sums.values():
        np.testing.assert_array_equal(values, np.broadcast_to(each * attributions.samples[:, None, None], values.shape))


def test_mentions_that_name_cultures_in_another_way_are_no_silent_nothing(base, tmp_path, step):
    samples, metadata = files.read_table(base / "samples.parquet")
    names = samples["culture"].unique()
    renamed = samples.assign(culture=samples["culture"].replace({names[0]: "Elsewhere"}), split="identify")
    files.write_table(tmp_path / "samples.parquet", renamed, metadata)
    words = step.shared(base, 8)
    words[words.index("--samples") + 1] = tmp_path / "samples.parquet"
    with pytest.raises(
        DataError, match=rf"no question about '{names[0]}', .*found .*Elsewhere.*\n  data: mentions must"
    ):
        step.run(attribute, *words, "--predictions", base / "m/predictions.parquet", "--sites", "k_proj",
                 "--attributions-out", tmp_path / "a.h5")  # fmt: skip
    assert not (tmp_path / "a.h5").exists()


def test_shards_add_up_to_the_whole(base, tmp_path, step, monkeypatch):
    monkeypatch.setattr(batching, "BLOCK", 8)
    unsharded, _ = store.read_attributions([attributed(base, step, tmp_path / "whole.h5")])
    shards = [attributed(base, step, tmp_path / f"{i}.h5", "--shard", i, "--shards", 3) for i in range(3)]
    together, _ = store.read_attributions(shards)
    assert sum(store.read_attributions([path])[0].samples.sum() > 0 for path in shards) > 1
    assert (together.cultures, together.samples.tolist()) == (unsharded.cultures, unsharded.samples.tolist())
    for site, values in unsharded.sums.items():
        # The same numbers, added up in another order in float64.
        np.testing.assert_allclose(together.sums[site], values, rtol=1e-12, atol=1e-18)


def test_cultures_are_those_that_are_recorded(base, tmp_path, caplog, step):
    table, _ = files.read_table(base / "m/predictions.parquet")
    right = table[table["correct"] & (table["split"] == "identify")]["culture"].value_counts()
    with caplog.at_level("WARNING"):
        path = attributed(base, step, tmp_path / "a.h5", "--min-correct", int(right.min()) + 1)
    attributions, _ = store.read_attributions([path])
    assert attributions.cultures == sorted(right[right > right.min()].index)
    # All of their identify questions count, whatever the model answers.
    questions = table[(table["split"] == "identify") & table["culture"].isin(attributions.cultures)]
    assert attributions.samples.sum() == len(questions)
    assert repr(right.idxmin()) in caplog.text


def test_sites_are_looked_for_once(base, tmp_path, step, monkeypatch):
    """A line about a layer without any would else be there twice."""
    calls, whole = [], projection_checks.find_sites
    for module in (projection_checks, attribution):
        monkeypatch.setattr(module, "find_sites", lambda *given: calls.append(given) or whole(*given))
    attributed(base, step, tmp_path / "a.h5")
    assert len(calls) == 1


def test_unknown_site(base, tmp_path, step):
    with pytest.raises(ConfigError, match=r"unknown site 'gate'.*did you mean 'gate_proj'"):
        attributed(base, step, tmp_path / "a.h5", "--sites", "gate")
    assert not list(tmp_path.iterdir())
