"""The recipe of doctor."""

from collections.abc import Mapping

from slimtrace.engine import Engine
from slimtrace.facts.feature import FeatureResult
from slimtrace.observe import doctor as examination
from slimtrace.observe.kernel import feature_programs


def doctor() -> tuple[tuple[FeatureResult, ...], bool]:
    """What this machine offers, each by trying, and whether build can run."""

    def engine_info() -> Mapping[str, object]:
        with Engine.connect() as engine:
            return engine.raw_info()

    results = examination.examine(feature_programs.try_program, engine_info)
    return results, examination.can_build(results)
