"""How a container is to be confined beyond its seccomp and AppArmor profiles: capabilities, no new privileges,
a read-only root, the user. Everything is learned from the run; docs/confinement.md says how.
"""

from collections.abc import Collection

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import GIVEN as DEFAULT
from slimtrace.facts.confinement import MEASURES, Confinement, Repairs
from slimtrace.facts.selection import Selection
from slimtrace.reason.confine import capabilities, writable
from slimtrace.reason.keep.container_user import identity

SECCOMP, CAPABILITIES, NO_NEW_PRIVILEGES, READ_ONLY, APPARMOR = MEASURES
ASKED_FOR = "left out: asked for"
_NO_REPAIRS = Repairs()


def confinement(
    capture: Capture, selection: Selection, repairs: Repairs = _NO_REPAIRS, without: Collection[str] = ()
) -> Confinement:
    """What the run calls for, with what a trial found missing; `without` are the MEASURES that are left out.
    Without `capabilities` the container keeps all that Docker gives by default."""
    user = next((run.start.user for run in capture.runs if run.start.user), "")
    uid, gid = identity(capture, user or capture.image.text("User"))
    found = capabilities.privileges(capture, uid, gid, repairs.capabilities)
    places = writable.places(capture, selection, (uid, gid), repairs.writable)
    reasons = {
        SECCOMP: "only the system calls of the profile",
        CAPABILITIES: "only what the run needed" if found.capabilities else "the run needed none",
        NO_NEW_PRIVILEGES: found.gained or "no program that was executed gains privileges by that",
        READ_ONLY: places.reason,
        APPARMOR: "only the files, sockets and capabilities of the profile, where the kernel has AppArmor",
    }
    reasons |= {measure: ASKED_FOR for measure in MEASURES if measure in without}
    read_only = places.read_only and READ_ONLY not in without
    added = dict(found.capabilities)
    if CAPABILITIES in without:
        added = dict.fromkeys(sorted(DEFAULT), "Docker gives it by default")
    notes = list(found.notes)
    if found.gained and NO_NEW_PRIVILEGES not in without:
        notes.append(f"no-new-privileges is not possible: {found.gained}")
    if READ_ONLY not in without:
        notes += places.notes
    return Confinement(
        cap_add=tuple(added),
        no_new_privileges=not found.gained and NO_NEW_PRIVILEGES not in without,
        read_only=read_only,
        writable=places.writable if read_only else (),
        user=user,
        reasons={
            **reasons,
            **added,
            **({place.path: place.reason for place in places.writable} if read_only else {}),
        },
        notes=tuple(notes),
        uid=uid,
        gid=gid,
        low_ports=capabilities.low_ports(capture),
    )
