"""Rules as text: the [rules] table of slimtrace.toml, and rules.toml among the artifacts, from which a decision
can be repeated."""

from collections.abc import Mapping
from typing import Any, TypeVar

from slimtrace import settings
from slimtrace.errors import Exit, SlimtraceError
from slimtrace.facts.paths import printable
from slimtrace.reason.keep import path_permissions
from slimtrace.reason.keep.rules import Keep, PackageDb, Rules

Word = TypeVar("Word", Keep, PackageDb)

_HEAD = "# The rules of one build. `slimtrace build --config rules.toml` follows them again.\n"


def rules_from_text(text: str, name: str = "rules.toml") -> Rules:
    """The rules in `text`, which may have other tables beside [rules]; lists of paths in files of their own
    (include-path-file) are not looked at. Raises SlimtraceError for what it does not understand."""
    return rules(settings.read(text, name))


def to_text(rules: Rules) -> str:
    """`rules` as a file; rules_from_text is its inverse."""
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
    return _HEAD + settings.write("rules", {key: value for key, value in values.items() if value})


def rules(values: Mapping[str, Any]) -> Rules:
    """Rules from values by key, of the types that settings tells, as the command line has them too; None is for
    what was not said. Raises SlimtraceError (USAGE) for a value that means nothing."""

    def many(key: str) -> tuple[str, ...]:
        return tuple(values.get(key) or ())

    for key in ("include-path", "preserve-path"):
        for path in many(key):
            require_absolute(path, f"--{key}")
    wanted = tuple(map(path_permissions.parse, many("path-perms")))
    for each in wanted:
        require_absolute(each.path, "--path-perms")
    for name in many("include-exe"):
        if "/" in name or not name:
            raise SlimtraceError(
                f"cannot look up the program {printable(name)!r}: that is no name",
                "a path is for --include-bin",
                Exit.USAGE,
            )
    return Rules(
        keep=_one_of(Keep, values.get("keep") or Keep.CLOSURE, "--keep"),
        include_paths=many("include-path"),
        include_bins=many("include-bin"),
        include_exes=many("include-exe"),
        include_shell=bool(values.get("include-shell")),
        include_workdir=bool(values.get("include-workdir")),
        exclude_patterns=many("exclude-pattern"),
        preserve_paths=many("preserve-path"),
        path_perms=wanted,
        package_db=_one_of(PackageDb, values.get("package-db") or PackageDb.TRIMMED, "--package-db"),
    )


def require_absolute(path: str, where: str) -> None:
    """Raises SlimtraceError (USAGE) unless `path` begins at the root."""
    if not path.startswith("/"):
        raise SlimtraceError(
            f"cannot understand {where} {printable(path)!r}: a path in the image begins with /", "", Exit.USAGE
        )


def _one_of(kind: type[Word], word: str, option: str) -> Word:
    try:
        return kind(word)
    except ValueError:
        raise SlimtraceError(
            f"cannot understand {option} {printable(word)!r}", f"it is one of {', '.join(kind)}", Exit.USAGE
        ) from None


__all__ = ["require_absolute", "rules", "rules_from_text", "to_text"]
