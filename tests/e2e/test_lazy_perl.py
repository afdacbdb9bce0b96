"""Modules that a Perl program requires inside functions work in the slim image although the run did not call
those functions."""

from collections.abc import Callable

from builds import Build
from containers import docker


def test_the_verb_that_was_not_run(built: Callable[[str], Build]) -> None:
    done = built("perl-lazy")
    assert done.report["doubts"] == []
    for words in ((), ("much",)):
        fat, slim = (docker("run", "--rm", image, *words) for image in (done.fat, done.slim))
        assert slim == fat
    assert "in memory" in slim
    assert not {path for path in done.kept if path.endswith(("/Encode/KR.pm", "/Text/Balanced.pm"))}
