"""Text without what differs in each run: times, ids, addresses, ports, process numbers, tokens.

Two normalised texts can be compared. Normalising errs towards leaving out: a number of eight digits is taken
for an id. Normalising a normalised text changes nothing, and takes time in proportion to the text.
"""

import re
from collections.abc import Iterable

from slimtrace.facts.runs import FIRST_EPHEMERAL_PORT

_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_CLOCK = r"\d{1,2}:\d\d:\d\d(?:[.,]\d{1,9})?(?:\ ?[AaPp]\.?[Mm]\.?)?"
_ZONE = r"(?:\ ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?"
# The alternatives are tried in this order at each place; none begins or ends within a word.
_PATTERN = rf"""
(?<!\w)(?:
  (?P<time>
      \d{{4}}(?P<dash>[-/.])\d\d(?P=dash)\d\d
      (?:[T\ _]+ \d\d:\d\d (?::\d\d)? (?:[.,]\d{{1,9}})? {_ZONE})? # RFC 3339
    | {_DAY},?\ +\d{{1,2}}[\ -]{_MONTH}[\ -]\d{{2,4}} (?:\ +{_CLOCK}{_ZONE})? # HTTP
    | {_DAY},?\ +{_MONTH}\ +\d{{1,2}} (?:,?\ +{_CLOCK})?
      (?:\ +[A-Z]{{3,5}})? (?:,?\ +\d{{4}})? # ctime(3)
    | \d{{1,2}}[\ /-]{_MONTH}[\ /-]\d{{4}} (?:[:\ ]+{_CLOCK}{_ZONE})? # CLF
    | {_MONTH}\ +\d{{1,2}} (?:,?\ +\d{{4}})? (?:,?\ +{_CLOCK})? # syslog
    | {_CLOCK}{_ZONE}
    | (?:1[5-9]|2[01])\d{{8}} (?:\d{{3}}|\d{{6}}|\d{{9}})? (?:\.\d{{1,9}})?   # since the epoch, 2017 to 2039
  )
  | (?P<id> [0-9a-fA-F]{{8}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{12}} )
  | (?P<address> 0x[0-9a-fA-F]+ )
  | (?P<duration>
      (?:\d+h)? (?:\d+m)? \d+(?:\.\d+)?\ ?
      (?:ns|us|µs|ms|s|msecs?|secs?|seconds?|milliseconds?|mins?|minutes?|hours?)
  )
  | (?P<process> \d+\#\d+ )
  | (?P<hex> (?=[a-fA-F]*\d) [0-9a-fA-F]{{8,}} )
  | (?P<token> [A-Za-z0-9+/_-]{{16,}}={{0,2}} )
)(?!\w)
| (?i:(?P<name> \b(?:csrf|xsrf|nonce|etag|session)[a-z_-]{{0,20}} ["']? \s? [:=] \s? ["'] )
      (?P<secret> [^"'\s<>]+ ) )
| (?i:(?P<pid> \b(?:pid|process(?:\ id)?)\ ?[=:\#]?\ ? ) \d+ \b )
| (?P<owner> \w\[) \d+ (?=\])
| (?P<host> [\w.\]>]: ) (?P<port> \d{{4,5}} ) \b
| (?i:(?P<spoken> \bport\ ?[=:\#]?\ ? ) (?P<ephemeral> \d{{5}} ) \b )
"""
_VARYING = re.compile(_PATTERN, re.VERBOSE)
_KIND_CHANGES = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[0-9])|(?<=[0-9])(?=[a-zA-Z])")
_ROUNDS = 4  # a replacement may leave a neighbour that stands alone, and is replaced in the next round
_PRIVILEGED = 1024


def normalise(text: str, names: Iterable[str] = ()) -> str:
    """`text` with what varies replaced by its kind in angle brackets; `names` are words that are one
    container's alone (its host name, its address)."""
    text = _without_names(text, names)
    for _ in range(_ROUNDS):
        before = text
        text = _VARYING.sub(_placeholder, before)
        if text == before:
            break
    return text


def _without_names(text: str, names: Iterable[str]) -> str:
    words = sorted(filter(None, set(names)), key=lambda name: (-len(name), name))
    if not words:
        return text
    either = "|".join(map(re.escape, words))
    return re.sub(rf"(?<!\w)(?:{either})(?!\w|\.\d)", "<name>", text)


def _placeholder(found: re.Match[str]) -> str:
    kind, whole = found.lastgroup, found[0]
    match kind:
        case "token":
            return "<token>" if _is_random(whole) else whole
        case "hex":
            return "<id>"
        case "process":
            return "<pid>"
        case "secret":
            return f"{found['name']}<token>"
        case "pid" | "owner":
            return f"{found[kind]}<pid>"
        case "port":
            return f"{found['host']}<port>" if int(found["port"]) > _PRIVILEGED else whole
        case "ephemeral":
            return f"{found['spoken']}<port>" if int(found["ephemeral"]) >= FIRST_EPHEMERAL_PORT else whole
        case "dash":
            return "<time>"
        case _:
            return f"<{kind}>"


def _is_random(word: str) -> bool:
    """Whether letters and digits alternate as they do in no name or path: of 16 random characters of base64
    some eight follow one of another kind. A small letter after a capital does not count: names are written
    so."""
    return len(_KIND_CHANGES.findall(word)) >= len(word) / 5


__all__ = ["normalise"]
