"""BTF, the kernel's own description of its types (Documentation/bpf/btf.rst)."""

from array import array
from collections.abc import Collection
from struct import unpack_from

_KIND_PTR, _KIND_STRUCT, _KIND_UNION, _KIND_TYPEDEF, _KIND_FUNC = 2, 4, 5, 8, 12
_REFERENCES = {8, 9, 10, 11, 18}  # typedef, volatile, const, restrict, type tag
# u32 words behind the 12-byte header of each kind: fixed, and for each of its vlen members
_FIXED = [{1: 1, 3: 3, 14: 1, 17: 1}.get(kind, 0) for kind in range(32)]
_EACH = [{4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3}.get(kind, 0) for kind in range(32)]


class Btf:
    """The type information of one kernel: where a member of a structure is, which arguments a tracepoint has.

    Built from the bytes of /sys/kernel/btf/vmlinux, for the `structs`, `tracepoints` and `functions` that will
    be asked for; looking through a kernel's 130,000 types takes about 0.1 s. Raises ValueError for anything
    that is no little-endian BTF of version 1.
    """

    def __init__(
        self,
        raw: bytes,
        structs: Collection[str],
        tracepoints: Collection[str] = (),
        functions: Collection[str] = (),
    ) -> None:
        if len(raw) < 24 or unpack_from("<HB", raw) != (0xEB9F, 1):
            raise ValueError("not BTF version 1")
        header, type_at, type_size, name_at, name_size = unpack_from("<5I", raw, 4)
        if header + max(type_at + type_size, name_at + name_size) > len(raw):
            raise ValueError("truncated BTF")
        self._names = raw[header + name_at : header + name_at + name_size]
        self._words = array("I", raw[header + type_at : header + type_at + type_size])
        self._starts = array("I", [0])
        self._structs: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._tracepoints: dict[str, int] = {}
        self._index(structs, tracepoints, functions)

    def _index(self, structs: Collection[str], wanted: Collection[str], called: Collection[str]) -> None:
        words, starts, end = self._words, self._starts, len(self._words)
        offsets = {self._name_offset(name): name for name in structs}
        tracepoints = {self._name_offset(f"btf_trace_{name}"): name for name in wanted}
        functions = {self._name_offset(name): name for name in called}
        at = 0
        try:
            while at < end:
                starts.append(at)
                info = words[at + 1]
                kind = info >> 24 & 31
                if kind == _KIND_STRUCT and words[at] in offsets and info & 0xFFFF:
                    self._structs.setdefault(offsets[words[at]], at)
                    self._numbers.setdefault(offsets[words[at]], len(starts) - 1)
                elif kind == _KIND_FUNC and words[at] in functions:
                    self._numbers[functions[words[at]]] = len(starts) - 1
                elif kind == _KIND_TYPEDEF and words[at] in tracepoints:
                    self._tracepoints[tracepoints[words[at]]] = at
                at += 3 + _FIXED[kind] + (info & 0xFFFF) * _EACH[kind]
        except IndexError as broken:
            raise ValueError("truncated BTF") from broken

    def _name_offset(self, name: str) -> int:
        return self._names.find(b"\0" + name.encode() + b"\0") + 1

    def _name(self, offset: int) -> str:
        return self._names[offset : self._names.index(b"\0", offset)].decode()

    def offset(self, dotted: str) -> int:
        """Bytes from the start of a structure to a member, as "file.f_path" or "mnt_namespace.ns.inum".
        Raises KeyError where this kernel has no such structure or member."""
        struct, *members = dotted.split(".")
        if struct not in self._structs:
            raise KeyError(struct)
        at, total = self._structs[struct], 0
        for member in members:
            found = self._member(at, member)
            if found is None:
                raise KeyError(dotted)
            bits, type_id = found
            total += bits // 8
            at = self._struct_of(type_id)
        return total

    def number(self, name: str) -> int:
        """The type id of a structure or function in this BTF. Raises KeyError where the kernel does not have
        it."""
        return self._numbers[name]

    def has_tracepoint(self, name: str) -> bool:
        """Whether the kernel has this raw tracepoint: each has a typedef ``btf_trace_NAME``
        (include/trace/bpf_probe.h)."""
        return b"\0btf_trace_" + name.encode() + b"\0" in self._names

    def has_function(self, name: str) -> bool:
        """Whether the BTF has this name among its strings, as it has that of each of the kernel's functions."""
        return b"\0" + name.encode() + b"\0" in self._names

    def tracepoint_arguments(self, name: str) -> tuple[str, ...]:
        """The types of a raw tracepoint's arguments, in order, a pointer's without its star (BTF has no names
        of the arguments; the typedef's function begins with the private ``__data``); empty where the kernel has
        no tracepoint of that name."""
        if name not in self._tracepoints:
            return ()
        at = self._target(self._words[self._tracepoints[name] + 2])
        count = self._words[at + 1] & 0xFFFF
        types = [self._words[at + 4 + 2 * index] for index in range(1, count)]
        return tuple(map(self._plain_name, types))

    def _plain_name(self, type_id: int) -> str:
        """A type's name, for a pointer the name of the type that it points to; "" for void."""
        at = self._struct_of(type_id)
        if self._words[at + 1] >> 24 & 31 == _KIND_PTR:
            type_id = self._words[at + 2]
        return self._name(self._words[self._target(type_id)]) if type_id else ""

    def _target(self, type_id: int) -> int:
        """The position of a type, for a pointer the position of the type that it points to."""
        at = self._struct_of(type_id)
        return self._struct_of(self._words[at + 2]) if self._words[at + 1] >> 24 & 31 == _KIND_PTR else at

    def _struct_of(self, type_id: int) -> int:
        """The position of a type, typedefs and qualifiers taken off."""
        at = self._starts[type_id] if type_id else 0
        while (self._words[at + 1] >> 24 & 31) in _REFERENCES:
            at = self._starts[self._words[at + 2]]
        return at

    def _member(self, at: int, name: str, depth: int = 0) -> tuple[int, int] | None:
        """(bits from the start, type id) of a member, also inside anonymous structures and unions."""
        info = self._words[at + 1]
        if (info >> 24 & 31) not in (_KIND_STRUCT, _KIND_UNION) or depth > 8:
            return None
        bitfields = info >> 31
        for index in range(info & 0xFFFF):
            name_at, type_id, bits = self._words[at + 3 + 3 * index : at + 6 + 3 * index]
            if bitfields:
                bits &= 0xFFFFFF
            if self._name(name_at) == name:
                return bits, type_id
            if name_at == 0:
                inner = self._member(self._struct_of(type_id), name, depth + 1)
                if inner is not None:
                    return bits + inner[0], inner[1]
        return None
