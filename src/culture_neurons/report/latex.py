"""Tables for a paper: booktabs tables of self and cross drops, and of what each culture loses under its own mask.

They need `\\usepackage{booktabs}`, and for names in scripts other than Latin an engine and a font that have them
(XeLaTeX, LuaLaTeX). Every text of data is escaped. A planted model says that it is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from culture_neurons.analysis.significance import (
    HIGHER,
    INCONCLUSIVE,
    LESS,
    LEVEL,
    LOWER,
    NOT_JUDGED,
    NOTHING,
    OPEN,
    SPECIFIC,
    TOO_FEW,
    UNRESOLVED,
    UNSPECIFIC,
    UNTESTED,
    direction,
)
from culture_neurons.report.figures.tables import Tables, at_chance, drops, require_fraction, rows, selector_name
from culture_neurons.report.figures.titles import named
from culture_neurons.report.page.culture_table import CHANGES
from culture_neurons.report.words import MEASURES, plain

#: What stands for a character that TeX reads in a way of its own. Brackets and stars do so after the end of a row, and
#: some pairs are drawn as one sign.
_SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}", "`": "{`}", "'": "{'}", '"': "{''}",
}  # fmt: skip
#: A verdict in a narrow column; the caption says more.
VERDICTS = {
    SPECIFIC: "specific", UNRESOLVED: "damage, open", UNSPECIFIC: "damage", LESS: "less", NOTHING: "none",
    INCONCLUSIVE: "open", TOO_FEW: "too few", UNTESTED: "untested", NOT_JUDGED: "at chance",
}  # fmt: skip
#: What the words of `VERDICTS` mean, as a caption says it of those that stand in its table.
MEANINGS = {
    "specific": "worse than under random masks and under other cultures' masks",
    "damage, open": "worse than under random masks, whether specific is open",
    "damage": "worse than under random masks, and not than under other cultures' masks",
    "less": "less harm than under random masks",
    "none": "not distinguishable from random masks, where large effects would have been found",
    "open": "inconclusive, neither shown nor excluded",
    "too few": "so few masks could not reach significance",
    "untested": "without random masks of the same size, or without questions",
    "at chance": "not judged, as the model answers at chance",
}
#: A cell by the direction of its change. Its numbers are mathematics, of which italics would show nothing.
EMPHASIS = {LOWER: r"{\boldmath\textbf{%s}}", HIGHER: r"\underline{%s}", OPEN: "%s"}
#: Decimals that a paper shows.
DECIMALS = {"accuracy": 1, "logprob": 3}


def escape(text: Any) -> str:
    """A text of data, in one line, as TeX shows it."""
    signs = "".join(_SIGNS.get(character, character) for character in plain(text))
    return re.sub(r"([-,])(?=\1)", r"\1{}", signs)  # two of them are one sign


def number(value: Any, decimals: int) -> str:
    """A number in mathematics, so that its minus is one; a dash for a missing one, no sign for what rounds to 0."""
    if value is None or not np.isfinite(float(value)):
        return "--"
    text = f"{float(value):.{decimals}f}"
    return f"${text.removeprefix('-') if float(text) == 0 else text}$"


def interval(value: Any, low: Any, high: Any, decimals: int) -> str:
    """A number and its interval, which is left out where an end is missing."""
    ends = [number(end, decimals) for end in (low, high)]
    if low is not None and high is not None and float(low) == float(high):
        return number(value, decimals)  # no width: nothing says how sure it is
    shown = number(value, decimals)
    return shown if "--" in (shown, *ends) else f"{shown} [{ends[0]}, {ends[1]}]"


def marked(text: str, change: Any, p: Any) -> str:
    """A cell in bold where its change is significant and for the worse, underlined where it is so for the better."""
    return EMPHASIS[direction(change, p)] % text


def table(
    head: Sequence[str], body: Sequence[Sequence[str]], columns: str, caption: str, label: str, ends: Sequence[int] = ()
) -> str:
    """A table of ready-made cells; `columns` says how they are aligned (l, r), and some room follows the rows whose
    numbers are in `ends`."""
    lines = [
        r"\begin{table}",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
    ]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [" & ".join(head) + r" \\", r"\midrule"]
    for i, cells in enumerate(body):
        lines.append(" & ".join(cells) + r" \\")
        if i in ends and i < len(body) - 1:
            lines.append(r"\addlinespace")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def summary(tables: Tables, selectors: Sequence[str], top_fraction: float) -> str:
    """Self, cross and random drops of every model and selector, one table per measure, with 95 % intervals, numbers of
    questions and verdicts."""
    require_fraction(tables.summary, top_fraction)
    result = []
    for measure, (noun, unit, _) in MEASURES.items():
        decimals, body, ends = DECIMALS[measure], [], []
        for model in tables.models:
            who = escape(named(tables, model))
            for selector in selectors:
                part = rows(tables.summary, model, selector, top_fraction)
                if not len(part):
                    continue
                of = drops(tables, model, selector, top_fraction, measure)
                n = int(part["n"].iloc[0]) if "n" in part else None
                body.append([
                    who, escape(selector_name(selector)),
                    *(interval(of[k].value, of[k].low, of[k].high, decimals) for k in ("self", "cross", "random")),
                    "--" if n is None else f"{n:,}".replace(",", "{,}"),
                    _verdict(tables, model, selector, top_fraction, measure),
                ])  # fmt: skip
                who = ""  # once is enough
            ends.append(len(body) - 1)
        verdicts = [word for word in MEANINGS if any(cells[-1] == word for cells in body)]
        caption = tables.words(
            f"Change of {noun} ({unit}, masked $-$ baseline) when the top {_share(top_fraction)} of all neurons per "
            "culture are masked: on the culture's own questions (self), on the other cultures' (cross), and under "
            r"random masks. Means over cultures with 95\,\% intervals over questions; $n$: evaluated questions."
            + (f" Verdicts: {'; '.join(f'{word}: {MEANINGS[word]}' for word in verdicts)}." if verdicts else "")
        )
        head = ["Model", "Selector", "Self", "Cross", "Random", "$n$", "Verdict"]
        result.append(table(head, body, "llrrrrl", caption, f"tab:summary-{measure}", ends))
    return file(result)


def culture_drops(tables: Tables, selector: str, top_fraction: float) -> str:
    """What each culture loses under its own mask, a column per model, one table per measure.

    Where cultures.csv was read, beside it how much more that is than under the other cultures' masks, with its 95 %
    interval; else the interval of the change itself. Bold for a loss and underlined for a gain with an adjusted p-value
    below 0.05 of what the interval is of.
    """
    effects = rows_of_own(tables.effects)
    parts = {m: rows(effects, m, selector, top_fraction).set_index("eval_culture") for m in tables.models}
    cultures = sorted({str(culture) for part in parts.values() for culture in part.index})
    contrasts = tables.more.get("cultures")
    result = []
    for measure, (noun, unit, _) in MEASURES.items():
        against = {
            m: rows(contrasts, m, selector, top_fraction).loc[lambda t: t["measure"] == measure].set_index("culture")  # noqa: B023
            for m in tables.models
        } if contrasts is not None else {}  # fmt: skip
        body = [
            [
                escape(culture),
                _question_count(parts, culture),
                *(
                    _own(part, against.get(model), culture, measure, at_chance(tables, model))
                    for model, part in parts.items()
                ),
            ]
            for culture in cultures
        ]
        known = against or CHANGES[measure][1] in effects
        caption = tables.words(
            f"Change of {noun} ({unit}, masked $-$ baseline) of each culture under its own mask "
            rf"({escape(selector_name(selector))}, top {_share(top_fraction)})"
            + (
                r", and behind the bar how much more that is than under the other cultures' masks, with 95\,\% "
                "intervals of this difference over questions"
                if against
                else r", with 95\,\% intervals where known"
            )
            + "; $n$: evaluated questions."
            + (
                rf" Bold: {'more is lost' if against else 'the culture loses'}, underlined: "
                rf"{'less is lost' if against else 'it gains'} (two-sided, adjusted $p < {LEVEL}$)."
                if known
                else ""
            )
        )
        head = [tables.words("Culture"), "$n$", *(escape(named(tables, model)) for model in parts)]
        result.append(table(head, body, "l" + "r" * (len(head) - 1), caption, f"tab:drops-{measure}"))
    return file(result)


def rows_of_own(effects: pd.DataFrame) -> pd.DataFrame:
    """Rows of effects.csv of cultures under their own mask."""
    return effects[effects["mask_culture"] == effects["eval_culture"]]


def _own(part: pd.DataFrame, against: pd.DataFrame | None, culture: str, measure: str, guesses: bool) -> str:
    """A cell: the own change, then the contrast that interval, p-value and emphasis are of."""
    if culture not in part.index:
        return "--"
    row, (column, p_value), decimals = part.loc[culture], CHANGES[measure], DECIMALS[measure]
    if against is not None and culture in against.index:
        contrast = against.loc[culture]
        text = interval(*(contrast.get(f"specificity{end}") for end in ("", "_low", "_high")), decimals)
        p = np.nan if guesses else contrast["p_adjusted"]
        return rf"{number(row[column], decimals)} \textbar{{}} {marked(text, contrast['specificity'], p)}"
    text = interval(row[column], row.get(f"{column}_low"), row.get(f"{column}_high"), decimals)
    return marked(text, row[column], np.nan if guesses else row.get(p_value, np.nan))


def _question_count(parts: dict[str, pd.DataFrame], culture: str) -> str:
    """Questions of a culture; where models were asked different numbers, the range."""
    counts = sorted({int(part.loc[culture, "n"]) for part in parts.values() if culture in part.index})
    return "--".join(f"{n:,}".replace(",", "{,}") for n in dict.fromkeys([counts[0], counts[-1]]))


def _verdict(tables: Tables, model: str, selector: str, top_fraction: float, measure: str) -> str:
    part = rows(tables.evidence, model, selector, top_fraction)
    part = part[part["measure"] == measure]
    verdict = str(part["verdict"].iloc[0]) if len(part) else "--"
    return VERDICTS.get(verdict, escape(verdict))


def _share(top_fraction: float) -> str:
    return rf"{100 * top_fraction:g}\,\%"


def file(parts: Sequence[str]) -> str:
    """Tables as a file of their own."""
    return "% Made by the workflow; needs \\usepackage{booktabs}.\n" + "\n".join(parts)
