import json

import pytest

from culture_neurons import store
from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models import projection_checks
from culture_neurons.steps import calibrate
from tests.models.demo.conftest import decoder

__all__ = ["decoder"]

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def calibration(base, step, tmp_path_factory):
    path = tmp_path_factory.mktemp("calibrate") / "calibration.json"
    step.run(calibrate, *step.shared(base), "--top-fraction", "0.1", "--calibration-out", path)
    return json.loads(path.read_text(encoding="utf-8"))


def test_calibration_says_what_was_measured_and_on_what(calibration):
    expected = {
        "model": "m", "dtype": "float32", "device_type": "cpu", "devices": 1, "threads": 1, "answer": "logprob",
        "prepares_ahead": False, "batch_size": 8, "batch_size_fitted": 8, "layers": 2, "neurons": 48, "questions": 72,
        "questions_run": 24, "repeats": 2, "under_masks": True, "peak_device_bytes": None, "step": "calibrate",
    }  # fmt: skip
    assert {key: calibration[key] for key in expected} == expected
    assert calibration["device"]
    assert calibration["start_up_seconds"] > 0
    seconds = calibration["seconds_per_question"]
    assert set(seconds) == {"prepare", "answer", "record", "write", "ablate", "ablate_mask"}
    assert all(len(values) == 2 for values in seconds.values())
    assert 0 < calibration["tokens_per_question"]["mean"] <= calibration["tokens_per_question"]["max"]
    assert calibration["settings"]["top_fraction"] == "0.1"


def test_bytes_of_a_question_are_those_of_a_real_file(calibration, base, step, tmp_path):
    path = step.recorded(base, tmp_path / "statistics.h5")
    size, raw = store.bytes_on_disk(path)
    samples = sum(n for n, _ in store.count_tokens(path).values())
    # Of so few and so small samples, what a file has beside them is the larger part.
    assert raw / samples / 8 < calibration["statistics_bytes_per_question"] < 2 * size / samples


def test_the_negative_part_takes_room_too(calibration, base, step, tmp_path):
    path = tmp_path / "calibration.json"
    step.run(calibrate, *step.shared(base), "--top-fraction", "0.1", "--negative-sum", "--calibration-out", path)
    more = json.loads(path.read_text(encoding="utf-8"))["statistics_bytes_per_question"]
    assert more > calibration["statistics_bytes_per_question"] + 100


@pytest.mark.workflow
def test_a_model_that_the_run_trains_is_built_untrained(base, step, tmp_path):
    words, source = step.shared(base), {"type": "synthetic", "cultures": 2, "categories": 1, "motifs": 2}
    model = {"name": "tiny", "architecture": "llava-next-mistral", "source": source}
    words[words.index("--model") + 1] = json.dumps(model)
    step.run(calibrate, *words, "--calibration-out", tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert (content["model"], content["layers"]) == ("tiny", 4)
    assert content["settings"]["model"] == model  # and no folder that is gone


def test_a_model_that_gets_an_eye_is_measured_before_it_learns_to_see(base, decoder, step, tmp_path, caplog):
    caplog.set_level("INFO", "culture_neurons")
    words, model = step.shared(base), {"name": "eye", "decoder": str(decoder), "chat_template": "none"}
    words[words.index("--model") + 1] = json.dumps(model)
    step.run(calibrate, *words, "--masks", "1", "--calibration-out", tmp_path / "c.json")
    content = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert content["model"] == "eye"
    assert content["settings"]["model"] == model
    # The first thing that is said needs no model.
    assert caplog.messages[0] == "eye: 72 questions of 3 cultures and 1 masks of each: about 180 passes"
    # 72 answers, and 36 questions under masks of 3 cultures: 180 passes, of which one question takes less than a
    # twentieth.
    assert (content["questions"], content["questions_run"], content["batch_size_fitted"]) == (72, 1, 8)
    assert (content["under_masks"], content["repeats"]) == (False, 1)
    assert content["seconds_per_question"]["ablate_mask"] == content["seconds_per_question"]["answer"]


def test_a_model_that_cannot_be_loaded_is_a_clear_error(base, step, tmp_path):
    words = step.shared(base)
    words[words.index("--model") + 1] = json.dumps({"name": "gone", "path": str(tmp_path)})
    with pytest.raises(ModelError, match=r"model 'gone': .* is no model folder"):
        step.run(calibrate, *words, "--calibration-out", tmp_path / "c.json")


def test_a_fraction_that_leaves_no_neuron_is_refused_before_anything_is_measured(base, step, tmp_path):
    with pytest.raises(ConfigError, match="leaves no neuron"):
        step.run(calibrate, *step.shared(base), "--top-fraction", "1e-6", "--calibration-out", tmp_path / "c.json")


def test_out_of_memory_for_one_question_says_what_to_do(base, step, tmp_path, monkeypatch):
    def no_memory(*_):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("culture_neurons.models.calibration.answer", no_memory)
    with pytest.raises(ModelError, match="even for one question at a time"):
        step.run(calibrate, *step.shared(base), "--calibration-out", tmp_path / "c.json")


def test_units_are_counted_where_they_are_attributed(base, step, tmp_path, monkeypatch):
    """A layer whose keys do not act as such is left out of the files, and so of the plan."""
    path, found = tmp_path / "c.json", []
    whole = projection_checks.find_sites
    without = {"k_proj": (None, None)}
    for changed in ({}, without):
        monkeypatch.setattr(projection_checks, "find_sites", lambda *given, c=changed: whole(*given) | c)
        step.run(calibrate, *step.shared(base), "--sites", "q_proj", "k_proj", "--calibration-out", path)
        found.append(json.loads(path.read_text(encoding="utf-8"))["units_per_layer"])
    assert found[0] > found[1] > 0
