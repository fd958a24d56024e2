"""Chat templates: their settings reach every prompt, and none of them may change with the clock."""

import logging
from datetime import datetime
from pathlib import Path

import pytest

from culture_neurons.errors import ConfigError, ModelError
from culture_neurons.models import templates
from culture_neurons.models.inference import answer
from culture_neurons.models.inputs import Prompt, prepare
from culture_neurons.models.loading import load
from culture_neurons.types import Sample
from tests.models.conftest import text_folder

TURNS = "{% for m in messages %}user\n{{ m['content'] }}\n{% endfor %}"
#: Templates in the manner of well-known ones.
LLAMA = (
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}"
    "{%- endif %}Cutting Knowledge Date: December 2023\nToday Date: {{ date_string }}\n" + TURNS + "assistant\n"
)
SMOLLM = (
    "{%- if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}"
    "{%- set today = strftime_now('%d %B %Y') -%}Today Date: {{ today }}\n" + TURNS + "assistant\n"
    "{% if not enable_thinking %}<think>\n\n</think>\n{% endif %}"
)
GPT_OSS = (
    "{%- macro system() %}Current date: {{ strftime_now('%Y-%m-%d') }}\nReasoning: "
    "{{ reasoning_effort or 'medium' }}{% endmacro %}{{ system() }}\n" + TURNS + "<|start|>assistant"
)
QWEN = (
    TURNS + "{% if add_generation_prompt %}assistant\n{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
PICTURE = (
    "Today: {{ strftime_now('%A') }} {% for m in messages %}{% for c in m['content'] %}"
    "{{ '<image>' if c['type'] == 'image' else c['text'] }}{% endfor %}{% endfor %}"
)
SAMPLE = Sample("s1", "a", "food", "Which?", ("rice", "bread"), 0, "identify")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return text_folder(tmp_path_factory.mktemp("text") / "llama")


def render_prompt(path: str, template: str, **settings) -> str:
    """The prompt of a question, of a model with this template."""
    loaded = load({"name": "m", "path": path, "chat_template": template, "chat_template_kwargs": settings})
    batch = prepare(loaded, [SAMPLE], lambda image: image, Prompt())
    assert len(answer(loaded, batch, Prompt())) == 1
    return batch.questions[0].text


@pytest.mark.parametrize(
    ("template", "advice"),
    [
        (LLAMA, 'chat_template_kwargs: {date_string: "26 Jul 2024"}'),
        (SMOLLM, 'chat_template_kwargs: {strftime_now: "2025-01-31"}'),
        (GPT_OSS, 'chat_template_kwargs: {strftime_now: "2025-01-31"}'),
    ],
    ids=["date_string", "no key of its own", "in a macro"],
)
def test_a_template_that_reads_the_clock_is_refused_with_the_key_that_fixes_it(folder, template, advice):
    with pytest.raises(ModelError) as error:
        render_prompt(folder, template)
    message = str(error.value)
    assert message.startswith("model 'm': its chat template writes today's date into prompts")
    assert message.endswith(advice)
    assert message.count("\n") == 1


def test_a_date_makes_the_prompt_the_same_on_every_day(folder):
    assert "Today Date: 26 Jul 2024\n" in render_prompt(folder, LLAMA, date_string="26 Jul 2024")
    assert "Today Date: 31 Jan 2025\n" in render_prompt(folder, LLAMA, strftime_now="2025-01-31")
    assert "Today Date: 31 January 2025\n" in render_prompt(folder, SMOLLM, strftime_now="2025-01-31")
    assert "Current date: 2025-01-31\n" in render_prompt(folder, GPT_OSS, strftime_now="2025-01-31")


def test_a_clock_that_is_not_printed_is_no_matter(folder):
    unused = "{% set now = strftime_now('%Y') %}" + TURNS + "assistant\n"
    assert render_prompt(folder, unused).startswith("user\n")


def test_settings_reach_the_template(folder):
    assert render_prompt(folder, QWEN).endswith("assistant\n")
    assert render_prompt(folder, QWEN, enable_thinking=False).endswith("assistant\n<think>\n\n</think>\n\n")
    assert "Reasoning: low" in render_prompt(folder, GPT_OSS, reasoning_effort="low", strftime_now="2025-01-31")


def test_settings_reach_the_template_of_a_processor_and_its_markers(folders, questions, caplog):
    settings = {"name": "m", "path": folders["llava-next-qwen2"], "chat_template": PICTURE}
    with pytest.raises(ModelError, match=r"today's date .*\n.*strftime_now"):
        load(settings)
    loaded = load(settings | {"chat_template_kwargs": {"strftime_now": "2025-01-31"}})
    with caplog.at_level(logging.WARNING, "transformers.processing_utils"):
        batch = prepare(loaded, questions.samples[:2], questions.opener, Prompt(), content=True)
    assert all(question.text.startswith("Today: Friday <image>") for question in batch.questions)
    assert batch.content.any(dim=1).all()
    assert caplog.messages == []  # a known argument is no reason for a warning with every prompt
    assert loaded.template == {"strftime_now": "2025-01-31"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"enable_thinkin": False},
            r"'enable_thinkin' \(did you mean 'enable_thinking'\?\): the model's chat template",
        ),
        ({"tokenize": True}, "'tokenize' is set by this program"),
        ({"messages": []}, "'messages' is set by this program"),
    ],
)
def test_settings_that_the_template_does_not_read_are_refused(folder, settings, message):
    with pytest.raises(ConfigError, match=rf"model 'm': chat_template_kwargs: {message}"):
        render_prompt(folder, QWEN, **settings)


