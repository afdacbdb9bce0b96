"""Which capabilities a profile allows: those that the container is given, or those that it used."""

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import GIVEN, Confinement, Repairs
from slimtrace.facts.events import CAPABILITIES, Origin, Phase


def allowed(capture: Capture, confinement: Confinement | None, repairs: Repairs) -> tuple[str, ...]:
    """Their names, sorted. The runtime needs none: the profile holds from the program's execve on."""
    given = set(_used(capture) if confinement is None else confinement.cap_add)
    return tuple(sorted((given | set(repairs.capabilities)) & set(CAPABILITIES)))


def _used(capture: Capture) -> set[str]:
    """What the program was granted; Docker's list where capabilities were not watched (the runtime alone asks
    for some in every run)."""
    trace = capture.trace
    if not trace.capabilities:
        return set(GIVEN)
    health = bool(capture.image.healthcheck)
    sets = (each for each in trace.capabilities if each.phase is Phase.APP)
    return {name for each in sets if health or each.origin is Origin.CONTAINER for name in each.granted}
