"""Rules as text: the [rules] table of slimtrace.toml, and rules.toml among the artifacts, from which a decision
can be repeated."""

from collections.abc import Mapping
from typing import Any, TypeVar

from slimtrace import settings
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.paths import printable
from slimtrace.reason.keep import path_permissions
from slimtrace.reason.keep.rules import Keep, PackageDb, Rules

Choice = TypeVar("Choice", Keep, PackageDb)

_HEADER = "# The rules of one build. `slimtrace build --config rules.toml` follows them again.\n"


def rules_from_text(text: str, name: str = "rules.toml") -> Rules:
    """The rules in `text`, which may have other tables beside [rules]; files with lists of paths
    (include-path-file) are not read. Raises SlimtraceError for what it does not understand."""
    return rules_from_values(settings.read(text, name))


def to_text(rules: Rules) -> str:
    """The text of a file with `rules`; rules_from_text is the inverse."""
    values: dict[str, object] = {
        "keep": str(rules.keep),
        "include-path": rules.include_paths,
        "include-bin": rules.include_bins,
        "include-exe": rules.include_exes,
        "include-shell": rules.include_shell,
        "include-workdir": rules.include_workdir,
        "exclude-pattern": rules.exclude_patterns,
        "preserve-path": rules.preserve_paths,
        "path-perms": tuple(map(str, rules.path_perms)),
        "package-db": str(rules.package_db),
    }
    return _HEADER + settings.write("rules", {key: value for key, value in values.items() if value})


def rules_from_values(values: Mapping[str, Any]) -> Rules:
    """Rules from values by key, of the types that slimtrace.settings gives; the command line has the same keys,
    with None for an option that was not given. Raises SlimtraceError (USAGE) for an invalid value."""

    def strings(key: str) -> tuple[str, ...]:
        return tuple(values.get(key) or ())

    for key in ("include-path", "preserve-path"):
        for path in strings(key):
            require_absolute(path, f"--{key}")
    permissions = tuple(map(path_permissions.parse, strings("path-perms")))
    for each in permissions:
        require_absolute(each.path, "--path-perms")
    for name in strings("include-exe"):
        if "/" in name or not name:
            raise SlimtraceError(
                f"cannot look up the program {printable(name)!r}: that is no name",
                "a path is for --include-bin",
                Exit.USAGE,
            )
    return Rules(
        keep=_one_of(Keep, values.get("keep") or Keep.CLOSURE, "--keep"),
        include_paths=strings("include-path"),
        include_bins=strings("include-bin"),
        include_exes=strings("include-exe"),
        include_shell=bool(values.get("include-shell")),
        include_workdir=bool(values.get("include-workdir")),
        exclude_patterns=strings("exclude-pattern"),
        preserve_paths=strings("preserve-path"),
        path_perms=permissions,
        package_db=_one_of(PackageDb, values.get("package-db") or PackageDb.TRIMMED, "--package-db"),
    )


def require_absolute(path: str, where: str) -> None:
    """Raises SlimtraceError (USAGE) unless `path` begins at the root."""
    if not path.startswith("/"):
        raise SlimtraceError(
            f"cannot understand {where} {printable(path)!r}: a path in the image begins with /", "", Exit.USAGE
        )


def _one_of(kind: type[Choice], word: str, option: str) -> Choice:
    try:
        return kind(word)
    except ValueError:
        raise SlimtraceError(
            f"cannot understand {option} {printable(word)!r}", f"it is one of {', '.join(kind)}", Exit.USAGE
        ) from None


__all__ = ["require_absolute", "rules_from_text", "rules_from_values", "to_text"]
