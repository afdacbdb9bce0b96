"""A program on a pseudo-terminal: a test reads what the program writes, and types input."""

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
    """`output` is all that the program has written so far, including control sequences."""

    def __init__(self, command: Sequence[str], cwd: Path) -> None:
        self._controller, tty = pty.openpty()
        fcntl.ioctl(tty, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        # These variables tell programs that no person watches; the tests' own environment may have them.
        plain = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "COLUMNS")}
        self._program = subprocess.Popen(
            command,
            stdin=tty,
            stdout=tty,
            stderr=tty,
            cwd=cwd,
            env={**plain, "TERM": "xterm-256color"},
        )
        os.close(tty)
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
        os.close(self._controller)

    def _read(self) -> None:
        # read(2) fails with EIO once the last process has closed the terminal
        try:
            while piece := os.read(self._controller, 1 << 16):
                self.output += piece
        except OSError:
            pass

    def until(self, text: bytes, seconds: float = 60) -> None:
        """Wait until `text` is in the output."""
        end = time.monotonic() + seconds
        while text not in self.output:
            assert self._program.poll() is None, f"it ended without {text!r}: {self.output!r}"
            assert time.monotonic() < end, f"no {text!r} within {seconds:g} s: {self.output!r}"
            time.sleep(0.02)

    def type(self, text: bytes) -> None:
        os.write(self._controller, text)

    @property
    def alive(self) -> bool:
        return self._program.poll() is None

    def wait(self, seconds: float = 60) -> int:
        """The program's exit code, after all of its output has been read."""
        code = self._program.wait(seconds)
        self._reader.join(seconds)
        return code