@pytest.mark.parametrize("date", ["today", 5, ""])
def test_a_clock_that_is_no_date_is_refused(folder, date):
    with pytest.raises(ConfigError, match=r"strftime_now: .* is no date; expected one such as \"2025-01-31\""):
        render_prompt(folder, SMOLLM, strftime_now=date)


@pytest.mark.parametrize(
    ("end", "tag"),
    [
        ("<|im_end|>\n<|im_start|>assistant\n", ""),
        ("<|im_end|>\n<|im_start|>assistant\n<think>\n", "<think>"),
        ("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        ("<｜Assistant｜><think>\n", "<think>"),
        ("[/INST]", ""),
        ("[/INST][THINK]", "[THINK]"),
        ("[/INST][THINK]a[/THINK]", ""),
        ("<|assistant|><|thinking|>", "<|thinking|>"),
        ("<|assistant|><|thinking|><|/thinking|>", ""),
        ("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_THINKING|>", "<|START_THINKING|>"),
        ("<|CHATBOT_TOKEN|><|START_THINKING|><|END_THINKING|>", ""),
        ("<|begin_of_thought|>", "<|begin_of_thought|>"),
        ("<|begin_of_thought|><|end_of_thought|>", ""),
        ("◁think▷", "◁think▷"),
        ("◁think▷◁/think▷", ""),
        ("<|start|>assistant<|channel|>analysis<|message|>", "<|channel|>analysis"),
        ("<|start|>assistant<|channel|>final<|message|>", ""),
        ("<start_of_turn>model\n<|channel>thought\n<channel|>", ""),
    ],
)
def test_reasoning_that_a_prompt_leaves_open(end, tag):
    assert templates.open_reasoning(end) == tag


def test_moments_differ_in_all_parts_of_a_date():
    for part in "YmdHMSajBbyp":
        assert len({moment.strftime(f"%{part}") for moment in templates._MOMENTS}) > 1, part
    assert datetime.now() not in templates._MOMENTS


def test_every_place_that_renders_a_question_goes_through_one_function():
    """What trains the demo models has templates of its own."""
    source = Path(templates.__file__).parent
    names = {path.name for path in source.rglob("*.py") if "apply_chat_template(" in path.read_text(encoding="utf-8")}
    assert names == {"templates.py", "lessons.py", "training.py"}
