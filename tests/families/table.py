"""docs/model-families.md from docs/model-families.json, which holds what `make check-models` found."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from culture_neurons.types import PROJECTIONS
from tests.families.checks import ACTIONS
from tests.families.running import works

_DOCS = Path(__file__).parents[2] / "docs"
TABLE, RESULTS = _DOCS / "model-families.md", _DOCS / "model-families.json"
_HEAD = """# Model families

Every family of transformers {transformers} that has a causal or an image-text head, as `make check-models` found it
with torch {torch}. A tiny random model of each is saved, loaded as any other ([models.md](models.md)) and asked five
questions in one padded batch; where it sees, about images too: two questions share one, and one has none. What the
package gives is compared with the same questions asked one by one, by other means (`tests/families`): answers with
those of the model itself, sums of activations and gradients with other hooks, masks with zeros in the weights, all in
float32 and within 1e-5; an empty mask in bfloat16 bit by bit; texts with greedy decoding by whole passes. That says
that a family is read right, and nothing of what a trained model knows.

{text} of {all} families answer questions in words, {images} questions about images. Where *text* or *images* stands in
place of *yes*, that alone works. *vision*: needs torchvision, the extra `vision`. Where one model type has dense models
and mixtures of experts, the dense ones are meant. A plain MLP has no `up_proj`: that nothing can be attributed there is
not repeated in its row.

"""
_COLUMNS = ("family", "text", "images", *ACTIONS[1:], "vision", "what does not work, and why")


def write(results: dict[str, Any]) -> None:
    """Write both files."""
    versions = {name: version(name) for name in ("transformers", "torch")}
    kept = {"versions": versions, "families": results}
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    TABLE.write_text(text(kept), encoding="utf-8")


def read() -> dict[str, Any]:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def text(kept: dict[str, Any]) -> str:
    """The page: first the families that answer, then those that load but do not answer, then what is refused."""
    results = kept["families"]
    versions = {name: value.partition("+")[0] for name, value in kept["versions"].items()}
    numbers = {mode: sum(works(result, mode) for result in results.values()) for mode in ("text", "images")}
    lines = [_line(_COLUMNS), _line(["---"] * len(_COLUMNS))]
    order = sorted(results, key=lambda name: (_rank(results[name]), name))
    lines += [_line(row(name, results[name])) for name in order]
    return _HEAD.format(**versions, **numbers, all=len(results)) + "\n".join(lines) + "\n"


def row(name: str, result: dict[str, Any]) -> list[str]:
    """The cells of one family."""
    modes = [mode for mode in ("text", "images") if mode in result]
    cells = [f"`{name}`"]
    cells += ["yes" if works(result, mode) else "no" if mode in modes else "" for mode in ("text", "images")]
    if not modes:
        cells[1] = "no"
    for action in ACTIONS[1:]:
        good = [mode for mode in modes if result[mode][action] == ""]
        cells.append("yes" if good and good == modes else ", ".join(good) or "no")
    cells.append("needed" if result.get("vision") else "")
    return [*cells, _why(result)]


def _why(result: dict[str, Any]) -> str:
    """Each reason once, with what it hinders."""
    if "refused" in result:
        return _short(result["refused"])
    by_reason: dict[str, list[str]] = {}
    for mode in ("text", "images"):
        for action in ACTIONS:
            why = result.get(mode, {}).get(action, "")
            if why and why != "no answers":
                by_reason.setdefault(_short(why), []).append(action if mode == "text" else f"{action} of images")
    none = ("up_proj",) if result["plain"] else ()
    missing = [site for site in PROJECTIONS if result["sites"] and site not in (*result["sites"], *none)]
    lacking = [f"attribution without {', '.join(missing)}"] if missing else []
    return "; ".join([*(f"{', '.join(actions)}: {why}" for why, actions in by_reason.items()), *lacking])


def _short(why: str) -> str:
    """At most some 120 characters, without what Markdown would read."""
    plain = " ".join(why.replace("|", "/").split())
    return plain if len(plain) <= 120 else plain[:117].rsplit(" ", 1)[0] + " …"


def _rank(result: dict[str, Any]) -> int:
    if "refused" in result:
        return 2
    return 0 if works(result, "text") or works(result, "images") else 1


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"
