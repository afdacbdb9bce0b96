"""Installed gemspecs: Ruby text that RubyGems writes in one form (rubygems lib/rubygems/specification.rb,
to_ruby; stub_specification.rb for the first lines). Nothing of it is run."""

import re
from typing import BinaryIO

from slimtrace.facts.manifests.text import text
from slimtrace.facts.packages import Manifest

_STUB = re.compile(r"^# stub: (\S+) (\S+) (\S+) ", re.MULTILINE)
_ONE = re.compile(
    r"""^[ \t]*s(?:pec)?\.(name|version|license)[ \t]*=[ \t]*(?:Gem::Version\.new\(?)?["']([^"'\n]+)["']""",
    re.MULTILINE,
)
_MANY = re.compile(r"^[ \t]*s(?:pec)?\.(licenses|files)[ \t]*=[ \t]*\[([^\]\n]*)\]", re.MULTILINE)
_STRING = re.compile(r"""["']([^"'\n]*)["']""")


def specification(stream: BinaryIO) -> tuple[Manifest, ...]:
    """The gem, as one manifest; none without a name. `architecture` is its platform where it is not plain
    Ruby. `files` are given for default gems only, relative to the gem's own directory."""
    content = text(stream)
    attributes = {found[1]: found[2] for found in reversed(list(_ONE.finditer(content)))}
    lists = {found[1]: tuple(_STRING.findall(found[2])) for found in _MANY.finditer(content)}
    stub = _STUB.search(content[:1000])
    name, version = (stub[1], stub[2]) if stub else (attributes.get("name", ""), attributes.get("version", ""))
    if not name:
        return ()
    licenses = lists.get("licenses") or tuple(filter(None, (attributes.get("license"),)))
    platform = stub[3] if stub and stub[3] != "ruby" else ""
    return (Manifest(name, version, platform, licenses[:64], files=lists.get("files", ())),)
