# SPDX-License-Identifier: Apache-2.0
"""What a world refuses to be."""

from __future__ import annotations

from pathlib import Path

from ringfence.errors import RingfenceError


class WorldSettingError(RingfenceError):
    """A setting of a simulated world is outside its bounds."""

    def __init__(self, setting: str, found: object, do: str) -> None:
        self.setting = setting
        self.found = found
        super().__init__(f"simulated world: {setting} is {found!r}; {do}")


class WorldExistsError(RingfenceError):
    """The output folder already holds a world or a workspace."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"simulated world: {path} exists already; choose a folder without a world for the output, such as a new one"
        )


class NoTruthError(RingfenceError):
    """The folder does not hold the truth files of a simulated world."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"simulated world: {path} does not exist; name the folder that `ringfence simulate` wrote")


class ForeignTruthError(RingfenceError):
    """The claims and the truth in a folder are not of one world."""

    def __init__(self, folder: Path, why: str) -> None:
        self.folder = folder
        super().__init__(
            f"simulated world: claims.parquet and truth.parquet in {folder} are not of one world: {why}; "
            "put them back together, or simulate the world again"
        )


class UnknownRingError(RingfenceError):
    """No claim of the world belongs to this ring."""

    def __init__(self, ring: str, folder: Path, known: tuple[str, ...]) -> None:
        self.ring = ring
        self.known = known
        some = f"some that it has: {', '.join(known)}" if known else "it has none"
        super().__init__(f"simulated world: no ring {ring!r} in {folder}; {some}")
