import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from transformers import MambaConfig, MambaForCausalLM

from culture_neurons.data.prompts import messages
from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.files import model_digest
from culture_neurons.models.ablation import evaluator
from culture_neurons.models.hooks import record
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.loading import SETTINGS, Loaded, load
from culture_neurons.models.recording import activation_sums
from culture_neurons.types import NeuronMask, Sample
from tests.models.conftest import text_folder

PAPER = Path(__file__).parents[2] / "config" / "paper-vlm.yaml"


@pytest.fixture
def folder(folders, tmp_path) -> Path:
    """A model folder of one's own, to damage."""
    return Path(shutil.copytree(folders["llava-next-qwen2"], tmp_path / "model"))


@pytest.fixture(scope="module")
def language_model(tmp_path_factory) -> str:
    """A text-only model with a chat template, as a table without images may ask."""
    return text_folder(tmp_path_factory.mktemp("text") / "llama")


def test_dtype_revision_and_evaluation_mode(folder):
    loaded = load({"name": "m", "path": str(folder), "dtype": "bfloat16"})
    assert loaded.dtype == "bfloat16"
    assert next(loaded.model.parameters()).dtype == torch.bfloat16
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert loaded.revision == model_digest(folder)
    assert loaded.identity == {"model": "m", "revision": loaded.revision, "dtype": "bfloat16"}


def test_attention_implementation_is_passed_on(folder):
    loaded = load({"name": "m", "path": str(folder), "attn_implementation": "eager"})
    assert loaded.model.config.text_config._attn_implementation == "eager"


def test_model_spread_over_devices_by_accelerate_gives_the_same_numbers(folders, questions, tmp_path):
    folder, decoder = folders["qwen2.5-vl"], "model.language_model"
    device_map = dict.fromkeys(["model.visual", "lm_head", f"{decoder}.embed_tokens", f"{decoder}.norm",
                                f"{decoder}.rotary_emb", f"{decoder}.layers.0"], "cpu")  # fmt: skip
    spread = load({"name": "m", "path": folder, "device_map": device_map | {f"{decoder}.layers.1": "disk"},
                   "from_pretrained": {"offload_folder": str(tmp_path / "offload")}})  # fmt: skip
    assert spread.model.hf_device_map[f"{decoder}.layers.1"] == "disk"
    in_one_place = load({"name": "m", "path": folder})
    mask = [NeuronMask("c", "act_fn", [1] * 48, range(48))]
    results = []
    for loaded in (spread, in_one_place):
        batch = prepare(loaded, questions.samples[:3], questions.opener, Prompt())
        with evaluator(loaded, mask, Prompt()) as evaluate:
            outcomes = evaluate(batch)
        with record(loaded.adapter) as recorder:
            tokens, fired, positive_sum = activation_sums(loaded, batch, "all", recorder)
        results.append(
            (answer(loaded, batch, Prompt()), outcomes, tokens.tolist(), fired.tolist(), positive_sum.tolist())
        )
    assert results[0] == results[1]
    assert results[0][0] != results[0][1][0]


def test_further_arguments_reach_from_pretrained(folder):
    arguments = {"quantization_config": {"quant_method": "no_such_quantiser"}}
    with pytest.raises(ModelError, match="no_such_quantiser"):
        load({"name": "m", "path": str(folder), "from_pretrained": arguments})


def test_digest_follows_the_weights_and_not_the_notes(folder):
    before = model_digest(folder)
    (folder / "training.json").write_text("{}")
    (folder / "gguf.json").write_text("{}")
    assert model_digest(folder) == before
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert model_digest(folder) != before


def test_language_model_without_images_answers(language_model):
    loaded = load({"name": "text", "path": language_model})
    sample = Sample("s", "c", "k", "Which?", ("rice", "bread"), 0)
    batch = prepare(loaded, [sample], lambda image: None, Prompt())
    assert len(answer(loaded, batch, Prompt())[0].logprobs) == 2
    assert (loaded.adapter.n_layers, loaded.adapter.n_neurons) == (2, 24)
    with_image = Sample("s", "c", "k", "Which?", ("a", "b"), 0, image={"path": "x"})
    with pytest.raises(ModelError, match="language model"):
        prepare(loaded, [with_image], lambda image: image, Prompt())


