"""slimtrace.toml: what can be said of a build, as a file. Its tables have the options of ``slimtrace build``
(settings/groups.py) as keys; every key is known, and has one type.

TOML (toml.io, v1.0.0) holds Unicode alone, and a file's name may be any bytes: a byte that is not UTF-8 is
written as U+0000, which no path holds, and its two hexadecimal digits: "/caf\\u0000e9".
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from slimtrace.errors import SlimtraceError
from slimtrace.settings.groups import TABLES
from slimtrace.settings.option import Form

_HOME = {key: table for table, keys in TABLES.items() for key in keys}
_BYTE = re.compile(r"\0([89a-f][0-9a-f])")


def read(text: str, name: str = "the settings") -> dict[str, Any]:
    """The values in `text` by key; keys are unique among the tables. `name` is the file's, for messages. Raises
    SlimtraceError for what is no TOML, for an unknown table or key, and for a value of another type."""
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        said = "it is nested too deep" if isinstance(problem, RecursionError) else str(problem)
        raise SlimtraceError(f"cannot read {name}: {said}", "it is to be TOML, see toml.io") from problem
    found: dict[str, Any] = {}
    for table, values in tables.items():
        if table not in TABLES or not isinstance(values, dict):
            raise _unknown(name, table)
        for key, value in values.items():
            if key not in TABLES[table]:
                raise _unknown(name, key, table)
            found[key] = _checked(TABLES[table][key].form, value, f"{name}: [{table}] {key}")
    return found


def write(table: str, values: Mapping[str, object]) -> str:
    """One table of strings, lists of strings, numbers, and true and false, as text that `read` understands."""
    lines = [f"[{table}]"]
    for key, value in values.items():
        if isinstance(value, list | tuple):
            lines += [f"{key} = [", *(f"    {_quoted(item)}," for item in value), "]"]
        else:
            lines.append(f"{key} = {_quoted(value)}")
    return "\n".join(lines) + "\n"


def _checked(form: Form, value: Any, what: str) -> Any:
    if form in (Form.TEXTS, Form.PLACES):
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    elif form in (Form.FLAG, Form.SWITCH):
        fits = isinstance(value, bool)
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = (number and form in (Form.NUMBER, Form.MOMENT)) or (
            isinstance(value, str) and form is not Form.NUMBER
        )
    if not fits:
        raise SlimtraceError(f"cannot read {what}: it is to be {form}")
    texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    decoded = [_BYTE.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), item) for item in texts]
    if any("\0" in item for item in decoded):
        raise SlimtraceError(
            f"cannot read {what}: it has a zero character", r"a byte that is not UTF-8 is written \u0000e9"
        )
    return decoded if isinstance(value, list) else decoded[0] if texts else value


def _unknown(name: str, word: str, table: str = "") -> SlimtraceError:
    known = {key: f"{key} in [{home}]" for key, home in _HOME.items()} | {each: f"[{each}]" for each in TABLES}
    close = [word.replace("_", "-")] if word.replace("_", "-") in known else []
    close += difflib.get_close_matches(word.lower().replace("_", "-"), known, 1, 0.4)
    what = f"[{table}] has no key {word!r}" if table else f"there is no table {word!r}"
    known_here = ", ".join(TABLES.get(table, TABLES))
    hint = f"did you mean {known[close[0]]}?" if close else f"known are {known_here}"
    return SlimtraceError(f"cannot read {name}: {what}", hint)


def _quoted(value: object) -> str:
    """A TOML value: basic strings escape as C does, but for what JSON leaves alone."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\u0000{code - 0xDC00:02x}"
    if char in '"\\':
        return f"\\{char}"
    return f"\\u{code:04x}" if code < 0x20 or code == 0x7F else char


__all__ = ["read", "write"]
