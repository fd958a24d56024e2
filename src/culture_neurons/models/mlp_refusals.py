"""Why a model can't be analysed, in words: what was found, and what was expected.

`adapters` raises it, and `loading` for the kinds of `UNFIT`; what does not fit is found in `mlp_numbers`.
"""

from __future__ import annotations

from torch import nn

from culture_neurons.errors import ModelError
from culture_neurons.models.mlps import is_projection, sizes

#: Lines of a tree, and characters of each.
_LINES, _LINE = 5, 150
#: Model type -> why none of its models can be analysed, whatever its layers hold.
UNFIT = {
    "reformer": "it hashes tokens at random, so that no two passes over a long prompt agree, and passes no gradients on"
}
EXPECTED = (
    "expected in each decoder layer: down(act(gate x) * up x), or down(act(fc x)), and no norm, bias or gate between "
    "the neurons and down"
)


def refusal(model_type: str, why: str, module: nn.Module, advice: str = "") -> ModelError:
    """The error that says why, what was expected, what `module` holds (five lines), and what to do."""
    lines = [f"model type {model_type!r}: {why}", EXPECTED, f"found in {type(module).__name__}:", *tree(module)]
    return ModelError("\n".join([*lines, *filter(None, [advice])]), lines=len(lines) + 1)


def tree(module: nn.Module) -> list[str]:
    """What a module holds, in at most five lines: each child, and in brackets its parts with their widths."""
    children = [(name, child) for name, child in module.named_children() if _weight(child) or _is_leaf(child)]
    children.sort(key=lambda item: _weight(item[1]) < 1)  # what has no matrix comes last
    lines = [f"  {name}: {_words(child)}" for name, child in children]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], f"  and {len(lines) - _LINES + 1} more"]
    return [line if len(line) <= _LINE else f"{line[: _LINE - 3]}..." for line in lines]


def _words(module: nn.Module) -> str:
    if is_projection(module):
        return f"{type(module).__name__} {'>'.join(map(str, sizes(module)))}"
    parts = [
        f"{name} {_words(part)}"
        for name, part in module.named_modules()
        if name and (is_projection(part) or (_is_leaf(part) and not _weight(part)))
    ]
    return f"{type(module).__name__} ({', '.join(parts)})" if parts else type(module).__name__


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _weight(module: nn.Module) -> int:
    """How many matrices a module holds."""
    return sum(value.ndim > 1 for value in module.parameters())
