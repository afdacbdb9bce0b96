"""Facts of Python's interpreter and standard library that the import statements of a source do not show."""

from encodings import normalize_encoding
from encodings.aliases import aliases

# Hidden imports: what C code or a computed import of the standard library loads with the module on the left, or
# at the first use of it.
HIDDEN_IMPORTS = {
    "asyncio": ("concurrent.futures.thread",),  # asyncio/base_events.py, run_in_executor
    "concurrent.futures.ThreadPoolExecutor": ("concurrent.futures.thread",),  # its __getattr__
    "concurrent.futures.ProcessPoolExecutor": ("concurrent.futures.process", "multiprocessing.popen_fork"),
    "dbm": ("dbm.gnu", "dbm.ndbm", "dbm.dumb"),  # dbm/__init__.py, _names
    "decimal": ("numbers", "collections"),  # Modules/_decimal/_decimal.c, PyInit__decimal
    "encodings.idna": ("encodings.punycode",),
    "http.client": ("encodings.idna",),  # Modules/socketmodule.c, socket_getaddrinfo
    "email": ("email.parser",),  # email/__init__.py, message_from_string
    "importlib.metadata": ("email.parser",),
    "importlib.resources": ("importlib.readers",),  # importlib/_bootstrap_external.py, get_resource_reader
    "pickle": ("copyreg", "_compat_pickle"),  # Modules/_pickle.c, _Pickle_InitState
    "sqlite3": ("sqlite3.dump",),  # Modules/_sqlite/connection.c
    "xml.dom.minidom": ("xml.dom.expatbuilder",),
    "xml.etree.ElementTree": ("copy", "xml.etree.ElementPath"),  # Modules/_elementtree.c, PyInit__elementtree
    "xml.sax": ("xml.sax.expatreader",),  # xml/sax/__init__.py, default_parser_list
    "zoneinfo": (
        "weakref",
        "zoneinfo._tzpath",
        "zoneinfo._common",
        "importlib.resources",
        "sysconfig",
        "tzdata.zoneinfo",
    ),
}
# Hidden imports that only code that is near (see finder.Python) may use: multiprocessing/context.py.
HIDDEN_IMPORTS_NEAR = {
    "multiprocessing": tuple(
        f"multiprocessing.{name}"
        for name in ("connection", "pool", "popen_fork", "queues", "resource_tracker", "spawn", "synchronize")
    ),
}
# Modules whose functions' imports are not followed, as the `implied` mentions and the tables above name them.
LAZY_IMPORTS_KNOWN = ("os", "concurrent.futures")
# Modules that functions of libraries import for a developer or a person at a terminal, and not for a service.
_TOOL_WORDS = """
IPython bdb cmd code conftest curses distutils doctest ensurepip idlelib lib2to3 pdb pip pkg_resources
profile pydoc pydoc_data pytest readline rlcompleter setuptools test testing tests tkinter turtle unittest
venv webbrowser wheel
"""
TOOLS = frozenset(_TOOL_WORDS.split())
TOOL_FILES = ("/_reloader.py", "/autoreload.py", "/shell_completion.py")
# Frozen into the interpreter since 3.11 (Python/frozen.c): it reads no file for them.
_FROZEN_WORDS = """
_collections_abc _sitebuiltins abc codecs genericpath importlib._bootstrap importlib._bootstrap_external
importlib.machinery importlib.util io ntpath os posixpath runpy site stat zipimport
"""
FROZEN = frozenset(_FROZEN_WORDS.split())
_FRAMEWORK_WORDS = """
bottle django fastapi flask jinja2 quart sanic starlette tornado aiohttp
"""
FRAMEWORKS = frozenset(_FRAMEWORK_WORDS.split())
BUILT_IN_CODECS = frozenset(("utf_8", "latin_1", "iso8859_1"))  # Objects/unicodeobject.c knows these by itself


def codec_module(name: str) -> str:
    """The module of a codec, by any of its names (encodings/__init__.py, search_function); "" for a codec that
    is built in, and for what cannot be the name of one."""
    module = normalize_encoding(name.lower()).replace(".", "_")
    module = aliases.get(module, module)
    return f"encodings.{module}" if module.isidentifier() and module not in BUILT_IN_CODECS else ""
