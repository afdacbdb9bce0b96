"""A program on a terminal of its own, to be watched and typed at."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

ROWS, COLUMNS = 40, 120


class Terminal:
    """`output` is all that the program has written so far, control sequences and all."""

    def __init__(self, command: Sequence[str], cwd: Path) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        # What tells programs that nobody is looking is taken away: it may be set where the tests run.
        plain = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "COLUMNS")}
        self._program = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env={**plain, "TERM": "xterm-256color"},
        )
        os.close(theirs)
        self.output = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._program.poll() is None:
            self._program.terminate()
            self._program.wait(30)
        self._reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        # the last writer's end is told as EIO
        try:
            while piece := os.read(self._ours, 1 << 16):
                self.output += piece
        except OSError:
            pass

    def until(self, text: bytes, seconds: float = 60) -> None:
        """Wait for `text` on the screen."""
        end = time.monotonic() + seconds
        while text not in self.output:
            assert self._program.poll() is None, f"it ended without {text!r}: {self.output!r}"
            assert time.monotonic() < end, f"no {text!r} within {seconds:g} s: {self.output!r}"
            time.sleep(0.02)

    def type(self, text: bytes) -> None:
        os.write(self._ours, text)

    @property
    def alive(self) -> bool:
        return self._program.poll() is None

    def wait(self, seconds: float = 60) -> int:
        """The program's exit code, once all of its output is in."""
        code = self._program.wait(seconds)
        self._reader.join(seconds)
        return code
