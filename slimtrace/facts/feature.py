"""The features of a machine that slimtrace uses, and what trying them on a machine came to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

State = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One entry of kernels/features.toml.

    `tried_by` names the test that tries the feature and `argument` what the test tries, alternatives separated
    by "|". `needs` are features without which the test proves nothing. `required` says that a build cannot do
    without the feature. `lost`, `mend` and `source` are sentences for the user; `kconfig` and `since` inform
    and decide nothing.
    """

    id: str
    title: str
    tried_by: str
    lost: str
    mend: str
    source: str
    argument: str = ""
    needs: tuple[str, ...] = ()
    required: bool = False
    kconfig: tuple[str, ...] = ()
    since: str = ""


@dataclass(frozen=True, slots=True)
class FeatureResult:
    """The outcome of trying a feature; "unknown" where it could not be tried. `detail` is what was found, or
    why it could not be tried."""

    feature: Feature
    state: State
    detail: str = ""


def missing(results: Iterable[FeatureResult]) -> tuple[FeatureResult, ...]:
    """The required features that are not there. A feature that could not be tried is not among them: the
    missing one that it needs is."""
    return tuple(result for result in results if result.feature.required and result.state == "no")


def parse(table: Mapping[str, Any]) -> tuple[Feature, ...]:
    """The features of a parsed features.toml, in its order. Raises ValueError for an entry that is
    incomplete, misspelt, named twice, or that needs a feature which does not come before it."""
    found: dict[str, Feature] = {}
    for entry in table.get("feature", ()):
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
        values["tried_by"] = values.pop("try", None)
        try:
            feature = Feature(**values)
        except TypeError as error:
            raise ValueError(f"feature {entry.get('id')!r}: {error}") from None
        if not feature.tried_by or not feature.lost or not feature.mend:
            raise ValueError(f"feature {feature.id!r} must say how it is tried, what is lost, how to mend it")
        if feature.id in found:
            raise ValueError(f"feature {feature.id!r} is there twice")
        if missing := set(feature.needs) - found.keys():
            raise ValueError(f"feature {feature.id!r} needs {sorted(missing)}, which must come before it")
        found[feature.id] = feature
    return tuple(found.values())
