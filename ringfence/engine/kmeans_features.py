# SPDX-License-Identifier: Apache-2.0
"""Which features k-means may find segments on."""

from __future__ import annotations

from collections.abc import Mapping

from ringfence.engine.errors import KMeansFeatureError
from ringfence.scenario.errors import did_you_mean
from ringfence.scenario.spec import KMeans


def check_kmeans(scenario: str, kmeans: KMeans, is_category: Mapping[str, bool]) -> None:
    """Hold the features named under `segments.kmeans.on` against those that there are.

    Parameters
    ----------
    scenario : its name, for the message.
    is_category : every feature of the catalogue, and whether it is a category.

    Raises
    ------
    KMeansFeatureError
        If one is a category, or no feature.
    """
    for name in kmeans.features:
        if name not in is_category:
            numbers = [other for other, is_one in is_category.items() if not is_one]
            do = f"{did_you_mean(name, numbers)}; `ringfence features --list` shows all"
            raise KMeansFeatureError(scenario=scenario, found=f"{name!r}, no feature of this scenario", do=do)
        if is_category[name]:
            do = "name numbers there, and categories under segments.by"
            raise KMeansFeatureError(scenario=scenario, found=f"{name!r}, a category, whose codes have no mean", do=do)
