"""The seccomp profile: what the program called, what the runtime calls between the filter and the program, and
a margin of calls that chance decides on, never more than Docker's own profile allows. See docs/seccomp.md.

`needs` says which calls and why, `conditions` with which arguments, `body` writes it as Docker's JSON,
`verdict` says what such a profile answers to a call, `trial` what one has refused in a run.
"""

from slimtrace.reason.confine.docker_default import DEFAULT
from slimtrace.reason.confine.seccomp.docker_profile import ACTIONS, denied, of_default, profile, to_text
from slimtrace.reason.confine.seccomp.needs import AllowedCall, reasons_text, who
from slimtrace.reason.confine.seccomp.refusals import KILLED, refused, refused_arguments
from slimtrace.reason.confine.seccomp.verdict import allows, verdict

__all__ = [
    "ACTIONS",
    "DEFAULT",
    "KILLED",
    "AllowedCall",
    "allows",
    "denied",
    "of_default",
    "profile",
    "reasons_text",
    "refused",
    "refused_arguments",
    "to_text",
    "verdict",
    "who",
]
