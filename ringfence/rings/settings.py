# SPDX-License-Identifier: Apache-2.0
"""How rings are computed: spans, caps and damping. One frozen struct, passed down."""

from __future__ import annotations

from typing import Final

import msgspec

from ringfence.rings.errors import RingSettingError

DAY_MS: Final = 86_400_000


class RingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a ring computation depends on beside the links themselves.

    Raises
    ------
    RingSettingError
        If a value is outside its bounds.
    """

    tick_ms: int = 7 * DAY_MS  # between two computations, in the watermark's time; > 0
    active_ms: int = 365 * DAY_MS  # links of events in (T - active_ms, T] take part; > 0
    tie_ms: int = 30 * DAY_MS  # longest time between two events of an entity that it ties, inclusive; > 0
    hub_cap: int = 100  # an entity with more active events in one role is a hub and left out; >= 1
    hub_caps: dict[str, int] = {}  # other caps, by role name
    over_large: int = 200  # components with more events are split into communities; >= 2
    damping: float = 0.85  # share of risk that travels on, (0, 1); alpha and beta of BiRank
    tolerance: float = 1e-10  # largest sum by which scores may miss their equations, per mass of seeds; > 0
    max_iterations: int = 500
    recency_half_life_ms: int | None = None  # a fraud this old seeds half as much; None: all frauds seed alike

    def __post_init__(self) -> None:
        for name in ("tick_ms", "active_ms", "tie_ms", "hub_cap", "max_iterations"):
            if getattr(self, name) < 1:
                raise RingSettingError(setting=name, found=getattr(self, name), do="it must be at least 1")
        for role, cap in self.hub_caps.items():
            if cap < 1:
                raise RingSettingError(setting=f"hub_caps.{role}", found=cap, do="it must be at least 1")
        if self.over_large < 2:
            raise RingSettingError(setting="over_large", found=self.over_large, do="it must be at least 2")
        if not 0.0 < self.damping < 1.0:
            raise RingSettingError(setting="damping", found=self.damping, do="it must lie between 0 and 1, exclusive")
        if not self.tolerance > 0.0:
            raise RingSettingError(setting="tolerance", found=self.tolerance, do="it must be positive")
        if self.recency_half_life_ms is not None and self.recency_half_life_ms < 1:
            raise RingSettingError(
                setting="recency_half_life_ms", found=self.recency_half_life_ms, do="it must be at least 1, or None"
            )
