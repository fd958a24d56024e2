"""The selectors that there are, and where their functions lie.

Nothing is imported here, and a line more changes no result: the workflow knows that a job depends on the file of
its own selector, and on this table not at all. So a new selector runs nothing again.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Selector:
    """One method; functions are named "file:function", a file of this folder.

    score            function of the statistics and keyword options
    choose           "" for the top of each culture by score; else a function of (scores float32
                     [culture, layer, neuron], budget) that returns flat indices per culture, best first;
                     with needs_reference also of the keywords probability and reference
    needs_reference  whether `choose` needs the statistics and another selector's mask (option `match`)
    control          whether the masks are a random control
    """

    score: str
    choose: str = ""
    needs_reference: bool = False
    control: bool = False


SELECTORS: dict[str, Selector] = {
    "lap": Selector("lap:lap"),
    "lape": Selector("lape:lape"),
    "lape-original": Selector("lape:lape_original", choose="lape:choose_original"),
    "mad": Selector("mad:mad"),
    "cas": Selector("cas:cas"),
    "effect-size": Selector("effect_size:effect_size"),
    "random": Selector("uniform:uniform", control=True),
    "random-matched": Selector("matched:matched", choose="matched:choose_matched", needs_reference=True, control=True),
}

#: Other names of the same method.
ALIASES = {"conact": "cas"}
