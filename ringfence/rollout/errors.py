# SPDX-License-Identifier: Apache-2.0
"""What the registry refuses to do, and why."""

from __future__ import annotations

from ringfence.errors import RingfenceError


class UnknownReleaseError(RingfenceError):
    """No release of this name was ever registered in the ledger."""

    def __init__(self, release: str, known: list[str]) -> None:
        self.release = release
        self.known = known
        listed = ", ".join(known[-5:]) if known else "none yet: run `ringfence train`"
        super().__init__(f"release {release!r} is not in this ledger; known releases: {listed}")


class NoChampionError(RingfenceError):
    """Nothing is live."""

    def __init__(self, scenario: str) -> None:
        super().__init__(
            f"scenario {scenario!r} has no champion; run `ringfence train` (the first release becomes the champion) "
            "or `ringfence release promote`"
        )


class NothingToRollBackError(RingfenceError):
    """There is no earlier champion to go back to."""

    def __init__(self, champion: str | None) -> None:
        super().__init__(
            f"cannot roll back: no champion came before {champion or 'the first release'}; promote another release"
        )


class AlreadyChampionError(RingfenceError):
    """The release is live already."""

    def __init__(self, release: str) -> None:
        super().__init__(f"release {release!r} is the champion already; there is nothing to promote")


class ChampionIsNoShadowError(RingfenceError):
    """The release decides already, so that it cannot be held against itself."""

    def __init__(self, release: str) -> None:
        super().__init__(f"release {release!r} is the champion; shadow another one, that it is to be compared with")


class AlreadyShadowError(RingfenceError):
    """The release is the shadow already."""

    def __init__(self, release: str) -> None:
        super().__init__(f"release {release!r} is the shadow already; `ringfence release shadow` tells what it found")


class NoShadowError(RingfenceError):
    """There is no shadow that could be ended."""

    def __init__(self) -> None:
        super().__init__("no release is the shadow; make one with: ringfence release shadow RELEASE")


class TrackingPlaceError(RingfenceError):
    """An address that no release is mirrored to. It may hold a secret, so it is not repeated."""

    def __init__(self, found: str, do: str) -> None:
        self.found, self.do = found, do
        super().__init__(f"the address of the tracking store: found {found}; {do}")


class TrackingStoreError(RingfenceError):
    """A tracking store that did not do what it was asked to. What it said may hold a secret, so it is not repeated."""

    def __init__(self, store: str, doing: str, found: str, do: str) -> None:
        self.store, self.doing, self.found, self.do = store, doing, found, do
        super().__init__(f"tracking store {store}: {doing}: {found}; {do}")
