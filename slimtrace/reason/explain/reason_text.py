"""Reasons in words, for ``slimtrace why`` and every other place where a person reads them."""

from slimtrace.facts.selection import Reason, Why
from slimtrace.reason.keep.evidence import RUNTIME

# The words before what a reason comes of.
_BEFORE = {
    Why.EXECUTED: "executed by",
    Why.OPENED: "opened by",
    Why.LOOKED_AT: "looked at by",
    Why.LISTED: "listed by",
    Why.ENTERED: "entered by",
    Why.CHANGED: "written or changed by",
    Why.INTERPRETER: "interpreter of",
    Why.NEEDED: "needed by",
    Why.IMPORTED: "imported by",
    Why.ON_DEMAND: "may be loaded on demand by",
    Why.PACKAGE: "with --keep package, as part of",
    Why.LINK_TO: "link on the way to",
    Why.PARENT: "directory above",
    Why.CONFIGURED: "named by the image's",
    Why.METADATA: "metadata of",
    Why.RULE: "asked for by the rule",
    Why.REPAIR: "missed by the slim image when it was tried:",
}
_WITHOUT_SOURCE = {
    Why.CONFIGURED: "named by the image's configuration",
    Why.METADATA: "metadata of",
    Why.RULE: "asked for by a rule",
    Why.REPAIR: "missed by the slim image when it was tried",
}


def in_words(reason: Reason) -> str:
    """The reason as a phrase: ``opened by /usr/sbin/nginx``. What shows the phrase has to make it printable."""
    if reason.why is Why.RUNTIME:
        return "needed by the container runtime" if reason.of in (RUNTIME, "") else reason.of
    if not reason.of:
        return _WITHOUT_SOURCE.get(reason.why, str(reason.why))
    return f"{_BEFORE[reason.why]} {reason.of}"


__all__ = ["in_words"]
