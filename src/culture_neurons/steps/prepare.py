"""Read a data set, filter it, and split it into identify and evaluate."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.steps import cli


def main(o: argparse.Namespace) -> None:
    import pandas as pd

    from culture_neurons import files
    from culture_neurons.data import filtering, images, leakage, option_marks, reasons, registry, samples, splitting
    from culture_neurons.errors import DataError

    chosen = filtering.settings(o.filter)
    how = splitting.settings(o.split)
    table = registry.read(o.source)
    cli.log.info("%d rows read", len(table.rows))
    for origin in table.origins:
        cli.log.info("%s", ", ".join(f"{key} {value}" for key, value in origin.items()))
    for text in table.warnings:
        cli.log.warning("warning: %s", text)

    def check(references: list) -> list:
        inspections = images.inspect(references, table.images, o.threads)
        return list(cli.progress(inspections, len(references), "checking images"))

    categories = how.categories and list(how.categories)
    filtered = filtering.apply(table.rows, chosen, check, categories, at_least=1 if how.half else 2)
    kept, dropped = filtered.kept, filtered.dropped
    kept["split"] = splitting.assign(kept, how)
    others = [files.read_table(path, leakage.COLUMNS, only=True)[0] for path in o.judging]
    if (repeated := leakage.repeats(kept, others)).any():
        more = kept.loc[repeated, ["sample_id", "culture"]].assign(reason=reasons.JUDGES)
        dropped = pd.concat([dropped, more], ignore_index=True).sort_values([*more], ignore_index=True)
        kept = kept[~repeated].reset_index(drop=True)
        if splitting.IDENTIFY not in set(kept["split"]):
            raise DataError(
                f"all {len(more)} questions that would choose neurons judge them in another data set of this run "
                f"({', '.join(map(str, o.judging))}); expected questions of their own"
            )
    counts = kept.groupby(["culture", "category", "split"], as_index=False).size().rename(columns={"size": "n"})

    for reason, rows in filtering.count_reasons(dropped).groupby("reason", sort=False):
        cultures = ", ".join(f"{c or '(no culture)'} {n}" for c, n in zip(rows["culture"], rows["n"], strict=True))
        cli.log.info("left out, %s: %d (%s)", reason, rows["n"].sum(), cultures)
    cli.log.info("kept %d samples of %d cultures, %d rows left out", len(kept), kept["culture"].nunique(),
                 len(dropped))  # fmt: skip
    if marked := option_marks.describe_marked(kept["options"]):
        cli.log.warning("warning: %s", marked)
    for culture in sorted(set(chosen.cultures or ()) - set(kept["culture"])):
        cli.log.warning("warning: no sample of %r is left; dropped.csv says why", culture)
    for culture, rows in kept.groupby("culture"):
        sizes = rows["split"].value_counts()
        cli.log.info("  %s: %d identify, %d evaluate", culture, *(sizes.get(side, 0) for side in splitting.SIDES))
        if len(sizes) < 2 and not how.half:
            cli.log.warning("warning: all samples of %r fall into %s", culture, sizes.index[0])

    origins = {"origins": [dict(origin) for origin in table.origins]} if table.origins else {}
    metadata = cli.provenance("prepare", o, images=dict(table.images), **origins)
    samples.write_samples(o.samples_out, kept, metadata)
    files.write_csv(o.dropped_out, dropped)
    files.write_csv(o.counts_out, counts)


def arguments() -> argparse.ArgumentParser:
    p = cli.parser("Read a data set, leave out what can't be used, and split it into identify and evaluate.")
    p.add_argument("--source", type=cli.json_object, required=True, help="JSON: the source, with its type")
    p.add_argument("--filter", type=cli.json_object, default={}, help="JSON: which rows to keep")
    p.add_argument("--split", type=cli.json_object, default={}, help="JSON: which rows go to which half")
    p.add_argument("--judging", type=Path, nargs="*", default=[], metavar="SAMPLES",
                   help="parquet: samples of other data sets; what judges neurons there chooses none here")  # fmt: skip
    p.add_argument("--threads", type=int, default=2, help="threads that decode images")
    p.add_argument("--samples-out", type=Path, required=True, help="parquet: the samples")
    p.add_argument("--dropped-out", type=Path, required=True, help="CSV: the rows left out, with reasons")
    p.add_argument("--counts-out", type=Path, required=True, help="CSV: samples per culture, category and half")
    return p


if __name__ == "__main__":
    cli.run(main, arguments())
