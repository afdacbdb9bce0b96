"""What the container runtime itself calls behind its seccomp filter when something is exec'd into a container,
as ``docker exec`` and HEALTHCHECK do: measured, whether or not anything of the kind belongs to this image.
"""

from slimtrace.engine import Engine
from slimtrace.errors import SlimtraceError

# No image has a program of this name. The runtime looks for it in PATH behind the filter, and gives up.
ABSENT = "slimtrace-looks-for-what-is-absent"
SECONDS = 20.0


def measure_exec(engine: Engine, container: str) -> bool:
    """Have the runtime enter the running `container` as ``docker exec`` does, for a program that is not there:
    nothing of the image is run. The recording then has a Phase.FILTERED of Origin.EXEC. False where the
    container ended before that, or the engine could not."""
    try:
        if not engine.state(container).running:
            return False
        engine.exec(container, [ABSENT], timeout=SECONDS)
    except SlimtraceError:
        pass  # engines tell that it is not there as an exit code, an output, or a failure of theirs
    return True
