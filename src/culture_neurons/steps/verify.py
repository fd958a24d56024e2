"""Say what differs between a finished run and its manifest: tables, config, code, versions of libraries."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

from culture_neurons.errors import FileError
from culture_neurons.steps import cli


def main(o: argparse.Namespace) -> None:
    """manifest.json -> what differs, in the log; FileError when a file does"""
    from culture_neurons import __version__, files, provenance
    from culture_neurons.workflow import manifest

    then = files.read_json(o.manifest)
    if then.get("manifest") != manifest.SCHEMA:
        raise FileError(f"{o.manifest}: layout {then.get('manifest')!r}, expected {manifest.SCHEMA}")
    bad = manifest.changed_files(o.manifest.parent, then["files"])
    notes = manifest.changed_sources(then.get("reused", {}))
    notes += manifest.changed_settings("config", then["config"], o.config)
    now = {"version": __version__, "digest": provenance.package_digest()}
    notes += manifest.changed_settings("code", {"version": then["version"], "digest": then["code"]}, now)
    notes += manifest.changed_settings(
        "package", then["packages"], {name: installed(name) for name in then["packages"]}
    )
    for line in [*bad, *notes]:
        cli.log.warning("differs: %s", line)
    cli.log.info("%d files, %d as the manifest says", len(then["files"]), len(then["files"]) - len(bad))
    if bad:
        raise FileError(f"{o.manifest}: {len(bad)} of {len(then['files'])} files are not those that the run wrote")
    if notes:
        cli.log.info("the files are those of the run, but the run would now be another one")


def installed(name: str) -> str | None:
    """The version of a package here, None if there is none."""
    try:
        return python_version() if name == "python" else version(name)
    except PackageNotFoundError:
        return None


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.json of a run")
    parser.add_argument("--config", type=cli.json_object, required=True, help="JSON: the settings of a run now")
    return parser


if __name__ == "__main__":
    cli.run(main, arguments())
