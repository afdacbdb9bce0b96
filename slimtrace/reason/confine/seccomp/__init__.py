"""The seccomp profile: the calls of the program, those of the runtime between the filter and the program, and a
margin of calls that depend on chance, never more than Docker's own profile allows. See docs/seccomp.md.

`needs` collects the calls with their reasons, `argument_conditions` says with which arguments they are allowed,
`docker_profile` writes the profile as Docker's JSON, `verdict` evaluates a call under such a profile,
`refusals` finds the calls that one refused in a run.
"""

from slimtrace.reason.confine.docker_default import DOCKER_ALLOWED
from slimtrace.reason.confine.seccomp.docker_profile import (
    ACTIONS,
    denied_count,
    docker_call_count,
    profile,
    to_text,
)
from slimtrace.reason.confine.seccomp.needs import AllowedCall, allowed_calls, reasons_text
from slimtrace.reason.confine.seccomp.refusals import KILLED, refused_arguments, refused_calls
from slimtrace.reason.confine.seccomp.verdict import allows, evaluate

__all__ = [
    "ACTIONS",
    "DOCKER_ALLOWED",
    "KILLED",
    "AllowedCall",
    "allowed_calls",
    "allows",
    "denied_count",
    "docker_call_count",
    "evaluate",
    "profile",
    "reasons_text",
    "refused_arguments",
    "refused_calls",
    "to_text",
]
