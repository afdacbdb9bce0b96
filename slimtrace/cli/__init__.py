"""The command line: typer verbs by subject, and the only place that catches SlimtraceError.

Everything heavy is imported inside the verbs, so that ``slimtrace --help`` answers at once. A verb is listed
by --help in the order in which its module is imported here.
"""

from slimtrace.cli import build, trials, captures, queries  # isort: skip
from slimtrace.cli.entry import main

__all__ = ["build", "captures", "main", "queries", "trials"]