def test_folder_that_is_no_model(tmp_path):
    with pytest.raises(ModelError, match=r"'m'.*no config\.json"):
        load({"name": "m", "path": str(tmp_path)})
    for path in ("./nowhere", "a/b/c", str(tmp_path / "file")):
        (tmp_path / "file").touch()
        with pytest.raises(ModelError, match="no folder"):
            load({"name": "m", "path": path})


@pytest.mark.parametrize("how", ["offline", "closed"])
def test_hub_that_cannot_be_reached(monkeypatch, how):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", how == "offline")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(ModelError) as error:
        load({"name": "m", "path": "nobody/nothing-at-all"})
    assert time.monotonic() - start < 15
    assert len(str(error.value).splitlines()) == 2
    assert "nobody/nothing-at-all" in str(error.value)
    assert "make prefetch" in str(error.value)


def test_config_that_is_no_json_and_unknown_type(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="can't load"):
        load({"name": "m", "path": str(folder)})
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ModelError, match="neither a vision-language"):
        load({"name": "m", "path": str(folder)})


def test_code_from_the_folder_does_not_run_unless_allowed(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    ran = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    with pytest.raises(ModelError):
        load({"name": "m", "path": str(folder)})
    assert not ran.exists()


def test_pickled_weights_are_refused(folder):
    state = torch.nn.Linear(2, 2).state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        load({"name": "m", "path": str(folder)})


def test_missing_weights_are_an_error_and_not_random(folder):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = next(key for key in sorted(tensors) if "gate_proj" in key)
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights.*gate_proj"):
        load({"name": "m", "path": str(folder)})


def test_truncated_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="can't load"):
        load({"name": "m", "path": str(folder)})


def test_model_without_mlps(tmp_path, language_model):
    config = MambaConfig(hidden_size=16, num_hidden_layers=2, state_size=4, vocab_size=50)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(language_model) / name, tmp_path)
    with pytest.raises(ModelError, match="'mamba': layer 0 has no MLP"):
        load({"name": "m", "path": str(tmp_path)})


def test_unknown_setting_and_dtype(folder):
    with pytest.raises(ConfigError, match="did you mean 'revision'"):
        load({"name": "m", "path": str(folder), "revison": "main"})
    with pytest.raises(ConfigError, match="did you mean 'float16'"):
        load({"name": "m", "path": str(folder), "dtype": "flaot16"})


@pytest.mark.parametrize("key", ["gguf_file", "use_safetensors", "weights_only", "device_map", "token"])
def test_arguments_that_would_undo_a_promise_are_refused(folder, key):
    with pytest.raises(ConfigError, match=f"from_pretrained: '{key}'"):
        load({"name": "m", "path": str(folder), "from_pretrained": {key: False}})


def test_unknown_argument_of_from_pretrained_is_no_traceback(folder):
    with pytest.raises(ModelError, match="load_in_9bit"):
        load({"name": "m", "path": str(folder), "from_pretrained": {"load_in_9bit": True}})


def test_processor_settings_reach_the_processor(folders, questions):
    counts = []
    for settings in ({}, {"processor": {"min_pixels": 28 * 28, "max_pixels": 28 * 28}}):
        loaded = load({"name": "m", "path": folders["qwen2.5-vl"], **settings})
        batch = prepare(loaded, questions.samples[:1], questions.opener, Prompt())
        counts.append(int((batch.inputs["input_ids"] == loaded.image_token_id).sum()))
    assert counts == [4, 1]


def test_tokens_without_an_embedding_get_a_row_of_zeros(folder, questions):
    before = load({"name": "m", "path": str(folder)})
    rows = before.model.get_input_embeddings().weight.shape[0]
    batch = prepare(before, questions.samples[:2], questions.opener, Prompt())
    expected = [a.prediction for a in answer(before, batch, Prompt())]
    before.tokenizer.add_tokens(["<new>", "<newer>"])
    before.processor.save_pretrained(folder)
    after = load({"name": "m", "path": str(folder)})
    for table in (after.model.get_input_embeddings(), after.model.get_output_embeddings()):
        assert table.weight.shape[0] == rows + 2
        assert not table.weight[rows:].any()
    assert [a.prediction for a in answer(after, batch, Prompt())] == expected


