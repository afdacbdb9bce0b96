"""GET / of a web server. Called within the container's network namespace; the only module that imports httpx.

The page is fetched three times: once with compression, as browsers ask, and twice without. Where the last two
differ (by a date, a counter, a token), the page changes by itself, and a difference must not be held against a
slim image.
"""

import time
import zlib
from dataclasses import dataclass

from slimtrace.facts.paths import printable
from slimtrace.facts.runs import BODY_KEPT, Answer
from slimtrace.observe.container.exchange import Exchange

VISIT_SECONDS = 15.0  # for one answer
ATTEMPTS = 5  # a server may refuse, or answer 502 and 503, until its backend is up
PAUSE = 0.2  # seconds before the second attempt; doubled each time
BODY_LIMIT = 8 << 20  # bytes of a body that are read, and of the decompressed body
TYPE_LIMIT = 200  # characters of a content type
# As browsers and as curl send it: a server may compress the one answer (nginx: writev(2)) and send the other
# from the file (sendfile(2)).
CODINGS = ("gzip, deflate", "identity")


@dataclass(frozen=True, slots=True)
class Page:
    """One response; `body` without any content coding."""

    status: int
    content_type: str
    body: bytes

    @property
    def body_head(self) -> str:
        """The part of the body that a capture keeps."""
        return self.body[:BODY_KEPT].decode("latin-1")


def get(host: str, port: int) -> Exchange:
    """GET / by HTTP, then by HTTPS (in reverse order on the ports that are known for HTTPS). Never raises for
    what the server does: a server of another protocol gives an answer that is not ok."""
    import httpx

    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    detail = ""
    pause = PAUSE
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause)
            pause *= 2
        for scheme in ("https", "http") if port in (443, 8443) else ("http", "https"):
            target, url = f"GET {scheme} port {port} /", f"{scheme}://{authority}/"
            try:
                page = [_fetch(url, coding) for coding in CODINGS][-1]
            except (httpx.RemoteProtocolError, httpx.DecodingError) as problem:
                detail = f"it does not speak HTTP: {printable(str(problem))[:80]}"
                continue
            except httpx.ReadTimeout:
                silence = f"no answer within {VISIT_SECONDS:g} s"
                return Exchange(Answer(target, ok=False, detail=silence), f"GET {url}")
            except (httpx.HTTPError, OSError) as problem:
                detail = detail or printable(str(problem))[:80] or type(problem).__name__
                continue
            if page.status in (502, 503) and attempt + 1 < ATTEMPTS:
                detail = f"status {page.status}"
                break
            return Exchange(_answer(target, page, _again(url, page)), f"GET {url}")
        else:
            if detail.startswith("it does not speak"):
                break
    return Exchange(Answer(f"GET http port {port} /", ok=False, detail=detail), f"GET http://{authority}/")


def _answer(target: str, page: Page, again: str) -> Answer:
    return Answer(
        target,
        ok=page.status < 500,
        status=page.status,
        content_type=page.content_type,
        size=len(page.body),
        body=page.body_head,
        again=again,
    )


def _again(url: str, page: Page) -> str:
    """The body of a second, equal request, if it differs from that of `page` ("": it does not)."""
    import httpx

    try:
        second = _fetch(url, CODINGS[-1])
    except (httpx.HTTPError, OSError):
        return ""
    alike = (second.status, second.content_type) == (page.status, page.content_type)
    return second.body_head if alike and second.body_head != page.body_head else ""


def _fetch(url: str, coding: str) -> Page:
    import httpx

    headers = {"User-Agent": "slimtrace", "Accept-Encoding": coding}
    # trust_env: the host's proxy settings do not apply to the container
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
        compressed = response.headers.get("content-encoding", "").lower() in ("gzip", "x-gzip", "deflate")
        return Page(
            response.status_code, content_type, decompressed(bytes(body)) if compressed else bytes(body)
        )


def decompressed(body: bytes) -> bytes:
    """The decompressed body of a response that claims gzip or deflate, at most BODY_LIMIT bytes; a body that is
    in neither format is returned unchanged."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, BODY_LIMIT)
    except zlib.error:
        return body
