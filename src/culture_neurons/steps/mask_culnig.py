"""Choose culture-general or culture-specific neurons from attributions."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

from culture_neurons.errors import ConfigError, nearest
from culture_neurons.steps import cli

KINDS = ("general", "specific")


def main(o: argparse.Namespace) -> None:
    """attributions of questions, of their control and of mere mentions -> a mask file

    Culture-general neurons are one set, which is written for every culture: equal masks cost one pass when answers are
    evaluated under them.
    """
    import pandas as pd

    from culture_neurons import culnig, files, selection, store

    choose = getattr(culnig, o.kind)
    known = [p.name for p in inspect.signature(choose).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for key in o.options:
        if key not in known:
            raise ConfigError(
                f"culnig {o.kind}: unknown option {key!r}{nearest(key, known)}; known: {', '.join(known)}"
            )
    read = {"questions": o.attributions, "control": o.control} | ({"mention": o.mention} if o.mention else {})
    found = {name: store.read_attributions(paths) for name, paths in read.items()}
    first, metadata = found["questions"]
    identity = {key: metadata.get(key) for key in ("model", "revision")}
    for name, paths in read.items():
        files.check_same_model(o.attributions[0], identity, paths[0], found[name][1])
        if bool(found[name][1].get("control")) != (name == "control"):
            raise ConfigError(f"{paths[0]}: not attributions of the {name}; were the files exchanged?")
    gain = culnig.gains(first, found["control"][0])
    mention = found["mention"][0] if o.mention else None
    if o.kind == "general":
        one = culnig.general(gain, mention, **o.options)
        mask = pd.concat([one.assign(culture=name) for name in first.cultures], ignore_index=True)
    else:
        mask = culnig.specific(gain, first.cultures, mention, **o.options)
    mask = mask[list(selection.COLUMNS)].astype(selection.COLUMNS)
    for culture in first.cultures:
        counts = mask.loc[mask["culture"] == culture, "site"].value_counts()
        cli.log.info("%s: %s", culture, ", ".join(f"{counts.get(site, 0)} at {site}" for site in gain))
    made_by = cli.provenance("mask_culnig", o, ["culture_neurons.culnig"], metadata, **identity)
    made_by |= {"cultures": first.cultures, "layers": next(iter(gain.values())).shape[1]}
    made_by |= {"neurons": {site: values.shape[2] for site, values in gain.items()}}
    made_by |= {"selector": f"culnig-{o.kind}", "options": o.options}
    files.write_table(o.out, mask, made_by)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True, help="which neurons")
    parser.add_argument("--attributions", type=Path, nargs="+", required=True, help="shards that attribute wrote")
    parser.add_argument("--control", type=Path, nargs="+", required=True, help="those of the control")
    parser.add_argument("--mention", type=Path, nargs="*", default=[], help="those of questions that mention a country")
    parser.add_argument("--options", type=cli.json_object, default={}, help="JSON: fractions and z, see culnig.py")
    parser.add_argument("--out", type=Path, required=True, help="mask file (parquet)")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
