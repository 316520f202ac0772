# SPDX-License-Identifier: Apache-2.0
"""What the rings refuse to compute."""

from __future__ import annotations

from ringfence.errors import RingfenceError


class RingsError(RingfenceError):
    """Any refusal of the rings."""


class LinkShapeError(RingsError):
    """Arrays of links that do not belong together."""

    def __init__(self, *, what: str, found: object, expected: object) -> None:
        self.what = what
        self.found = found
        self.expected = expected
        super().__init__(f"links field {what} is {found}, needed is {expected}; build all arrays from the same records")


class RingSettingError(RingsError):
    """A setting outside its bounds."""

    def __init__(self, *, setting: str, found: object, do: str) -> None:
        self.setting = setting
        self.found = found
        super().__init__(f"ring setting {setting} is {found}; {do}")


class NotConvergedError(RingsError):
    """Propagation that did not settle within the iterations allowed."""

    def __init__(self, *, n_iterations: int, missed: float, tolerance: float) -> None:
        self.n_iterations = n_iterations
        self.missed = missed
        super().__init__(
            f"after {n_iterations} iterations risk misses its equations by {missed:.3g} of the seeds' mass, tolerance "
            f"{tolerance:.3g}; allow more iterations, or take a smaller damping"
        )


class NoStrongRoleError(RingsError):
    """A scenario in which nothing identifies anybody."""

    def __init__(self, *, scenario: str, roles: tuple[str, ...]) -> None:
        self.scenario = scenario
        self.roles = roles
        super().__init__(
            f"no role of {scenario} is marked strong, so nothing ties events into rings; in ringfence.yaml mark the "
            f"roles that identify one person or thing ({', '.join(roles)}), such as "
            f"`{roles[0] if roles else 'customer'}: {{column: …, strong: true}}`; no new import is needed"
        )


class UnknownRingError(RingsError):
    """No ring of that id."""

    def __init__(self, *, wanted: str, found: tuple[str, ...]) -> None:
        self.wanted = wanted
        self.found = found
        if found:
            some = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
            text = f"{len(found)} rings begin so ({some}); give more of the id"
        else:
            text = "no ring of this moment has that id; list the rings, and name one of them"
        super().__init__(f"ring {wanted!r}: {text}")
