"""Layers on top of each other: which entries are still seen at the top, and which layer hid the others.

The rules are those of OCI image-spec layer.md ("Applying Changesets", "Whiteouts"): an entry replaces what was
at its path; a directory on a directory keeps what is below; a whiteout takes away a path of the layers below it
with all below, an opaque directory all below it. Where a layer has something below a path that is a symlink in
a lower one, engines differ; here, as with Docker's overlay2, the path then is a directory.
"""

from bisect import bisect_right
from collections.abc import Sequence

from slimtrace.facts import paths
from slimtrace.facts.layers import Layer
from slimtrace.facts.tree import Kind

_NEVER = (-1,)
_BEYOND = 1 << 30


class Stack:
    """The layers of an image, lowest first, and what each of them hides. A layer is a number from 0."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        self._last: dict[str, int] = {}  # path to the last layer that has an entry there
        self._several: dict[str, list[int]] = {}  # and to all of them, where there are several
        self._walked: dict[str, list[int]] = {}  # path to the layers in which it is a directory for something
        self._removed: dict[str, list[int]] = {}  # path to the layers that white it out
        self._emptied: dict[str, list[int]] = {}  # path to the layers that hide what the ones below have in it
        self._barriers: dict[str, int] = {}
        for number, layer in enumerate(self.layers):
            for path in layer.entries:
                if path in self._last:
                    self._several.setdefault(path, [self._last[path]]).append(number)
                self._last[path] = number
                self._walk(path, number)
            for path in layer.whiteouts:
                self._removed.setdefault(path, []).append(number)
        for number, layer in enumerate(self.layers):
            for path in {*layer.whiteouts, *layer.opaques}:
                self._emptied.setdefault(path, []).append(number)
            for path in self._walked.keys() & layer.entries.keys():
                if layer.entries[path].kind is not Kind.DIR:
                    self._emptied.setdefault(path, []).append(number)

    def _walk(self, path: str, number: int) -> None:
        for above in paths.parents(path):
            walked = self._walked.setdefault(above, [])
            if walked and walked[-1] == number:
                return
            walked.append(number)

    def seen(self, path: str, number: int) -> bool:
        """Whether the entry at `path` of layer `number` is still there at the top."""
        if max(self._last[path], self._removed.get(path, _NEVER)[-1]) > number:
            return False
        if path == "/":
            return True
        walked = self._walked.get(path, _NEVER)[-1] > number
        if walked and self.layers[number].entries[path].kind is not Kind.DIR:
            return False
        return self._barrier(paths.parent(path)) <= number

    def hidden_by(self, path: str, number: int) -> tuple[int, bool]:
        """For an entry that is not seen: the first layer above that hides it, and whether that has something
        else in its place."""
        replaced = _after(self._several.get(path, ()), number)
        if self.layers[number].entries[path].kind is not Kind.DIR:
            replaced = min(replaced, _after(self._walked.get(path, ()), number))
        removed = _after(self._removed.get(path, ()), number)
        for above in paths.parents(path):
            removed = min(removed, _after(self._emptied.get(above, ()), number))
        return min(replaced, removed), replaced <= removed

    def _barrier(self, directory: str) -> int:
        """The last layer that hides what layers below it have in `directory`."""
        todo = []
        for step in (directory, *paths.parents(directory)):
            if step in self._barriers:
                break
            todo.append(step)
        for step in reversed(todo):
            above = -1 if step == "/" else self._barriers[paths.parent(step)]
            self._barriers[step] = max(above, self._emptied.get(step, _NEVER)[-1])
        return self._barriers[directory]


def _after(numbers: Sequence[int], number: int) -> int:
    """The first of `numbers`, which are in order, above `number`; _BEYOND where there is none."""
    at = bisect_right(numbers, number)
    return numbers[at] if at < len(numbers) else _BEYOND


__all__ = ["Stack"]
