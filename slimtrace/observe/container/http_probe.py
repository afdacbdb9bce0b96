"""A web server is asked for its first page. Called within the container's network namespace; httpx lives here.

Three times in all: compressed as browsers ask, and twice as it lies on the disk. What the last two have of
their own (a date, a counter, a token) differs by itself, and must not be held against a slim image.
"""

import time
import zlib
from dataclasses import dataclass

from slimtrace.facts.paths import printable
from slimtrace.facts.runs import BODY_KEPT, Answer
from slimtrace.observe.container.exchange import Asked

VISIT_SECONDS = 15.0  # for one answer
ATTEMPTS = 5  # a server may refuse, or answer 502 and 503, until what is behind it is up
PAUSE = 0.2  # seconds before the second attempt; doubled each time
BODY_LIMIT = 8 << 20  # bytes of a body that are read, and that it may unpack to
TYPE_LIMIT = 200  # characters of a content type
# As browsers ask and as curl does: a server may compress the one answer (nginx: writev(2)) and send the other
# as it lies on the disk (sendfile(2)).
CODINGS = ("gzip, deflate", "identity")


@dataclass(frozen=True, slots=True)
class Page:
    """One response; `body` without any content coding."""

    status: int
    content_type: str
    body: bytes

    @property
    def kept(self) -> str:
        """The part of the body that a capture keeps."""
        return self.body[:BODY_KEPT].decode("latin-1")


def get(host: str, port: int) -> Asked:
    """GET / by HTTP, then by HTTPS (on the ports that are known for it the other way round). Never raises for
    what the server does: one that speaks something else is an answer that is not ok."""
    import httpx

    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    detail = ""
    pause = PAUSE
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause)
            pause *= 2
        for scheme in ("https", "http") if port in (443, 8443) else ("http", "https"):
            target, url = f"GET {scheme} port {port} /", f"{scheme}://{place}/"
            try:
                page = [_fetch(url, coding) for coding in CODINGS][-1]
            except (httpx.RemoteProtocolError, httpx.DecodingError) as problem:
                detail = f"it does not speak HTTP: {printable(str(problem))[:80]}"
                continue
            except httpx.ReadTimeout:
                silence = f"no answer within {VISIT_SECONDS:g} s"
                return Asked(Answer(target, ok=False, detail=silence), f"GET {url}")
            except (httpx.HTTPError, OSError) as problem:
                detail = detail or printable(str(problem))[:80] or type(problem).__name__
                continue
            if page.status in (502, 503) and attempt + 1 < ATTEMPTS:
                detail = f"status {page.status}"
                break
            return Asked(_answer(target, page, _again(url, page)), f"GET {url}")
        else:
            if detail.startswith("it does not speak"):
                break
    return Asked(Answer(f"GET http port {port} /", ok=False, detail=detail), f"GET http://{place}/")


def _answer(target: str, page: Page, again: str) -> Answer:
    return Answer(
        target,
        ok=page.status < 500,
        status=page.status,
        content_type=page.content_type,
        size=len(page.body),
        body=page.kept,
        again=again,
    )


def _again(url: str, page: Page) -> str:
    """The body that a second question of the same kind brings, if it is another one."""
    import httpx

    try:
        second = _fetch(url, CODINGS[-1])
    except (httpx.HTTPError, OSError):
        return ""
    alike = (second.status, second.content_type) == (page.status, page.content_type)
    return second.kept if alike and second.kept != page.kept else ""


def _fetch(url: str, coding: str) -> Page:
    import httpx

    headers = {"User-Agent": "slimtrace", "Accept-Encoding": coding}
    # trust_env: a proxy of the host has no business between us and the container
    with (
        httpx.Client(verify=False, timeout=VISIT_SECONDS, trust_env=False, headers=headers) as client,
        client.stream("GET", url) as response,
    ):
        body = bytearray()
        for piece in response.iter_raw():
            body += piece
            if len(body) > BODY_LIMIT:
                break
        content_type = printable(response.headers.get("content-type", ""))[:TYPE_LIMIT]
        packed = response.headers.get("content-encoding", "").lower() in ("gzip", "x-gzip", "deflate")
        return Page(response.status_code, content_type, unpacked(bytes(body)) if packed else bytes(body))


def unpacked(body: bytes) -> bytes:
    """What a body holds that is said to be gzip or deflate, at most BODY_LIMIT bytes; a body that is not stays
    as it came."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, BODY_LIMIT)
    except zlib.error:
        return body
