"""What any dry run needs of Snakemake, loaded before its process is copied; see dry_run.py."""

import smart_open  # noqa: F401
import snakemake.report.html_reporter  # noqa: F401
from snakemake import cli

# To look for plugins takes as long as to plan a small run.
cli.get_argument_parser()
