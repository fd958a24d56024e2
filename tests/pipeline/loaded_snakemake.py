"""What any dry run needs of Snakemake, loaded before its process is copied; see dry_run.py."""

from importlib import import_module

from snakemake import cli

for _name in ("smart_open", "snakemake.report.html_reporter"):
    import_module(_name)

# To look for plugins takes as long as to plan a small run.
cli.get_argument_parser()
