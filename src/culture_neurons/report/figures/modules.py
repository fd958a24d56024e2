"""In which modules a selector's neurons lie: MLP against attention, layer by layer."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from culture_neurons.report.figures import style
from culture_neurons.report.figures.layers import draw_bars, layer_ticks, nothing
from culture_neurons.report.figures.tables import Tables, percent, rows, selector_name
from culture_neurons.report.figures.titles import plural, title

#: Sites of neurons: name in figures, colour and marker; from below in a stack.
SITES = {
    "act_fn": ("MLP", style.BLUE, "o"),
    "gate_proj": ("MLP gate", style.BLUE, "o"),
    "up_proj": ("MLP up", style.SKY, "v"),
    "q_proj": ("attention q", style.VERMILLION, "s"),
    "k_proj": ("attention k", style.ORANGE, "D"),
    "v_proj": ("attention v", style.GREEN, "^"),
}
ATTENTION = ("q_proj", "k_proj", "v_proj")


def per_mask(
    tables: Tables, model: str, selector: str, top_fraction: float
) -> tuple[list[str], np.ndarray, np.ndarray, int]:
    """Sites in the order of `SITES`, how many neurons of each layer a mask has there, the units of a layer, and how
    many masks that is the mean of.

    float64 [site, layer]; int64 [site]. Culture-general neurons are one mask, which every culture has: masks that do
    not differ in these numbers count as one.
    """
    part = rows(tables.layers, model, selector, top_fraction)
    sites = [site for site in SITES if site in set(part["site"])]
    if not sites:
        return [], np.zeros((0, 1)), np.zeros(0, np.int64), 0
    each = part.pivot(index="culture", columns=["site", "layer"], values="count")
    counts = each.mean().unstack("layer").loc[sites].to_numpy(float)
    units = part.groupby("site")["units"].first()[sites].to_numpy(np.int64)
    return sites, counts, units, 1 if (each == each.iloc[0]).all(axis=None) else len(each)


def share_of_attention(sites: list[str], counts: np.ndarray) -> float:
    """Share of a mask's neurons that lie in the attention; nan for a mask of none."""
    total = counts.sum()
    mine = counts[[site in ATTENTION for site in sites]].sum()
    return float(mine / total) if total else float("nan")


def said(sites: list[str], counts: np.ndarray, masks: int) -> str:
    """ "1,200 neurons per mask, mean of 16; 4 % in the attention"."""
    share = share_of_attention(sites, counts)
    n, many = plural(round(float(counts.sum())), "neuron"), f", mean of {masks}" if masks > 1 else ""
    return f"{n} per mask{many}" + (
        f"; {100 * share:.2g}\N{NO-BREAK SPACE}% in the attention" if share == share else ""
    )


@style.with_style
def plot_modules(tables: Tables, model: str, selector: str, top_fraction: float) -> Figure:
    """Neurons of a mask by layer and module (mean over masks): counts, stacked, and below them the share of units."""
    sites, counts, units, masks = per_mask(tables, model, selector, top_fraction)
    left, right, gap, head, foot, cell = 0.52, 0.08, 0.12, 0.62, 0.62, 0.95
    fig = style.figure(style.SINGLE, head + 2 * cell + gap + foot)
    style.heading(fig, title(tables, model), [
        f"Neurons by layer and module, {selector_name(selector)}, top {percent(top_fraction)}",
        said(sites, counts, masks),
    ])  # fmt: skip
    width, n_layers = style.SINGLE - left - right, counts.shape[1]
    upper, lower = (style.axes(fig, left, foot + y, width, cell) for y in (cell + gap, 0))
    for below in range(len(sites), 0, -1):  # from the top of the stack: what lies below covers it
        draw_bars(upper, counts[:below].sum(axis=0), SITES[sites[below - 1]][1])
    for site, count, of in zip(sites, counts, units, strict=True):
        _, colour, marker = SITES[site]
        lower.plot(np.arange(n_layers), 100 * count / of, color=colour, marker=marker, markersize=3, linewidth=1,
                   markeredgecolor="white", markeredgewidth=0.4)  # fmt: skip
    for ax, text in ((upper, "Neurons (count)"), (lower, "Share of units (%)")):
        ax.set_xlim(-0.6, n_layers - 0.4)
        ax.set_ylim(0, max(1e-9, float(ax.dataLim.y1) * 1.08) if counts.sum() else 1)
        ax.set_xticks(layer_ticks(n_layers, 2.2))
        ax.set_ylabel(text)
        ax.yaxis.set_label_coords(-0.38 / width, 0.5)
        style.ticks(ax.yaxis, 4)
        style.fixed_ticks(ax)
        if not counts.sum():
            nothing(ax)
    upper.yaxis.set_major_formatter("{x:,.4g}")
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("Decoder layer")
    handles = [Line2D([], [], color=SITES[s][1], marker=SITES[s][2], markersize=4, linewidth=1) for s in sites]
    if sites:
        fig.legend(handles, [SITES[site][0] for site in sites], loc="lower center", ncols=len(sites), handlelength=1.2,
                   bbox_to_anchor=(0.5, 0.01), columnspacing=0.8, handletextpad=0.4, borderaxespad=0.1)  # fmt: skip
    return fig
