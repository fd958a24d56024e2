import json

import numpy as np
import pytest

from culture_neurons import files
from culture_neurons.errors import ModelError
from culture_neurons.models import projection_checks
from culture_neurons.steps import gather_answers, infer, model_arguments

pytestmark = pytest.mark.workflow


def test_predictions_have_every_sample_once_and_say_what_made_them(base, step):
    table, metadata = files.read_table(base / "m/predictions.parquet")
    samples, _ = files.read_table(base / "samples.parquet")
    assert table["sample_id"].tolist() == sorted(samples["sample_id"])
    merged = table.merge(samples[["sample_id", "label"]], on="sample_id")
    np.testing.assert_array_equal(merged["correct"], merged["prediction"] == merged["label"])
    assert all(sorted(order) == [0, 1, 2, 3] for order in table["option_order"])
    assert all(len(p) == 4 and (np.asarray(p) < 0).all() for p in table["logprobs"])
    assert metadata["model"] == "m"
    assert len(metadata["revision"]) == 12
    assert metadata["step"] == "gather_answers"
    assert list(metadata["history"]) == ["infer"]
    assert not any("batch" in key or "thread" in key for key in metadata["settings"])


def test_settings_of_the_chat_template_are_written_with_the_answers(base, tmp_path, step):
    template = (
        "{% for m in messages %}{% for c in m['content'] %}{{ '<image>' if c['type'] == 'image' else c['text'] }}"
    )
    settings = {"name": "m", "path": str(base / "model"), "chat_template_kwargs": {"enable_thinking": False}}
    settings["chat_template"] = template + "{% endfor %}{% endfor %}{{ '' if enable_thinking else '<think></think>' }}"
    words = step.shared(base)
    words[words.index("--model") + 1] = json.dumps(settings)
    step.run(infer, *words, "--answers-out", tmp_path / "answers.parquet")
    step.run(gather_answers, "--shards", tmp_path / "answers.parquet", "--out", tmp_path / "predictions.parquet")
    _, metadata = files.read_table(tmp_path / "predictions.parquet")
    assert metadata["settings"]["model"]["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize(("end", "tag"), [("<think>\n", "<think>"), ("<think>\n</think>\n", "")])
def test_prompts_that_end_inside_reasoning_are_said_and_written(base, tmp_path, step, caplog, end, tag):
    """The template's own text in the middle is no end of a prompt."""
    template = "[THINK]{% for m in messages %}{% for c in m['content'] %}{{ '<image>' if c['type'] == 'image' else "
    settings = {"name": "m", "path": str(base / "model")}
    settings["chat_template"] = template + "c['text'] }}{% endfor %}{% endfor %}" + end
    words = step.shared(base)
    words[words.index("--model") + 1] = json.dumps(settings)
    step.run(infer, *words, "--answers-out", tmp_path / "answers.parquet")
    step.run(gather_answers, "--shards", tmp_path / "answers.parquet", "--out", tmp_path / "predictions.parquet")
    assert files.read_table(tmp_path / "predictions.parquet")[1]["open_reasoning"] == tag
    warned = [text for text in caplog.messages if "prompts end inside an open" in text]
    assert len(warned) == bool(tag)
    assert all("warning: m: prompts end inside an open <think>" in text for text in warned)


def test_template_that_fails_is_no_traceback(base, tmp_path, step):
    words = step.shared(base)
    settings = {"name": "m", "path": str(base / "model"), "chat_template": "{{ raise_exception('no system turn') }}"}
    words[words.index("--model") + 1] = json.dumps(settings)
    with pytest.raises(ModelError, match=r"fails \(no system turn\); set chat_template"):
        step.run(infer, *words, "--answers-out", tmp_path / "answers.parquet")


def test_out_of_memory_for_one_question_says_what_to_do(base, tmp_path, monkeypatch, step):
    def no_memory(*_):
        raise RuntimeError("CUDA out of memory. Tried to allocate")

    monkeypatch.setattr("culture_neurons.models.inference.logits_at", no_memory)
    with pytest.raises(ModelError, match=r"even for one question at a time\n.*device_map"):
        step.run(infer, *step.shared(base), "--answers-out", tmp_path / "p.parquet")


def test_answers_by_the_texts_of_options(base, tmp_path, step):
    prompt = {"answer": "options", "neutral": ""}
    step.run(infer, *step.shared(base), "--prompt", json.dumps(prompt), "--answers-out", tmp_path / "answers.parquet")
    table, metadata = files.read_table(tmp_path / "answers.parquet")
    letters, _ = files.read_table(base / "answers.parquet")
    assert table["sample_id"].tolist() == letters["sample_id"].tolist()
    assert table["well_formed"].all()
    assert all(list(order) == [0, 1, 2, 3] for order in table["option_order"])
    total = np.array([np.logaddexp.reduce(p) for p in table["logprobs"]])
    np.testing.assert_allclose(total, 0, atol=1e-5)
    assert metadata["settings"]["prompt"] == prompt


@pytest.mark.parametrize(("gone", "warned"), [({"k_proj", "v_proj"}, True), ({"gate_proj", "k_proj"}, None)])
def test_sites_are_checked_before_anything_is_asked(base, tmp_path, step, monkeypatch, caplog, gone, warned):
    """A site that no layer has is a line in the log; a model that has none of the sites is refused."""
    of_all = projection_checks.projections
    monkeypatch.setattr(projection_checks, "projections", lambda adapter, sites: {
        site: (None,) * len(of_site) if site in gone else of_site for site, of_site in of_all(adapter, sites).items()
    })  # fmt: skip
    words = [*step.shared(base), "--answers-out", tmp_path / "answers.parquet"]
    if warned:
        step.run(infer, *words, "--check-sites", "gate_proj", "q_proj", "k_proj", "v_proj")
        assert "m: no layer has k_proj or v_proj; the other sites are attributed" in caplog.messages
        _, metadata = files.read_table(tmp_path / "answers.parquet")
        assert "check_sites" not in metadata["settings"]
        return
    monkeypatch.setattr(model_arguments, "answers", None)  # nothing is asked
    with pytest.raises(ModelError, match="model 'm': no layer has gate_proj or k_proj"):
        step.run(infer, *words, "--check-sites", "gate_proj", "k_proj")
    assert not list(tmp_path.iterdir())


def test_runs_without_attribution_check_no_sites(base, tmp_path, step, monkeypatch):
    monkeypatch.setattr(projection_checks, "find_sites", None)
    step.run(infer, *step.shared(base), "--check-sites", "none", "--answers-out", tmp_path / "answers.parquet")
    assert (tmp_path / "answers.parquet").read_bytes() == (base / "answers.parquet").read_bytes()