@pytest.mark.parametrize(
    ("model", "architecture"),
    [
        ("qwen2.5-vl-7b", "qwen2.5-vl"),
        ("llava-v1.6-mistral-7b", "llava-next-mistral"),
        ("pangea-7b", "llava-next-qwen2"),
    ],
)
def test_stanzas_of_the_paper_config_are_understood_by_their_architecture(folders, questions, model, architecture):
    stanza = yaml.safe_load(PAPER.read_text(encoding="utf-8"))["models"][model]
    settings = {key: value for key, value in stanza.items() if key in SETTINGS}
    settings["processor"] = dict(settings.get("processor", {}))
    if "patch_size" in settings["processor"]:
        settings["processor"]["patch_size"] = 28  # of the tiny model
    loaded = load(settings | {"name": model, "path": folders[architecture]})
    batch = prepare(loaded, questions.samples[:2], questions.opener, Prompt())
    assert len(answer(loaded, batch, Prompt())) == 2


def test_chat_template_of_the_paper_config_places_the_image(folders, questions):
    template = yaml.safe_load(PAPER.read_text(encoding="utf-8"))["models"]["pangea-7b"]["chat_template"]
    loaded = load({"name": "m", "path": folders["llava-next-qwen2"], "chat_template": template})
    text = loaded.processor.apply_chat_template(messages("Which?\nA. x", True), add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<image>\nWhich?\nA. x<|im_end|>\n<|im_start|>assistant\n"
    )


def test_without_a_chat_template_prompts_are_the_bare_text(folders, folder):
    text = load({"name": "m", "path": str(folder), "chat_template": "none"})
    assert text.render("The capital of Japan is", with_image=False) == "The capital of Japan is"
    sees = load({"name": "m", "path": folders["llava-next-qwen2"], "chat_template": "none"})
    assert sees.render("This is in", with_image=False) == "This is in"
    assert sees.render("This is in", with_image=True) == "<image>\nThis is in"


def test_chat_template_is_text_or_a_file_that_exists(folder, tmp_path):
    (tmp_path / "own.jinja").write_text("{{ messages[0]['content'] }}", encoding="utf-8")
    loaded = load({"name": "m", "path": str(folder), "chat_template": str(tmp_path / "own.jinja")})
    assert loaded.processor.chat_template == "{{ messages[0]['content'] }}"
    with pytest.raises(ConfigError, match=r"chat_template: 'nofile.jinja' is neither"):
        load({"name": "m", "path": str(folder), "chat_template": "nofile.jinja"})


@pytest.mark.parametrize("template", ["{% for x %}", "{{ raise_exception('no such role') }}"])
def test_chat_template_that_fails_is_no_traceback(folder, questions, template):
    loaded = load({"name": "m", "path": str(folder), "chat_template": template})
    with pytest.raises(ModelError, match="set chat_template"):
        prepare(loaded, questions.samples[:1], questions.opener, Prompt())


def test_unknown_processor_argument_and_device_that_is_not_there(folder):
    with pytest.raises(ConfigError, match=r"processor: 'max_pixel' is no option .*expected one of .*crop_size"):
        load({"name": "m", "path": str(folder), "processor": {"max_pixel": 5}})
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="can't load"):
            load({"name": "m", "path": str(folder), "device_map": "cuda:3"})


def test_the_token_of_images_may_be_known_to_the_processor_alone():
    """MiniCPM-V's configuration has none; a tokenizer that names one makes no model see."""
    tokenizer = SimpleNamespace(image_token_id=7)
    processor = SimpleNamespace(tokenizer=tokenizer, image_token_id=7)
    model = SimpleNamespace(config=SimpleNamespace(image_token_id=None))
    parts = {"name": "m", "model": model, "adapter": None, "revision": "", "dtype": "float32"}
    assert Loaded(processor=processor, **parts).image_token_id == 7
    assert Loaded(processor=tokenizer, **parts).image_token_id is None
    model.config.image_token_index = 9
    assert Loaded(processor=processor, **parts).image_token_id == 9
