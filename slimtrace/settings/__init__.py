"""The options of the verbs, described once: the command line and slimtrace.toml are both made of them."""

from slimtrace.settings.groups import TABLES
from slimtrace.settings.option import Described, Form, Option, described
from slimtrace.settings.toml import read, write

__all__ = ["TABLES", "Described", "Form", "Option", "described", "read", "write"]
