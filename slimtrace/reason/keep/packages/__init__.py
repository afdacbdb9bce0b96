"""Packages: which are installed, by the image's own metadata, and which paths belong to which.

A module a system: dpkg, apk and rpm for distributions; Python, npm, RubyGems and Maven for languages. A package
of a language whose metadata came with a distribution's package is that package, and is told once.
"""

from slimtrace.reason.keep.packages.installed import Owners, installed, unreadable
from slimtrace.reason.keep.packages.package import DISTRIBUTION, Package, System

__all__ = ["DISTRIBUTION", "Owners", "Package", "System", "installed", "unreadable"]
