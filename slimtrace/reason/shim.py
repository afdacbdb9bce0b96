"""Temporary: the seccomp interface to come."""

from slimtrace.reason import seccomp as s

DEFAULT = s.DEFAULT
to_text = s.to_text
reasons_text = s.reasons_text


def profile(capture, repairs, action="errno"):
    return s.profile(capture.trace.calls, capture.image.architecture, bool(capture.image.healthcheck))


def who(capture, repairs=None):
    return s.who(capture.trace.calls, bool(capture.image.healthcheck))


def denied(body):
    allowed = {n for r in body["syscalls"] if r["action"] == "SCMP_ACT_ALLOW" for n in r["names"]}
    return len(DEFAULT - allowed)


def refused(body, trace, architecture):
    from slimtrace.facts.events import Abi, Phase

    allowed = {n for r in body["syscalls"] if r["action"] == "SCMP_ACT_ALLOW" for n in r["names"]}
    return tuple(
        sorted(
            {n for c in trace.calls if c.phase is not Phase.RUNTIME and c.abi is not Abi.RING for n in c.calls}
            & DEFAULT - allowed
        )
    )


def refused_arguments(body, trace, architecture):
    return ()
