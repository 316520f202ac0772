# SPDX-License-Identifier: Apache-2.0
"""What a motor-claims world is asked to be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from operator import index
from typing import Final, SupportsFloat, SupportsIndex

from ringfence.simulate.calendar import midnights_ms
from ringfence.simulate.errors import WorldSettingError
from ringfence.simulate.shocks import BASE_RATE, Shock
from ringfence.simulate.traits import Ints

WORLD_VERSION: Final = 2  # bump when the rows of a seed change
TIME_ZONE: Final = "Europe/Berlin"
LIVE_DAYS: Final = 180  # how long the world goes on after its history ends
# Bounds, both ends inclusive.
N_EVENTS: Final = (1_000, 20_000_000)
SEEDS: Final = (0, 2**63 - 1)
FRAUD_RATES: Final = (0.001, 0.2)
DAYS: Final = (120, 3_650)
PLANTED_PAIRS: Final = (0, 10_000)
_A_DATE: Final = "give a date such as 2025-01-01"


@dataclass(frozen=True, kw_only=True)
class WorldSettings:
    """The arguments of a world. Equal settings give equal rows.

    Parameters
    ----------
    n_events : claims in the history, 1,000 to 20 million.
    seed : a whole number from 0 to 2**63 - 1.
    fraud_rate : share of claims that are fraudulent, in [0.001, 0.2]. The history's own share differs by chance.
    days : length of the history, 120 to 3,650.
    ends : first day after the history, in the world's time zone.
    investigated : share of claims an investigator looks at by chance alone, in [0, 1].
    shocks : what happens to the world at some moment; each at most once.
    planted_pairs : pairs of claims that differ in their wiring alone, 0 to 10,000; their claims, 21 a pair and 336 for
        every sixteen pairs begun, come on top of `n_events`.

    Raises
    ------
    WorldSettingError
        If a value is outside its bounds, or of another type.
    """

    n_events: int
    seed: int
    fraud_rate: float = 0.0056
    days: int = 730
    ends: date = date(2025, 1, 1)
    investigated: float = 0.30
    shocks: tuple[Shock, ...] = ()
    planted_pairs: int = 0

    def __post_init__(self) -> None:
        _whole("n_events", self.n_events, *N_EVENTS)
        _whole("seed", self.seed, *SEEDS)
        _within("fraud_rate", self.fraud_rate, *FRAUD_RATES)
        _whole("days", self.days, *DAYS)
        _within("investigated", self.investigated, 0.0, 1.0)
        if not isinstance(self.ends, date) or isinstance(self.ends, datetime):
            raise WorldSettingError("ends", self.ends, _A_DATE)
        _within("the year in which the history ends", self.ends.year, 1985, 2190)
        _whole("planted_pairs", self.planted_pairs, *PLANTED_PAIRS)
        for shock in self.shocks:
            self.onset_day(shock)
            if sum(other.name == shock.name for other in self.shocks) > 1:
                raise WorldSettingError("shocks", shock.name, "give each shock at most once")
            if shock.name == BASE_RATE and self.fraud_rate * shock.magnitude > 0.2:
                most = f"choose at most {0.2 / self.fraud_rate:.2f}: fraud_rate is {self.fraud_rate} and may reach 0.2"
                raise WorldSettingError("size of shock base_rate", shock.magnitude, most)

    @property
    def n_live(self) -> int:
        """Claims of the days after the history: the same daily rate."""
        return self.n_events * LIVE_DAYS // self.days

    @property
    def total_days(self) -> int:
        return self.days + LIVE_DAYS

    def onset_day(self, shock: Shock) -> int:
        """Day of the world, counted from 0, on which a shock begins."""
        return shock.onset_day(days=self.days, ends=self.ends, total_days=self.total_days)

    def day_start_ms(self) -> Ints:
        """UTC milliseconds of local midnight, shape (total_days + 1,)."""
        return midnights_ms(self.ends, self.days, self.total_days, TIME_ZONE)


def as_date(ends: date | str) -> date:
    """Take a date, or read one written as `2025-01-01`.

    Raises
    ------
    WorldSettingError
        If it is no date.
    """
    if isinstance(ends, str):
        try:
            return date.fromisoformat(ends)
        except ValueError:
            raise WorldSettingError("ends", ends, _A_DATE) from None
    return ends.date() if isinstance(ends, datetime) else ends


def _whole(setting: str, found: object, low: int, high: int) -> None:
    if not isinstance(found, SupportsIndex):
        raise WorldSettingError(setting, found, f"choose a whole number from {low} to {high}")
    if not low <= index(found) <= high:
        raise WorldSettingError(setting, found, f"choose a value from {low} to {high}")


def _within(setting: str, found: object, low: float, high: float) -> None:
    if not isinstance(found, SupportsFloat):
        raise WorldSettingError(setting, found, f"choose a number from {low} to {high}")
    if not low <= float(found) <= high:
        raise WorldSettingError(setting, found, f"choose a value from {low} to {high}")
