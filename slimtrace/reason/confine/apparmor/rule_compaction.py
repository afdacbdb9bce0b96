"""Rules few enough for the parser.

It makes an automaton of a state a character for all that names do not have in common, and refuses more than
65535 states ("Too many states"); and of one rule it reads 16 KiB at most ("input buffer overflow"). Long before
that it gets slow: some 16,000 states take five seconds. A profile that would be larger is made coarser: first
with one rule for all files in a directory that may be used in one way, where that is reading, then with one for
all that lie deeper. The slim image has nothing else in these directories.
"""

from collections.abc import Iterable, Iterator, Mapping

from slimtrace.reason.confine.apparmor.pathnames import permissions

STATES = 16_000
TOKEN = 2_000  # characters of one name in quotes
MANY = 300  # rules from which on those of one directory share a line
GLOBS = 8  # of one directory
_ALL = "{,**}"  # what ends the rule for a directory and all below it
_READING = frozenset("rkm")
_GLOBS = "*{}[]@"  # patterns have these only where they mean something: literally they are octal digits


def compact(rules: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """The rules, and whether they are coarser than they were."""
    short = _merged((_shortened(pattern), letters) for pattern, letters in rules.items())
    ordered = sorted(short)
    found = _merged((few, short[old]) for old, few in zip(ordered, _few_globs(ordered), strict=True))
    if states(found) > STATES:
        found = _by_directory(found)
        for reading in (True, False):
            depth = max((pattern.count("/") for pattern in found), default=0)
            while depth > 0 and states(found) > STATES:
                depth -= 1
                found = _merged(
                    (_cut(pattern, letters, depth, reading), letters) for pattern, letters in found.items()
                )
    return found, found != dict(rules)


def states(patterns: Iterable[str]) -> int:
    """About how many states the patterns take: the characters that no two of them share from the beginning."""
    total, last = 0, ""
    for pattern in sorted(patterns):
        common = next((at for at, (a, b) in enumerate(zip(pattern, last, strict=False)) if a != b), None)
        total += len(pattern) - (min(len(pattern), len(last)) if common is None else common)
        last = pattern
    return total


def lines(rules: Mapping[str, str]) -> Iterator[str]:
    """The rules as text, sorted; in a large profile the names of one directory and use in one line."""
    if len(rules) <= MANY:
        yield from sorted(f'"{pattern}" {letters}' for pattern, letters in rules.items())
        return
    groups: dict[tuple[str, str], list[str]] = {}
    for pattern, letters in sorted(rules.items()):
        above, name = _split(pattern)
        alone = any(glob in pattern for glob in _GLOBS)
        groups.setdefault((pattern if alone else above, letters), []).append("" if alone else name)
    for (above, letters), names in sorted(groups.items()):
        for part in _parts(names):
            yield f'"{above}{part[0] if len(part) == 1 else "{" + ",".join(part) + "}"}" {letters}'


def _parts(names: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for name in names:
        if part and size + len(name) > TOKEN:
            yield part
            part, size = [], 0
        part.append(name)
        size += len(name) + 1
    yield part


def _merged(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for pattern, letters in pairs:
        found.setdefault(pattern, set()).update(letters.replace("i", ""))
    return {pattern: permissions(letters) for pattern, letters in found.items()}


def _few_globs(patterns: Iterable[str]) -> Iterator[str]:
    """Each pattern, with a star for a part of it where its directory has many globs: the automaton has to
    follow all of these at once."""
    seen: dict[str, set[str]] = {}
    for pattern in sorted(patterns):
        parts = pattern.split("/")
        for at, part in enumerate(parts):
            if part not in (_ALL, "*") and any(glob in part for glob in _GLOBS):
                found = seen.setdefault("/".join(parts[:at]), set())
                found.add(part)
                if len(found) > GLOBS:
                    parts[at] = "*"
        yield "/".join(parts)


def _shortened(pattern: str) -> str:
    """A pattern too long for one rule stands for all in the nearest directory that is not."""
    if len(pattern) <= TOKEN:
        return pattern
    return pattern[: pattern.rindex("/", 0, TOKEN) + 1] + _ALL


def _by_directory(rules: dict[str, str]) -> dict[str, str]:
    """One rule for the names in a directory that are read in the same way, the largest directories first, as
    many of them as it takes."""
    groups: dict[tuple[str, str], list[str]] = {}
    for pattern, letters in rules.items():
        above, name = _split(pattern)
        if set(letters) <= _READING and not any(glob in name for glob in _GLOBS):
            groups.setdefault((above + ("*/" if name.endswith("/") else "*"), letters), []).append(pattern)
    order = sorted(groups, key=lambda key: (-sum(map(len, groups[key])) + len(key[0]) * len(groups[key]), key))

    def folded(count: int) -> dict[str, str]:
        gone = {pattern for key in order[:count] for pattern in groups[key]}
        kept = [(pattern, letters) for pattern, letters in rules.items() if pattern not in gone]
        return _merged([*kept, *order[:count]])

    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if states(folded(middle)) <= STATES else (middle + 1, high)
    return folded(low)


def _cut(pattern: str, letters: str, depth: int, reading: bool) -> str:
    """The pattern, or where it lies `depth` directories deep or deeper, that for all in the one at `depth`."""
    if reading and not set(letters) <= _READING:
        return pattern
    parts = pattern.rstrip("/").split("/")
    return "/".join((*parts[: depth + 1], _ALL)) if len(parts) - 2 >= depth else pattern


def _split(pattern: str) -> tuple[str, str]:
    """The directory with its slash, and the name, which for a directory ends with one."""
    at = pattern.rstrip("/").rfind("/") + 1
    return pattern[:at], pattern[at:]
