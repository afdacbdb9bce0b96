"""SlimtraceError, the one way in which slimtrace reports a failure, and the exit codes.

Every failure that a user can cause is a SlimtraceError; the command line alone catches it, prints it in one
form (``slimtrace: cannot …`` and a hint) and turns it into an exit code. Any other exception that reaches the
user is a defect of slimtrace.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes, one per kind of failure; documented in docs/exit-codes.md."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    NOT_ROOT = 3
    KERNEL = 4  # BPF, BTF, cgroup2 or bcc is missing
    ENGINE = 5  # the container engine cannot be reached or refused a request
    NO_IMAGE = 6
    START_FAILED = 7  # the container could not be started
    CRASHED = 8  # the container ended by itself with a failure
    NEVER_READY = 9  # no port listened, or no end came, in time
    EXERCISE_FAILED = 10  # a command that was to drive the container failed
    NO_SPACE = 11
    BAD_INPUT = 12  # an image, capture or file that cannot be read
    DOUBTFUL = 13  # --strict, and the result has doubts
    NOT_KEPT = 14  # the answer of `why` for a path that the slim image does not have; no failure
    UNVERIFIED = 15  # the slim image does not come out as the fat one does
    INTERRUPTED = 130
    TERMINATED = 143


class SlimtraceError(Exception):
    """A failure with a message for the user, a hint about what to do next, and an exit code.

    `message` is lower case, begins with "cannot" and names the path or id concerned. `log` are the
    container's last lines.
    """

    def __init__(
        self, message: str, hint: str = "", exit_code: Exit = Exit.BAD_INPUT, log: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        self.log = log


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM arrived; everything that was set up is taken down on the way out.

    It can arrive anywhere, also where code catches Exception and goes on: at an ELF file that is malformed, at
    a server that does not answer. Hence, like KeyboardInterrupt, it is no Exception.
    """

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.exit_code = Exit.TERMINATED if signal_name == "SIGTERM" else Exit.INTERRUPTED

    def as_error(self) -> SlimtraceError:
        """The interrupt as an error to print for the user."""
        return SlimtraceError(
            f"cannot go on: {self.args[0]} received", "nothing was left behind", self.exit_code
        )
