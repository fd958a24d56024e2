"""What training on another task did to a model, in a sentence per task."""

from __future__ import annotations

from culture_neurons.analysis.significance import HIGHER, LEVEL, LOWER
from culture_neurons.report.figures.finetuning import differing, rows_of_all_cultures
from culture_neurons.report.figures.tables import Tables
from culture_neurons.report.figures.titles import named, number
from culture_neurons.report.words import bracket, p_value_text


def sentences(tables: Tables, model: str) -> list[str]:
    """What training the richest modules cost each data set, against the poorest; none where not both were trained."""
    part = rows_of_all_cultures(tables, model)
    result = []
    for task, of in part.groupby("task", sort=False) if len(part) else ():
        rich, poor = (of[of["choice"] == choice].set_index("set") for choice in ("richest", "poorest"))
        if not len(rich) or not len(poor):
            continue
        changes = [
            f"{name} {number(row['change'], 1)} against {number(poor.loc[name, 'change'], 1)} points (difference "
            f"{number(row['change_vs_poorest'], 1)} "
            f"{bracket(row['change_vs_poorest_low'], row['change_vs_poorest_high'], 1)}, adjusted "
            f"{p_value_text(float(row['change_vs_poorest_p_adjusted']))})"
            for name, row in rich.iterrows()
        ]
        directions = list(differing(of).values())
        more, less = directions.count(LOWER), directions.count(HIGHER)
        learned = []
        for choice, row in (("richest", rich.iloc[0]), ("poorest", poor.iloc[0])):
            before, after = (number(100 * row[f"task_accuracy_{when}"], 1) for when in ("before", "after"))
            learned.append(f"{before} to {after} % with the {choice}")
        result.append(
            f"{named(tables, model)}, trained on {task}: the modules richest in chosen neurons cost "
            f"more accuracy than the poorest on {more} of {len(rich)} data sets, and less on {less} (adjusted p < "
            f"{LEVEL:g}). Changes of accuracy, richest against poorest: {'; '.join(changes)}. "
            f"Accuracy on the task itself: {', '.join(learned)} modules."
        )
    return result
