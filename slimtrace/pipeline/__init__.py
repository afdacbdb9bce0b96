"""The verbs that run, trace or make something: one short recipe for each verb, with little logic of its own."""

from slimtrace.pipeline.machine_check import doctor
from slimtrace.pipeline.observation import attach, merge, record, require_cgroup2, watch_cgroup
from slimtrace.pipeline.request import OpenedImage, Request, default_folder
from slimtrace.pipeline.security_profiles import profile
from slimtrace.pipeline.slim_image import assemble, build
from slimtrace.pipeline.verification import verify

__all__ = [
    "OpenedImage",
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
