"""A profile small enough for apparmor_parser.

The parser makes an automaton with a state for each character that names do not have in common, and refuses more
than 65535 states ("Too many states"); of one rule it reads 16 KiB at most ("input buffer overflow"). Long
before that limit it gets slow: some 16,000 states take five seconds. A profile that would be larger is made
coarser: first with one rule for all files of a directory that have the same read permissions, then with one for
whole subtrees. The slim image has nothing else in these directories.
"""

from collections.abc import Iterable, Iterator, Mapping

from slimtrace.reason.confine.apparmor.pathnames import permissions

MAX_STATES = 16_000
MAX_PATTERN = 2_000  # characters of one pattern in quotes
ONE_RULE_A_LINE = 300  # rules at most: of more those of one directory share a line
MAX_GLOBS = 8  # of the names in one directory
_SUBTREE = "{,**}"  # the end of the pattern for a directory and all below it
_READ_LETTERS = frozenset("rkm")
_GLOB_CHARACTERS = "*{}[]@"  # a pattern has these for globs only: a literal one is written in octal digits


def compact(rules: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """The rules (letters by pattern), compacted where need be, and whether they are coarser than `rules`."""
    short = _merged((_shortened(pattern), letters) for pattern, letters in rules.items())
    ordered = sorted(short)
    found = _merged(
        (with_few_globs, short[old]) for old, with_few_globs in zip(ordered, _few_globs(ordered), strict=True)
    )
    if estimated_states(found) > MAX_STATES:
        found = _by_directory(found)
        for reading in (True, False):
            depth = max((pattern.count("/") for pattern in found), default=0)
            while depth > 0 and estimated_states(found) > MAX_STATES:
                depth -= 1
                found = _merged(
                    (_cut(pattern, letters, depth, reading), letters) for pattern, letters in found.items()
                )
    return found, found != dict(rules)


def estimated_states(patterns: Iterable[str]) -> int:
    """About how many states the patterns take: their characters, those of common prefixes once."""
    total, last = 0, ""
    for pattern in sorted(patterns):
        common = next((at for at, (a, b) in enumerate(zip(pattern, last, strict=False)) if a != b), None)
        total += len(pattern) - (min(len(pattern), len(last)) if common is None else common)
        last = pattern
    return total


def lines(rules: Mapping[str, str]) -> Iterator[str]:
    """The rules as text, sorted; in a large profile the names of one directory with the same letters in one
    line."""
    if len(rules) <= ONE_RULE_A_LINE:
        yield from sorted(f'"{pattern}" {letters}' for pattern, letters in rules.items())
        return
    groups: dict[tuple[str, str], list[str]] = {}
    for pattern, letters in sorted(rules.items()):
        directory, name = _split_name(pattern)
        has_glob = any(glob in pattern for glob in _GLOB_CHARACTERS)
        groups.setdefault((pattern if has_glob else directory, letters), []).append("" if has_glob else name)
    for (directory, letters), names in sorted(groups.items()):
        for part in _chunks(names):
            yield f'"{directory}{part[0] if len(part) == 1 else "{" + ",".join(part) + "}"}" {letters}'


def _chunks(names: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for name in names:
        if part and size + len(name) > MAX_PATTERN:
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
    """Each pattern, with a star for a part where the directory of that part has many globs: the automaton has
    to follow all of these at once."""
    seen: dict[str, set[str]] = {}
    for pattern in sorted(patterns):
        parts = pattern.split("/")
        for at, part in enumerate(parts):
            if part not in (_SUBTREE, "*") and any(glob in part for glob in _GLOB_CHARACTERS):
                found = seen.setdefault("/".join(parts[:at]), set())
                found.add(part)
                if len(found) > MAX_GLOBS:
                    parts[at] = "*"
        yield "/".join(parts)


def _shortened(pattern: str) -> str:
    """The pattern; for one that is too long the subtree of the nearest directory above that is not."""
    if len(pattern) <= MAX_PATTERN:
        return pattern
    return pattern[: pattern.rindex("/", 0, MAX_PATTERN) + 1] + _SUBTREE


def _by_directory(rules: dict[str, str]) -> dict[str, str]:
    """The rules with one for all names in a directory that have the same read permissions, the largest
    directories first, for as many directories as it takes."""
    groups: dict[tuple[str, str], list[str]] = {}
    for pattern, letters in rules.items():
        directory, name = _split_name(pattern)
        if set(letters) <= _READ_LETTERS and not any(glob in name for glob in _GLOB_CHARACTERS):
            groups.setdefault((directory + ("*/" if name.endswith("/") else "*"), letters), []).append(pattern)
    largest = sorted(
        groups, key=lambda key: (-sum(map(len, groups[key])) + len(key[0]) * len(groups[key]), key)
    )

    def folded(count: int) -> dict[str, str]:
        replaced = {pattern for key in largest[:count] for pattern in groups[key]}
        kept = [(pattern, letters) for pattern, letters in rules.items() if pattern not in replaced]
        return _merged([*kept, *largest[:count]])

    low, high = 0, len(largest)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if estimated_states(folded(middle)) <= MAX_STATES else (middle + 1, high)
    return folded(low)


def _cut(pattern: str, letters: str, depth: int, reading: bool) -> str:
    """The pattern; where it lies `depth` directories deep or deeper, the subtree of the directory at `depth`.
    With `reading` that is done for read permissions alone."""
    if reading and not set(letters) <= _READ_LETTERS:
        return pattern
    parts = pattern.rstrip("/").split("/")
    return "/".join((*parts[: depth + 1], _SUBTREE)) if len(parts) - 2 >= depth else pattern


def _split_name(pattern: str) -> tuple[str, str]:
    """The directory with its slash, and the name, which for a directory ends with a slash too."""
    at = pattern.rstrip("/").rfind("/") + 1
    return pattern[:at], pattern[at:]
