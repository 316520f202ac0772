# SPDX-License-Identifier: Apache-2.0
"""All twins together: one row per decided event, each feature from the twin of its family."""

from __future__ import annotations

from ringfence.engine.catalogue import Catalogue
from tests.oracles.chart_twin import ChartTwin
from tests.oracles.feature_twin import FeatureTwin
from tests.oracles.place_twin import PlaceTwin
from tests.oracles.streams import Record
from tests.oracles.text_twin import TextTwin


class CompleteTwin:
    """Observe records one by one; `observe` returns the feature row of a decided event as a dict, else None."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.scenario = catalogue.scenario
        self.features = FeatureTwin(catalogue)
        self.charts, self.texts, self.places = ChartTwin(catalogue), TextTwin(catalogue), PlaceTwin(catalogue)

    def observe(self, record: Record) -> dict[str, float] | None:
        row = self.features.observe(record)
        for other in (self.charts, self.texts, self.places):
            found = other.observe(record)
            if row is not None:
                row |= {name: value for name, value in found.items() if name in row}
        for kind, name, number in self.features.forgotten:
            if kind == self.scenario.decide:
                self.charts.forget(self.scenario.role(str(name)), int(str(number)))
                self.places.forget(self.scenario.role(str(name)), int(str(number)))
        return row
