# SPDX-License-Identifier: Apache-2.0
"""What a step refuses to do, and why."""

from __future__ import annotations

from ringfence.errors import RingfenceError


class NoTimeError(RingfenceError):
    """Something was given as a time that is none."""

    def __init__(self, name: str, found: object) -> None:
        self.name, self.found = name, found
        super().__init__(
            f"{name} {found!r} is not a time; give a date, a datetime, ISO 8601 (2018-07-25T13:00:00Z), or whole "
            "milliseconds since 1970"
        )


class TwoReleasesError(RingfenceError):
    """A release was named together with `as_live`, which takes the release that was live."""

    def __init__(self, release: str) -> None:
        self.release = release
        super().__init__(f"as_live takes the release that was live at each event; leave out release={release!r}")
