# SPDX-License-Identifier: Apache-2.0
"""Features in which the trees' score may move one way only: as LightGBM takes them, and as people are told."""

from __future__ import annotations

from typing import Any, Final

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.monotone_features import monotone_features
from ringfence.models.ensemble import Ensemble
from ringfence.models.stack import BACKBONE
from ringfence.scenario.spec import Direction

_SIGNS: Final = {Direction.INCREASING: 1, Direction.DECREASING: -1}


def signs_of(catalogue: Catalogue) -> list[int]:
    """Return 1, -1 or 0 (free) for each feature; empty where all are free."""
    held = monotone_features(catalogue.scenario, catalogue.features)
    return [_SIGNS[held[name]] if name in held else 0 for name in catalogue.names] if held else []


def held_to(catalogue: Catalogue) -> dict[str, Any]:
    """Return the directions by feature, as a release pins them; empty where all are free."""
    held = monotone_features(catalogue.scenario, catalogue.features)
    return {"monotone": {name: direction.value for name, direction in held.items()}} if held else {}


def told_of(catalogue: Catalogue, ensemble: Ensemble) -> str:
    """Say what holds: of the trees always, of the whole score where they are alone in the stack."""
    named = ", ".join(
        f"{name} {direction.value}"
        for name, direction in monotone_features(catalogue.scenario, catalogue.features).items()
    )
    others = [name for name in ensemble.stack.members if name != BACKBONE and ensemble.stack.weight_of(name) > 0.0]
    if not others:
        return f"{named}: the score never moves the other way while all else stays"
    return (
        f"{named}: the trees, and scores of the rung `gbdt`, never move the other way while all else stays; the full "
        f"score may, since {' and '.join(others)} takes part in it and knows no direction"
    )
