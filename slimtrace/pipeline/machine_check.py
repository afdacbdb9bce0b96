"""The recipe of doctor: which of the features that slimtrace needs this machine has."""

from collections.abc import Mapping

from slimtrace.engine import Engine
from slimtrace.facts.feature import FeatureResult
from slimtrace.observe import doctor as examination
from slimtrace.observe.kernel import feature_programs


def doctor() -> tuple[tuple[FeatureResult, ...], bool]:
    """The result for each feature, found by trying it on this machine, and whether build can run here."""

    def engine_info() -> Mapping[str, object]:
        with Engine.connect() as engine:
            return engine.raw_info()

    results = examination.examine(feature_programs.try_program, engine_info)
    return results, examination.can_build(results)
