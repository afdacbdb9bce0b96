"""Packages: which ones are installed, by the image's own metadata, and which paths belong to which.

There is one module for each package manager: dpkg, apk and rpm for distributions; Python, npm, RubyGems and
Maven for languages. A language's package whose metadata a distribution's package installed is not listed
itself: it is that distribution's package.
"""

from slimtrace.reason.keep.packages.installed import Owners, installed, unreadable
from slimtrace.reason.keep.packages.package import DISTRIBUTION, Package, PackageType

__all__ = ["DISTRIBUTION", "Owners", "Package", "PackageType", "installed", "unreadable"]
