"""How a container is to be confined beyond its seccomp and AppArmor profiles: capabilities, no new privileges,
a read-only root, the user. Everything is learned from the run; docs/confinement.md says how.
"""

from collections.abc import Collection

from slimtrace.facts.capture import Capture
from slimtrace.facts.confinement import DOCKER_CAPABILITIES, MEASURES, Confinement, Repairs
from slimtrace.facts.selection import Selection
from slimtrace.reason.confine import capabilities, writable
from slimtrace.reason.keep.container_user import uid_and_gid

SECCOMP, CAPABILITIES, NO_NEW_PRIVILEGES, READ_ONLY, APPARMOR = MEASURES
LEFT_OUT = "left out: asked for"
_NO_REPAIRS = Repairs()


def derive_confinement(
    capture: Capture, selection: Selection, repairs: Repairs = _NO_REPAIRS, without: Collection[str] = ()
) -> Confinement:
    """The confinement that the run calls for, with what a trial found missing; `without` are the MEASURES that
    are left out. Without `capabilities` the container keeps all capabilities that Docker gives by default."""
    user = next((run.start.user for run in capture.runs if run.start.user), "")
    uid, gid = uid_and_gid(capture, user or capture.image.text("User"))
    required = capabilities.required(capture, uid, gid, repairs.capabilities)
    root = writable.root_filesystem(capture, selection, (uid, gid), repairs.writable)
    reasons = {
        SECCOMP: "only the system calls of the profile",
        CAPABILITIES: "only what the run needed" if required.capabilities else "the run needed none",
        NO_NEW_PRIVILEGES: required.gain_reason or "no program that was executed gains privileges by that",
        READ_ONLY: root.reason,
        APPARMOR: "only the files, sockets and capabilities of the profile, where the kernel has AppArmor",
    }
    reasons |= {measure: LEFT_OUT for measure in MEASURES if measure in without}
    read_only = root.read_only and READ_ONLY not in without
    added = dict(required.capabilities)
    if CAPABILITIES in without:
        added = dict.fromkeys(sorted(DOCKER_CAPABILITIES), "Docker gives it by default")
    notes = list(required.notes)
    if required.gain_reason and NO_NEW_PRIVILEGES not in without:
        notes.append(f"no-new-privileges is not possible: {required.gain_reason}")
    if READ_ONLY not in without:
        notes += root.notes
    return Confinement(
        cap_add=tuple(added),
        no_new_privileges=not required.gain_reason and NO_NEW_PRIVILEGES not in without,
        read_only=read_only,
        writable=root.writable if read_only else (),
        user=user,
        reasons={
            **reasons,
            **added,
            **({place.path: place.reason for place in root.writable} if read_only else {}),
        },
        notes=tuple(notes),
        uid=uid,
        gid=gid,
        low_ports=capabilities.low_ports(capture),
    )
