"""How much of a model's accuracy needs the image, in sentences."""

from __future__ import annotations

import pandas as pd

from culture_neurons.report.figures.images import count_image_questions, data_sets, names_sets, overall
from culture_neurons.report.figures.tables import Tables
from culture_neurons.report.figures.titles import named, number, plural
from culture_neurons.report.words import bracket

#: How questions were asked, in the words of the sentence.
HOW = {
    "shown": "as asked", "blank": "with a grey image", "none": "as text alone",
    "swapped": "with the image of another culture",
}  # fmt: skip


def sentence(tables: Tables, model: str) -> str:
    """Accuracies with and without the image and what guessing gives, per data set; "" where there was no image
    control."""
    names = data_sets(tables, model) if "images" in tables.more else []
    return " ".join(filter(None, (_of_set(tables, model, name) for name in names)))


def _of_set(tables: Tables, model: str, name: str) -> str:
    means = overall(tables, model, name)
    if not len(means):
        return ""
    parts = []
    for control, row in means.iterrows():
        interval = "" if control == "shown" else bracket(100 * row["accuracy_low"], 100 * row["accuracy_high"], 1)
        parts.append(f"{number(100 * row['accuracy'], 1)} % {HOW[control]}{interval and f' {interval}'}")
    guessing = number(100 * float(means["chance"].iloc[0]), 1)
    where = f" on {name}" if names_sets(tables) else ""
    return (
        f"{named(tables, model)}, does it need the image{where}: accuracy is {', '.join(parts)}; guessing gives "
        f"{guessing} % (means over cultures; {plural(count_image_questions(tables, model, name), 'question')} with an "
        f"image)."
        f"{_followed(means)}"
    )


def _followed(means: pd.DataFrame) -> str:
    """How many answers follow the image of another culture, where that was asked and options say whose they are."""
    if "swapped" not in means.index or not means.loc["swapped", "followed_n"] > 0:
        return ""
    row = means.loc["swapped"]
    if int(row["followed_n"]) == 1:  # one answer is no percentage
        return (
            " Of the one answer that was right with its own image, that with another culture's image "
            f"{'became' if row['followed'] else 'did not become'} the option of this culture."
        )
    interval = bracket(100 * row["followed_low"], 100 * row["followed_high"], 1)
    return (
        f" Of {plural(int(row['followed_n']), 'answer')} that were right with their own image, "
        f"{number(100 * row['followed'], 1)} %{interval and f' {interval}'} (mean over cultures) became the option of "
        "the culture whose image was shown instead."
    )
