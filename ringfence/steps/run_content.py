# SPDX-License-Identifier: Apache-2.0
"""What a run says of a release: params, figures, tags. All of it is read from the bundle and its ledger."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ringfence.rollout.tracking import DIGEST, RELEASE, Measured

if TYPE_CHECKING:
    from ringfence.rollout.registry import Entry
    from ringfence.scoring.release import Release

LONGEST_PARAM: Final = 500  # characters; what older servers take. Longer ones are in made_from.json alone
PART: Final = "ringfence.part"
LEFT_OUT: Final = "ringfence.left_out"
_NOT_PARAMS: Final = ("release", "files", "ledger/segments")  # as the run's name, and in made_from.json
_NOT_FIGURES: Final = ("folds", "settings_tried", "importance", "drift", "memory", "missing_in_every_example")
# Lists whose parts have a name: what a part of metrics.json is called by.
_NAMED_BY: Final = {
    "evaluations": "name",
    "branches": "name",
    "variants": "name",
    "rungs": "name",
    "label_delays": "label",
    "capacity": "alerts_per_day",
    "at_capacity": "alerts_per_day",
}
_PLAIN: Final = ("evaluations", "variants", "figures")  # their own names say nothing
_UNFIT: Final = re.compile(r"[^\w./ -]|/")


def params_of(made_from: Mapping[str, Any]) -> dict[str, str]:
    """Lay out what a release was made from (`steps.release_data`), name/name -> value; what is missing is left out."""
    found: dict[str, str] = {}

    def walk(value: Any, name: str) -> None:
        if name in _NOT_PARAMS or value is None:
            return
        if isinstance(value, Mapping):
            for key, inner in value.items():
                walk(inner, _joined(name, key))
        elif len(text := str(value)) <= LONGEST_PARAM:
            found[name] = text

    walk(made_from, "")
    return found


def figures_of(metrics: Mapping[str, Any]) -> list[Measured]:
    """Lay out the figures of metrics.json: a whole number or a figure each, and the curve of trees step by step.

    An interval's value has the figure's own name, its ends `name.low` and `name.high`. Times, the figures of single
    features and of segments, and whatever is not defined are left out; metrics.json itself holds them.
    """
    found = dict(_walked({name: value for name, value in metrics.items() if name not in _NOT_FIGURES}, ""))
    curve = metrics.get("tree_curve", {})
    return [
        *(Measured(name, value) for name, value in found.items()),
        *(
            Measured("tree_curve/log_loss", float(loss), int(step))
            for step, loss in zip(curve.get("n_trees", ()), curve.get("log_loss", ()), strict=True)
            if loss is not None
        ),
    ]


def tags_of(release: Release, entry: Entry) -> dict[str, str]:
    """Say which release this is, and when the ledger took it up. Notes and names of users stay in the ledger."""
    calibrated = release.manifest.made.calibrated
    return {
        DIGEST: release.digest,
        RELEASE: release.id,
        "ringfence.scenario": release.manifest.scenario,
        "ringfence.registered_at": datetime.fromtimestamp(entry.registered_at_ms / 1000, tz=UTC).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        ),
        "ringfence.registered_seq": str(entry.registered_seq),
        **({} if calibrated is None else {"ringfence.models_of": calibrated.release}),
        **({"ringfence.headline": str(measured)} if (measured := release.manifest.headline.get("name")) else {}),
    }


def part_of(entry: Entry) -> str:
    """Say which part a release plays as the ledger has it now."""
    return "champion" if entry.is_champion else "former champion" if entry.was_champion else "waiting"


def _walked(value: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        if math.isfinite(value):
            yield name, float(value)
        return
    if not isinstance(value, Mapping):
        return
    # A folder as a store keeps each figure in a file of its name: no name may be the beginning of another's path.
    between = "." if "value" in value else "/"
    for key, inner in value.items():
        if key in ("value", *_PLAIN) and isinstance(inner, int | float | Mapping):
            yield from _walked(inner, name)
        elif key in _NAMED_BY and isinstance(inner, list):
            for part in inner:
                rest = {one: figure for one, figure in part.items() if one != _NAMED_BY[key]}
                above = name if key in _PLAIN else _joined(name, key)
                yield from _walked(rest, _joined(above, part[_NAMED_BY[key]]))
        elif not key.endswith("_ms"):
            yield from _walked(inner, _joined(name, key, between))


def _joined(name: str, key: Any, between: str = "/") -> str:
    return f"{name}{between}{_named(key)}" if name else _named(key)


def _named(key: Any) -> str:
    """Write a part of a name with what MLflow allows in one."""
    return _UNFIT.sub("_", str(key)).strip(".") or "_"
