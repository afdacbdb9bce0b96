"""The story: one short recipe per verb, little logic."""

from slimtrace.pipeline.building import assemble, build
from slimtrace.pipeline.examining import doctor
from slimtrace.pipeline.observing import attach, merge, record, require_cgroup2, watch_cgroup
from slimtrace.pipeline.profiling import profile
from slimtrace.pipeline.request import Bench, Request, default_folder
from slimtrace.pipeline.verifying import verify

__all__ = [
    "Bench",
    "Request",
    "assemble",
    "attach",
    "build",
    "default_folder",
    "doctor",
    "merge",
    "profile",
    "record",
    "require_cgroup2",
    "verify",
    "watch_cgroup",
]
