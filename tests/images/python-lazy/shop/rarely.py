"""What an application does once in a while."""

from datetime import datetime
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
PARTS = ("first", "second")
HANDLERS = {"handlers": {"file": {"class": "logging.handlers.WatchedFileHandler", "filename": "/dev/null"}}}


def everything():
    return {
        "numbers": numbers(),
        "times": times(),
        "texts": texts(),
        "packages": packages(),
        "parts": [import_module(f"{__package__}.parts.{name}").NAME for name in PARTS],
        "file": (HERE / "prices.csv").read_text(),
        "handlers": handlers(),
    }


def numbers():
    import sqlite3
    from concurrent.futures import ThreadPoolExecutor
    from decimal import Decimal

    base = sqlite3.connect(":memory:")
    with ThreadPoolExecutor(1) as pool:
        sum_of_three = pool.submit(sum, (1, 2, 3)).result()
    return [str(Decimal("1.10") + 1), base.execute("select 6 * 7").fetchone()[0], sum_of_three]


def times():
    from zoneinfo import ZoneInfo

    parsed = datetime.strptime("24 Feb 2024", "%d %b %Y")
    return [parsed.isoformat(), parsed.replace(tzinfo=ZoneInfo("Europe/Berlin")).isoformat()]


def texts():
    import xml.etree.ElementTree as tree

    named = tree.fromstring("<a><b name='x'/></a>").find("b").get("name")
    return [named, "\u20ac".encode("cp1252").hex(), "b\u00fccher.example".encode("idna").decode("ascii")]


def packages():
    from importlib import metadata

    import measures

    plugins = metadata.entry_points(group="measures.systems")
    return [
        metadata.version("measures"),
        sorted(point.name + str(point.load()()) for point in plugins),
        measures.convert(2, "mile"),
    ]


def handlers():
    import logging.config

    logging.config.dictConfig({"version": 1, **HANDLERS})
    return "configured"
