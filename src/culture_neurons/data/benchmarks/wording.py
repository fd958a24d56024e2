"""How the fields of a benchmark's row become the text of a question: templates, which are our own wording."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

from culture_neurons.data.text import plain
from culture_neurons.errors import ConfigError, nearest, printable


def check(templates: Any, fields: Sequence[str], where: str) -> tuple[str, ...]:
    """A list of templates that name at least one of `fields`, each as {name}. Raises ConfigError."""
    if not isinstance(templates, list | tuple) or not templates:
        raise ConfigError(f"{where}: expected a list of texts with {list_fields(fields)}, found {repr(templates)[:80]}")
    for number, template in enumerate(templates, start=1):
        if not _names(template, fields, f"{where}: text {number}"):
            raise ConfigError(f"{where}: text {number} names no field; known: {list_fields(fields)}")
    return tuple(templates)


def check_plain(text: Any, where: str) -> str:
    """A text without fields, not empty. Raises ConfigError."""
    _names(text, (), where)
    if not text.strip():
        raise ConfigError(f"{where}: expected a text, found {text!r}")
    return text


def list_fields(fields: Sequence[str]) -> str:
    """The fields as a template writes them."""
    return ", ".join(f"{{{name}}}" for name in fields) or "no field"


def _names(template: Any, fields: Sequence[str], where: str) -> list[str]:
    """The fields that a template names; anything but a plain {name} of `fields` is a ConfigError."""
    if not isinstance(template, str):
        raise ConfigError(f"{where}: expected a text, found {repr(template)[:80]}")
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; write {{{{ and }}}} for braces: {template[:60]!r}") from None
    for _, name, form, conversion in parts:
        if name is not None and (name not in fields or form or conversion):
            field = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise ConfigError(
                f"{where}: unknown field {{{printable(field)[:60]}}}{nearest(name, fields)};"
                f" known: {list_fields(fields)}"
            )
    return [name for _, name, _, _ in parts if name is not None]


def pick(templates: Sequence[str], sample_id: str, seed: int) -> str:
    """One of the templates, by a seeded hash of the id: each is as likely, and other rows don't matter."""
    digest = hashlib.blake2b(f"wording\x1f{seed}\x1f{sample_id}".encode(errors="replace"), digest_size=8).digest()
    return templates[int.from_bytes(digest, "big") % len(templates)]


def fill(template: str, fields: Mapping[str, Any]) -> str:
    """The template with its fields; "" when one of those that it names is empty."""
    values = {name: plain(fields[name]) for _, name, _, _ in Formatter().parse(template) if name is not None}
    return template.format_map(values) if all(values.values()) else ""
