# SPDX-License-Identifier: Apache-2.0
"""Models that fail: a real branch, or real trees, with something in the way of their answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ringfence.scoring.scorer import FULL, GBDT, Scorer

from .conftest import RunningService


class Hindered:
    """A model that does something else before it answers."""

    def __init__(self, model: Any, first: Callable[[], object]) -> None:
        self._model, self.first = model, first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def raw(self, *seen: Any) -> Any:
        self.first()
        return self._model.raw(*seen)


def scorer_of(service: RunningService) -> Scorer:
    live = service.service._live
    assert live is not None
    return live.scorer


def hinder_branch(service: RunningService, first: Callable[[], object]) -> Hindered:
    """Put something in the way of a branch that the stack counts on, beside the trees."""
    ensemble, calibrator = scorer_of(service)._by_rung[FULL]
    hindered = Hindered(ensemble.branches["anomaly"], first)
    scorer_of(service)._by_rung[FULL] = replace(ensemble, branches={"anomaly": hindered}), calibrator
    return hindered


def hinder_trees(service: RunningService, first: Callable[[], object]) -> Any:
    """Put something in the way of the trees, on every rung that asks them."""
    hindered: Any = Hindered(scorer_of(service).release.ensemble.gbdt, first)
    for rung in (FULL, GBDT):
        ensemble, calibrator = scorer_of(service)._by_rung[rung]
        scorer_of(service)._by_rung[rung] = replace(ensemble, gbdt=hindered), calibrator
    return hindered


def sleeping(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def raising() -> None:
    raise ZeroDivisionError
