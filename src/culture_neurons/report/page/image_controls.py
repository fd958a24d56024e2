"""How much of a model's accuracy needs the image, in a sentence."""

from __future__ import annotations

from culture_neurons.report.figures.images import count_image_questions, overall
from culture_neurons.report.figures.tables import Tables
from culture_neurons.report.figures.titles import named, number, plural
from culture_neurons.report.words import bracket

#: How questions were asked, in the words of the sentence.
HOW = {"shown": "as asked", "blank": "with a grey image", "none": "as text alone"}


def sentence(tables: Tables, model: str) -> str:
    """Accuracies with and without the image and what guessing gives; "" where there was no image control."""
    means = overall(tables, model) if "images" in tables.more else ()
    if not len(means):
        return ""
    parts = []
    for control, row in means.iterrows():
        interval = "" if control == "shown" else bracket(100 * row["accuracy_low"], 100 * row["accuracy_high"], 1)
        parts.append(f"{number(100 * row['accuracy'], 1)} % {HOW[control]}{interval and f' {interval}'}")
    guessing = number(100 * float(means["chance"].iloc[0]), 1)
    return (
        f"{named(tables, model)}, does it need the image: accuracy is {', '.join(parts)}; guessing gives "
        f"{guessing} % ({plural(count_image_questions(tables, model), 'question')} with an image)."
    )
