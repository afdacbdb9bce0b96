"""The AppArmor profile of a slim image: rules for its files by use, its sockets by family and type and its
capabilities, and for everything else those of Docker's template. docs/apparmor.md says what is in it and why.

Sources: apparmor.d(5); Docker's template (github.com/moby/profiles, apparmor/template.go). The abi is that of
AppArmor 3.0, which the parsers of Debian 12 and all later ones read.
"""

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Confinement, Repairs
from slimtrace.facts.events import Phase
from slimtrace.facts.selection import Selection
from slimtrace.reason.confine.apparmor import capability_rules, file_rules, network_rules
from slimtrace.reason.confine.apparmor.pathnames import profile_name, quoted
from slimtrace.reason.confine.apparmor.rule_compaction import compact, lines
from slimtrace.reason.confine.apparmor.template import head, tail

_COMPACTED_COMMENT = (
    "  # Some directories as a whole: with a rule for each file the parser would refuse the profile.\n"
)


def profile(
    name: str,
    capture: Capture,
    selection: Selection,
    confinement: Confinement | None = None,
    repairs: Repairs = Repairs(),  # noqa: B008 - frozen
) -> str:
    """The profile, as text in ASCII; the same for the same facts. `confinement` says how else the container is
    confined; without one the capabilities and writable directories are those that were used."""
    granted = capability_rules.allowed(capture, confinement, repairs)
    sockets = tuple(network_rules.rules(capture, repairs))
    rules, is_coarser = compact(file_rules.rules(capture, selection, confinement, repairs))
    calls = {call for group in capture.trace.calls if group.phase is Phase.APP for call in group.calls}
    return "".join(
        (
            head(name),
            *(f"  capability {capability},\n" for capability in granted),
            *(f"  {rule},\n" for rule in sockets),
            *("  umount,\n" for _ in calls & {"umount2", "umount"}),
            "\n",
            *([_COMPACTED_COMMENT] if is_coarser else ()),
            *(f"  {rule},\n" for rule in lines(rules)),
            "\n",
            tail(name),
        )
    )


__all__ = ["profile", "profile_name", "quoted"]
