"""Capability rules: for those that the container is given, or without a confinement for those that it used."""

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import DOCKER_CAPABILITIES, Confinement, Repairs
from slimtrace.facts.events import CAPABILITIES, Origin, Phase
from slimtrace.reason.confine.capabilities import low_ports


def allowed(capture: Capture, confinement: Confinement | None, repairs: Repairs) -> tuple[str, ...]:
    """The names of the allowed capabilities, sorted. The runtime needs none: the profile is in force from the
    program's execve on."""
    given = set(_used(capture) if confinement is None else confinement.cap_add)
    return tuple(sorted((given | set(repairs.capabilities)) & set(CAPABILITIES)))


def _used(capture: Capture) -> set[str]:
    """The capabilities that the program was granted; Docker's default ones where capabilities were not traced
    (where they were, the runtime has used some in every run)."""
    trace = capture.trace
    if not trace.capabilities:
        return set(DOCKER_CAPABILITIES)
    health = bool(capture.image.healthcheck)
    sets = (each for each in trace.capabilities if each.phase is Phase.APP)
    used = {name for each in sets if health or each.origin is Origin.CONTAINER for name in each.granted}
    # Docker sets net.ipv4.ip_unprivileged_port_start to 0 in a network namespace of the container's own, so
    # that the kernel does not check the capability; in the host's network, and under Kubernetes, it does.
    return used | ({"net_bind_service"} if low_ports(capture) else set())
