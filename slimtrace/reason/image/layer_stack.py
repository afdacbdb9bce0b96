"""Layers on top of each other: which entries are visible at the top, and which layer hides the others.

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


class LayerStack:
    """The layers of an image, lowest first, and what each of them hides. A layer is a number from 0."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        self._top_layer: dict[str, int] = {}  # path to the last layer that has an entry there
        self._all_layers: dict[str, list[int]] = {}  # path to all such layers, where there are several
        self._parent_in: dict[str, list[int]] = {}  # path to the layers that have an entry below it
        self._whiteouts: dict[str, list[int]] = {}  # path to the layers that white it out
        self._emptied: dict[str, list[int]] = {}  # path to the layers that hide what lower layers have in it
        self._last_hiding: dict[str, int] = {}  # the results of _last_hiding_layer
        for number, layer in enumerate(self.layers):
            for path in layer.entries:
                if path in self._top_layer:
                    self._all_layers.setdefault(path, [self._top_layer[path]]).append(number)
                self._top_layer[path] = number
                self._note_parents(path, number)
            for path in layer.whiteouts:
                self._whiteouts.setdefault(path, []).append(number)
        for number, layer in enumerate(self.layers):
            for path in {*layer.whiteouts, *layer.opaques}:
                self._emptied.setdefault(path, []).append(number)
            for path in self._parent_in.keys() & layer.entries.keys():
                if layer.entries[path].kind is not Kind.DIR:
                    self._emptied.setdefault(path, []).append(number)

    def _note_parents(self, path: str, number: int) -> None:
        for above in paths.parents(path):
            with_children = self._parent_in.setdefault(above, [])
            if with_children and with_children[-1] == number:
                return
            with_children.append(number)

    def is_visible(self, path: str, number: int) -> bool:
        """Whether the entry at `path` of layer `number` is visible at the top."""
        if max(self._top_layer[path], self._whiteouts.get(path, _NEVER)[-1]) > number:
            return False
        if path == "/":
            return True
        with_children = self._parent_in.get(path, _NEVER)[-1] > number
        if with_children and self.layers[number].entries[path].kind is not Kind.DIR:
            return False
        return self._last_hiding_layer(paths.parent(path)) <= number

    def hidden_by(self, path: str, number: int) -> tuple[int, bool]:
        """For an entry that is not visible: the first layer above that hides it, and whether that layer has
        another entry in its place."""
        replaced = _after(self._all_layers.get(path, ()), number)
        if self.layers[number].entries[path].kind is not Kind.DIR:
            replaced = min(replaced, _after(self._parent_in.get(path, ()), number))
        removed = _after(self._whiteouts.get(path, ()), number)
        for above in paths.parents(path):
            removed = min(removed, _after(self._emptied.get(above, ()), number))
        return min(replaced, removed), replaced <= removed

    def _last_hiding_layer(self, directory: str) -> int:
        """The last layer that hides what lower layers have in `directory`."""
        todo = []
        for step in (directory, *paths.parents(directory)):
            if step in self._last_hiding:
                break
            todo.append(step)
        for step in reversed(todo):
            above = -1 if step == "/" else self._last_hiding[paths.parent(step)]
            self._last_hiding[step] = max(above, self._emptied.get(step, _NEVER)[-1])
        return self._last_hiding[directory]


def _after(numbers: Sequence[int], number: int) -> int:
    """The first of `numbers`, which are in order, above `number`; _BEYOND where there is none."""
    at = bisect_right(numbers, number)
    return numbers[at] if at < len(numbers) else _BEYOND


__all__ = ["LayerStack"]
