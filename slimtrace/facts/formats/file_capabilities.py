"""File capabilities: the extended attribute security.capability (capabilities(7), "File capability extended
attribute versioning"; struct vfs_cap_data in linux/capability.h)."""

import struct

from slimtrace.facts.events import CAPABILITIES

ATTRIBUTE = "security.capability"
_REVISIONS = {0x01000000: 1, 0x02000000: 2, 0x03000000: 2}  # to the number of 32-bit words of each set
_EFFECTIVE = 1


def read(raw: bytes) -> str:
    """The value of the attribute in the form of cap_to_text(3), such as ``cap_net_raw,cap_net_admin=ep``; ``?``
    for what is no such value."""
    if len(raw) < 4:
        return "?"
    (magic,) = struct.unpack_from("<I", raw)
    words = _REVISIONS.get(magic & 0xFF000000, 0)
    if not words or len(raw) < 4 + 8 * words:
        return "?"
    permitted = inheritable = 0
    for word in range(words):
        sets = struct.unpack_from("<II", raw, 4 + 8 * word)
        permitted |= sets[0] << 32 * word
        inheritable |= sets[1] << 32 * word
    groups: dict[str, list[str]] = {}
    for number in range(32 * words):
        flags = "e" if magic & _EFFECTIVE else ""
        flags += "i" if inheritable >> number & 1 else ""
        flags += "p" if permitted >> number & 1 else ""
        if flags.strip("e"):
            name = CAPABILITIES[number] if number < len(CAPABILITIES) else str(number)
            groups.setdefault(flags, []).append(f"cap_{name}")
    return " ".join(f"{','.join(names)}={flags}" for flags, names in groups.items())
