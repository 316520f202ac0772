# SPDX-License-Identifier: Apache-2.0
"""What can happen to a world at some moment: six shocks, each with an onset and a size, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, NoReturn

from ringfence.simulate.errors import WorldSettingError

AMOUNTS: Final = "amounts"
NEW_PATTERN: Final = "new_pattern"
BASE_RATE: Final = "base_rate"
BROKEN_FIELD: Final = "broken_field"
HOLIDAY: Final = "holiday"
LABEL_BACKLOG: Final = "label_backlog"
SHOCKS: Final = (AMOUNTS, NEW_PATTERN, BASE_RATE, BROKEN_FIELD, HOLIDAY, LABEL_BACKLOG)

DEFAULT_ONSET: Final = 0.7
SETTLING_DAYS: Final = 14  # after a holiday, in which the number of claims makes up for it


@dataclass(frozen=True)
class Bounds:
    """What the size of a shock means, and which sizes it may have, both ends inclusive."""

    meaning: str
    default: float
    low: float
    high: float
    days: int = 0  # default length; 0: from the onset on, for good


SIZES: Final = {
    AMOUNTS: Bounds("relative change of honest amounts", 0.18, -0.9, 10.0),
    NEW_PATTERN: Bounds("share of claims that follow the new pattern", 0.004, 0.0001, 0.05),
    BASE_RATE: Bounds("factor on the number of fraudulent claims", 2.0, 0.0, 20.0),
    BROKEN_FIELD: Bounds("share of claims whose field is broken", 1.0, 0.01, 1.0),
    HOLIDAY: Bounds("relative change of the number of claims a day", -0.45, -0.95, 1.0, days=14),
    LABEL_BACKLOG: Bounds("days by which labels are known later", 60.0, 1.0, 365.0, days=90),
}
LONGEST_DAYS: Final = 365

# The fields that can break, and how each can; the first way is the default. See `motor.broken_fields`.
BREAKAGES: Final = {
    "vehicle_age": ("unit", "null", "junk", "renamed"),
    "policy_age": ("unit", "null", "junk", "renamed"),
    "reported_after": ("unit", "null", "junk", "renamed"),
    "make": ("spelling", "null", "junk", "renamed"),
    "region": ("spelling", "null", "junk", "renamed"),
    "lawyer": ("null", "renamed"),
}
FIELD_COLUMNS: Final = {
    "vehicle_age": "vehicle_age_years", "policy_age": "policy_age_days", "reported_after": "reported_after_days",
    "make": "vehicle_make", "region": "region", "lawyer": "lawyer_id",
}  # fmt: skip
RENAMED_COLUMNS: Final = {  # what a renamed field is called from then on
    "vehicle_age": "vehicle_age", "policy_age": "policy_age", "reported_after": "report_delay", "make": "make",
    "region": "area", "lawyer": "attorney_id",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Shock:
    """One shock. Left out, `size`, `days`, `field` and `how` take the defaults of its name.

    Parameters
    ----------
    name : one of SHOCKS.
    onset : when it begins: a share of the history in (0, 1), rounded down to a day, or a date in the world's time zone,
        as a `date` or as text such as `2024-06-01`.
    size : see SIZES.
    days : how long it lasts, 1 to 365; only for `holiday` and `label_backlog`, the others stay.
    field, how : what breaks, and how; only for `broken_field`. See BREAKAGES; a field may be given by its column.

    Raises
    ------
    WorldSettingError
        If the name is unknown, or a value is outside its bounds or belongs to another shock.
    """

    name: str
    onset: float | date | str = DEFAULT_ONSET
    size: float | None = None
    days: int | None = None
    field: str | None = None
    how: str | None = None

    def __post_init__(self) -> None:
        if self.name not in SIZES:
            raise WorldSettingError("shock", self.name, f"known shocks: {', '.join(SHOCKS)}")
        bounds = SIZES[self.name]
        object.__setattr__(self, "onset", self._settled_onset)
        size = bounds.default if self.size is None else self.size
        if not isinstance(size, int | float):
            self._refuse("size", size, "give a number")
        if not bounds.low <= size <= bounds.high:
            self._refuse("size", size, f"it is the {bounds.meaning}: choose a value from {bounds.low} to {bounds.high}")
        if self.days is not None and not bounds.days:
            self._refuse("days", self.days, "leave it out: this shock stays")
        days = bounds.days if self.days is None else self.days
        if not isinstance(days, int):
            self._refuse("days", days, _WHOLE)
        if bounds.days and not 1 <= days <= LONGEST_DAYS:
            self._refuse("days", days, f"choose a value from 1 to {LONGEST_DAYS}")
        object.__setattr__(self, "size", float(size))
        object.__setattr__(self, "days", days)
        self._settle_breakage()

    def _settle_breakage(self) -> None:
        if self.name != BROKEN_FIELD:
            for option, found in (("field", self.field), ("how", self.how)):
                if found is not None:
                    self._refuse(option, found, f"leave it out: only {BROKEN_FIELD} has it")
            return
        field = self.field or next(iter(BREAKAGES))
        field = {column: name for name, column in FIELD_COLUMNS.items()}.get(field, field)
        if field not in BREAKAGES:
            self._refuse("field", field, f"known fields: {', '.join(BREAKAGES)}, or their columns")
        how = self.how or BREAKAGES[field][0]
        if how not in BREAKAGES[field]:
            self._refuse("how", how, f"{field} can be broken by: {', '.join(BREAKAGES[field])}")
        object.__setattr__(self, "field", field)
        object.__setattr__(self, "how", how)

    @property
    def _settled_onset(self) -> float | date:
        """The onset as a share or a date, however it was given."""
        onset = self.onset
        if isinstance(onset, str):
            try:
                onset = _onset(onset)
            except ValueError:
                self._refuse("onset", onset, _WHEN)
        if isinstance(onset, datetime):
            return onset.date()
        if isinstance(onset, date):
            return onset
        if not isinstance(onset, int | float) or not 0.0 < onset < 1.0:
            self._refuse("onset", onset, _WHEN)
        return onset

    def _refuse(self, option: str, found: object, do: str) -> NoReturn:
        raise WorldSettingError(f"{option} of shock {self.name}", found, do)

    @property
    def magnitude(self) -> float:
        """The size, given or by default."""
        return SIZES[self.name].default if self.size is None else self.size

    @property
    def length(self) -> int:
        """Days that it lasts; 0 for one that stays."""
        return self.days or 0

    @property
    def bit(self) -> int:
        """Its place in the mask of the shocks that touched a claim."""
        return 1 << SHOCKS.index(self.name)

    def onset_day(self, *, days: int, ends: date, total_days: int) -> int:
        """Day of the world, counted from 0, on which it begins.

        Raises
        ------
        WorldSettingError
            If the onset is not inside the world, or a holiday leaves no fortnight to make up for it.
        """
        onset = self._settled_onset
        if isinstance(onset, date):
            day = days - (ends - onset).days
            if not 1 <= day < total_days:
                first, last = ends - timedelta(days=days - 1), ends + timedelta(days=total_days - days - 1)
                self._refuse("onset", onset.isoformat(), f"choose a date from {first} to {last}")
        else:
            day = max(1, int(onset * days + 1e-9))  # 0.7 * 730 is a little less than 511
        end_of_span = days if day < days else total_days
        if self.name == HOLIDAY and day + self.length + SETTLING_DAYS > end_of_span:
            self._refuse(
                "onset", str(self.onset), f"begin at least {self.length + SETTLING_DAYS} days before the period ends"
            )
        return day

    def as_dict(self) -> dict[str, Any]:
        """What the judge is told: only what this shock has."""
        told: dict[str, Any] = {"name": self.name, "onset": str(self.onset), "size": self.magnitude}
        told |= {"meaning": SIZES[self.name].meaning}
        if self.length:
            told["days"] = self.length
        if self.field is not None:
            told |= {"field": self.field, "how": self.how, "column": FIELD_COLUMNS[self.field]}
            if self.how == "renamed":
                told["new_column"] = RENAMED_COLUMNS[self.field]
        return told


def parse_shock(text: str) -> Shock:
    """Read a shock as the command line takes it: `NAME` or `NAME:onset=…,size=…`.

    The options are `onset`, `size`, `days`, `field` and `how`, in any order.

    Raises
    ------
    WorldSettingError
        If it cannot be read; see `Shock` for the rest.
    """
    name, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        option, equals, value = part.partition("=")
        if option not in _READ or not equals or option in options:
            raise WorldSettingError(
                f"shock {text!r}", part, f"write NAME:option=value,… with each of {', '.join(_READ)} at most once"
            )
        try:
            options[option] = _READ[option](value)
        except ValueError:
            raise WorldSettingError(f"{option} of shock {name}", value, _HINT.get(option, "give a number")) from None
    return Shock(name=name, **options)


def as_shocks(shocks: Sequence[Shock | str]) -> tuple[Shock, ...]:
    """Take shocks, or texts that `parse_shock` reads.

    Raises
    ------
    WorldSettingError
        If one is neither, or cannot be read.
    """
    if isinstance(shocks, str | Shock):
        raise WorldSettingError("shocks", shocks, "give a list of shocks")
    read = []
    for shock in shocks:
        if not isinstance(shock, Shock | str):
            raise WorldSettingError("a shock", shock, "give a Shock, or text such as 'holiday:onset=2024-06-01'")
        read.append(parse_shock(shock) if isinstance(shock, str) else shock)
    return tuple(read)


def _onset(text: str) -> float | date:
    return date.fromisoformat(text) if text.count("-") == 2 else float(text)


_READ: Final[dict[str, Callable[[str], Any]]] = {"onset": _onset, "size": float, "days": int, "field": str, "how": str}
_WHEN: Final = "give a share of the history between 0 and 1, or a date such as 2024-06-01"
_WHOLE: Final = "give a whole number"
_HINT: Final = {"onset": _WHEN, "days": _WHOLE}
