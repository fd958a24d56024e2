"""Fetch models and data sets from the hub, where there is network, for jobs that run without."""

from __future__ import annotations

import argparse
from pathlib import Path

from culture_neurons.steps import cli


def main(o: argparse.Namespace) -> None:
    """the hub -> the hub's cache on this machine"""
    from culture_neurons.data import hub_rows, registry
    from culture_neurons.models import download

    for where, source in o.sources.items():
        home = registry.home(source) or {}
        path = str(home.get("path", source.get("path") or ""))
        if home and hub_rows.on_hub(path):
            say(f"{where}: source", path, home["revision"], *hub_rows.fetch(**home))
        else:
            cli.log.info("%s: nothing to fetch: %s", where, path or f"the source {source.get('type')} is made here")
    for name, settings in o.models.items():
        path = str(settings.get("path", ""))
        if "gguf" in settings:
            cli.log.info("model %s: nothing to fetch from the hub: it is converted by convert_gguf", name)
        elif not path:
            cli.log.info("model %s: nothing to fetch: it is trained here", name)
        elif not download.on_hub(path):
            cli.log.info("model %s: nothing to fetch: %s", name, path)
        else:
            say(f"models: {name}", path, settings.get("revision"), *download.fetch(settings))


def say(where: str, path: str, revision: str | None, commit: str, files: list[Path]) -> None:
    """Log what was fetched, and how to pin it."""
    size = sum(file.stat().st_size for file in files)
    cli.log.info("%s: %s at commit %s: %d files, %.1f MB", where, path, commit, len(files), size / 1e6)
    if revision != commit:
        cli.log.info("  to pin it, set %s: revision: %s", where, commit)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--models", type=cli.json_object, default={}, help="JSON: name -> stanza of the config")
    parser.add_argument("--sources", type=cli.json_object, default={}, help="JSON: where in the config -> its source")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
