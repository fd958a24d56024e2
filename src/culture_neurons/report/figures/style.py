"""How all figures look: column widths, sizes, colours, and one way to write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends import _backend_pdf_ps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from culture_neurons.files import atomic
from culture_neurons.report.figures.fonts import families, labels, shorten
from culture_neurons.report.nouns import CULTURE

#: Widths of one and of two columns of a paper, in inches.
SINGLE, DOUBLE = 3.3, 6.9

#: Okabe and Ito's colours, told apart by readers with any colour vision.
BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7"
GREY, INK, FAINT = "#6E6E6E", "#222222", "#D9D9D9"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, INK)
MARKERS = ("o", "s", "D", "^", "v", "P", "X")

#: What a mask does to its own culture, to the others, and what a random mask does: colour and marker.
KINDS = {"self": (VERMILLION, "o"), "cross": (BLUE, "s"), "random": (GREY, "D")}


def mark(kind: str, size: float) -> dict[str, Any]:
    """Line2D options of a kind's marker; the random control is hollow, so that it shows on top of the others."""
    colour, marker = KINDS[kind]
    hollow = kind == "random"
    return {
        "color": colour,
        "marker": marker,
        "markersize": size * (0.85 if kind == "random" else 1.0),
        "markerfacecolor": "white" if hollow else colour,
        "markeredgecolor": colour if hollow else "white",
        "markeredgewidth": 0.9 if hollow else 0.5,
    }


TEXT, SMALL = 7.5, 7.0

RC: dict[str, Any] = {
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "axes.labelsize": TEXT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "figure.dpi": 100,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#555555",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "svg.hashsalt": "culture-neurons",
    "svg.fonttype": "none",
}


@contextmanager
def styled(texts: Iterable[str] = ()) -> Iterator[None]:
    """The look of all figures, with fonts for `texts`; the caller's settings come back at the end."""
    with mpl.rc_context({**RC, "font.family": families(texts)}):
        yield


def with_style(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """Run a plotting function under `styled`, with fonts for every text of its tables and arguments."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Figure:
        texts: set[str] = set()
        for value in (*args, *kwargs.values()):
            if isinstance(value, str):
                texts.add(value)
            elif isinstance(value, (list, tuple)):
                texts.update(v for v in value if isinstance(v, str))
            elif hasattr(value, "texts"):
                texts.update(value.texts)
        with styled(texts):
            result = function(*args, **kwargs)
            for value in (*args, *kwargs.values()):
                if hasattr(value, "words"):
                    _reword(result, value)
            return result

    return wrapped


def _reword(fig: Figure, tables: Any) -> None:
    """Texts of ours with the noun of these tables; a name of data stays, also where it was shortened for its label."""
    if tables.noun == CULTURE:
        return
    names = set(tables.names) | set(labels(sorted(tables.names)))

    def worded(text: str) -> str:
        return text if text in names else tables.words(text)

    for ax in fig.axes:
        for axis in (ax.xaxis, ax.yaxis):  # labels of ticks are written anew whenever they are drawn
            now = [label.get_text() for label in axis.get_ticklabels()]
            if (then := [worded(label) for label in now]) != now:
                axis.set_ticks(axis.get_ticklocs(), then)
    for text in fig.findobj(Text):
        if (then := worded(text.get_text())) != text.get_text():
            text.set_text(then)


def figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, not known to pyplot (nothing to close)."""
    result = Figure(figsize=(width, height))
    FigureCanvasAgg(result)
    result.families = list(mpl.rcParams["font.family"])  # for `save`: to look through all texts takes a while
    return result


def axes(fig: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches from the lower left corner: labels get the room that they need."""
    w, h = fig.get_size_inches()
    return fig.add_axes((left / w, bottom / h, width / w, height / h))


def heading(fig: Figure, title: str, lines: Iterable[str] = ()) -> None:
    """Title, and smaller lines below it, at the upper left of the figure.

    One weight only: each further font costs a third of a second per PDF.
    """
    w, h = fig.get_size_inches()
    fig.text(0.06 / w, 1 - 0.06 / h, title, va="top", ha="left", fontsize=9)
    for i, line in enumerate(lines):
        fig.text(0.06 / w, 1 - (0.225 + 0.135 * i) / h, line, va="top", ha="left", fontsize=SMALL, color="#444444")


def fit_title(ax: Axes) -> None:
    """Shorten the title of an axis to its width, so that it does not run into what stands beside it."""
    text = ax.get_title(loc="left")
    room = ax.get_window_extent().width
    title = ax.set_title(text, loc="left")
    for width in range(len(text), 8, -1):
        if title.get_window_extent().width <= room:
            break
        title.set_text(shorten(text, width))


def ticks(axis: Axis, n: int = 5, **options: Any) -> None:
    """About `n` round ticks, with commas between thousands where they are whole numbers."""
    axis.set_major_locator(MaxNLocator(nbins=n, steps=[1, 2, 2.5, 5, 10], **options))


def fixed_ticks(ax: Axes) -> None:
    """Keep our tick sizes when the figure is drawn later, under someone else's settings."""
    ax.tick_params(labelsize=SMALL)


def named_axis(axis: Axis, cultures: list[str], every: int = 1, offset: float = 0.0, **options: Any) -> None:
    """Label an axis with culture names, one per unit (or every so many, where there is no room)."""
    places = [i + offset for i in range(0, len(cultures), every)]
    axis.set_ticks(places, labels(cultures)[::every], **options)


def empty_panel(ax: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GREY, fontsize=SMALL)


@contextmanager
def _fonts_without_layout() -> Iterator[None]:
    """Embed fonts in PDFs without their tables of layout: nobody needs these there, and to cut them down to the glyphs
    of a figure takes longer than to draw it."""
    options = _backend_pdf_ps.subset.Options
    before = getattr(options, "_drop_tables_default", [])  # no public name: without it, PDFs only take longer
    options._drop_tables_default = [*before, "GSUB", "GPOS", "GDEF", "MATH"]
    try:
        yield
    finally:
        options._drop_tables_default = before


def save(fig: Figure, path_without_suffix: str | Path, dpi: int = 200) -> list[Path]:
    """Write `fig` as .pdf and .png beside each other, same bytes every time; returns the paths.

    No time stamp and no version of a library goes into the files.
    """
    base = Path(path_without_suffix)
    written = []
    # Type 42 fonts are what publishers ask for; the ones of the system that DejaVu Sans falls back on may be of a
    # kind (CFF) that can't be written so, and Type 3 can draw them all.
    families = getattr(fig, "families", None)
    fallback = len(families or max((text.get_fontfamily() for text in fig.findobj(Text)), key=len, default=[])) > 1
    # The PDF backend reads the size of its font subsets from ps.fonttype: as 42, one font is embedded once.
    kind = 3 if fallback else 42
    with mpl.rc_context({**RC, "pdf.fonttype": kind, "ps.fonttype": kind}), _fonts_without_layout():
        for suffix, options in (
            (".pdf", {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}}),
            (".png", {"metadata": {"Software": None}, "dpi": dpi}),
        ):
            # Not with_suffix: a name may hold a dot ("qwen2.5").
            target = base.with_name(base.name + suffix)
            with atomic(target) as temporary:
                fig.savefig(temporary, format=suffix[1:], **options)
            written.append(target)
    return written
