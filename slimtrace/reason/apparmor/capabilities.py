"""Which capabilities a profile allows: those that the container is given, or those that it used."""

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import Confinement, Repairs
from slimtrace.facts.events import CAPABILITIES, Origin, Phase

# What Docker gives to a container that asks for nothing (moby oci/caps/defaults.go).
DOCKERS = (
    *("audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod", "net_bind_service"),
    *("net_raw", "setfcap", "setgid", "setpcap", "setuid", "sys_chroot"),
)


def allowed(capture: Capture, confinement: Confinement | None, repairs: Repairs) -> tuple[str, ...]:
    """Their names, sorted. The runtime needs none: the profile holds from the program's execve on."""
    given = set(_used(capture) if confinement is None else confinement.cap_add)
    return tuple(sorted((given | set(repairs.capabilities)) & set(CAPABILITIES)))


def _used(capture: Capture) -> set[str]:
    """What the program was granted; Docker's list where capabilities were not watched (the runtime alone asks
    for some in every run)."""
    trace = capture.trace
    if not trace.capabilities:
        return set(DOCKERS)
    health = bool(capture.image.healthcheck)
    sets = (each for each in trace.capabilities if each.phase is Phase.APP)
    return {name for each in sets if health or each.origin is Origin.CONTAINER for name in each.granted}
