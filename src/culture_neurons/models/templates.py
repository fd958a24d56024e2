"""Chat templates: the settings that they are given, the clock that they may read, and how a prompt ends.

Many templates print today's date into every prompt (Llama 3, Mistral, Granite, SmolLM3, gpt-oss): the same run would
then give other numbers tomorrow. They are refused, unless `chat_template_kwargs` of the model's stanza make their text
the same on every day: by a key that the template reads (`date_string`), or by `strftime_now`, the clock itself as
transformers hands it to templates, which takes a fixed date.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import TemplateError

from culture_neurons.errors import ConfigError, ModelError, nearest

#: The function through which templates read the clock.
CLOCK = "strftime_now"
#: Moments that differ in every part of a date and of a time.
_MOMENTS = tuple(map(datetime.fromisoformat, ("2001-02-03T04:05:06", "2026-11-30T19:28:37", "2099-12-25T10:41:59")))
_WORD = re.compile(r"[A-Za-z_]\w*")
#: What may look like the start or the end of reasoning: <think>, [THINK], <|START_THINKING|>, <|begin_of_thought|> ...
_TAG = re.compile(r"[<\[◁][^<>\[\]◁▷\s]{1,40}[>\]▷]")
_REASONING = re.compile(r"think|thought|reason", re.IGNORECASE)
_CLOSES = re.compile(r"^.\|?(/|end)", re.IGNORECASE)
#: Channels of reasoning (gpt-oss, Gemma 4), which close with a mark of their own.
_CHANNEL = re.compile(r"<\|?channel\|?>\s*(analysis|commentary|thought)")
_CHANNEL_END = re.compile(r"<\|end\|>|<channel\|>|<\|?channel\|?>\s*final")

Chat = Sequence[Mapping[str, Any]]


def sources(processor: Any, tokenizer: Any) -> list[str]:
    """The source of a model's chat templates: one, or several by name."""
    templates = []
    for owner in (processor, tokenizer):
        template = getattr(owner, "chat_template", None)
        templates += list(template.values()) if isinstance(template, dict) else [template]
    return [template for template in templates if isinstance(template, str)]


def render(processor: Any, chat: Chat, settings: Mapping[str, Any]) -> str:
    """A chat as the model's template writes it, with the start of the model's turn. `settings` are variables of the
    template; `strftime_now` is a date there, and a function for the template.

    Raises ValueError or TemplateError where there is no template, or one that fails.
    """
    more = dict(settings)
    if isinstance(more.get(CLOCK), str):
        more[CLOCK] = datetime.fromisoformat(more[CLOCK]).strftime
    return processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False, **more)


def check(name: str, processor: Any, tokenizer: Any, settings: Mapping[str, Any], chats: Sequence[Chat]) -> None:
    """Refuse settings that the template does not read, and a template whose text changes with the clock.

    chats   what the model may be asked, one of a kind: with an image and without

    Raises ConfigError or ModelError, naming the model and the key. A template that fails is no matter of this.
    """
    texts = sources(processor, tokenizer)
    known = sorted({word for text in texts for word in _WORD.findall(text)}, key=lambda word: (len(word), word))
    own = {"messages", *inspect.signature(processor.apply_chat_template).parameters} - {"kwargs"}
    for key in settings:
        where = f"model {name!r}: chat_template_kwargs: {key!r}"
        if key in own:
            raise ConfigError(f"{where} is set by this program; expected a variable of the model's chat template")
        if key not in known:
            raise ConfigError(f"{where}{nearest(key, known)}: the model's chat template does not read it")
    if CLOCK not in known:
        return
    # Processors warn of the clock as an argument, which their templates do take.
    logging.getLogger("transformers.processing_utils").addFilter(_is_no_false_alarm)
    if CLOCK in settings:
        try:
            datetime.fromisoformat(settings[CLOCK])
        except (TypeError, ValueError):
            raise ConfigError(
                f"model {name!r}: chat_template_kwargs: {CLOCK}: {settings[CLOCK]!r} is no date; expected one such as "
                '"2025-01-31", in quotes'
            ) from None
        return
    if _changes(processor, chats, settings):
        dates = [word for word in known if "date" in word.lower() and word not in own]
        key = next((word for word in dates if not _changes(processor, chats, {**settings, word: "26 Jul 2024"})), "")
        fixed = f'{key}: "26 Jul 2024"' if key else f'{CLOCK}: "2025-01-31"'
        raise ModelError(
            f"model {name!r}: its chat template writes today's date into prompts, so that results change with the day\n"
            f"fix it in the model's stanza of the config: chat_template_kwargs: {{{fixed}}}"
        )


def open_reasoning(end: str) -> str:
    """The tag of reasoning that the end of a prompt opens and does not close, such as "<think>"; "" without one.

    end   what the template writes behind the user's text
    """
    last = ""
    for tag in _TAG.findall(end):
        if _REASONING.search(tag):
            last = "" if _CLOSES.search(tag) else tag
    for channel in _CHANNEL.finditer(end):
        if not _CHANNEL_END.search(end, channel.end()):
            return last or channel[0]
    return last


def _changes(processor: Any, chats: Sequence[Chat], settings: Mapping[str, Any]) -> bool:
    """Whether the text of any chat depends on the moment at which it is rendered."""
    for chat in chats:
        try:
            texts = {render(processor, chat, {**settings, CLOCK: _at(moment)}) for moment in _MOMENTS}
        except (ValueError, TypeError, TemplateError):
            continue
        if len(texts) > 1:
            return True
    return False


def _at(moment: datetime) -> Callable[[str], str]:
    return moment.strftime


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Kwargs passed to `processor.__call__`")
