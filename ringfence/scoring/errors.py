# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a release."""

from __future__ import annotations

from ringfence.errors import RingfenceError


class ReleaseError(RingfenceError):
    """Anything that is wrong with a release bundle."""


class ReleaseNotFoundError(ReleaseError):
    def __init__(self, path: str) -> None:
        super().__init__(f"no release bundle at {path}: manifest.json is not there; see `ringfence release list`")
        self.path = path


class ReleaseDamagedError(ReleaseError):
    """A bundle whose bytes are not the ones that were written."""

    def __init__(self, path: str, file: str, found: str) -> None:
        super().__init__(
            f"release bundle {path}: {file}: {found}; bundles are immutable: restore the folder from a copy, or train "
            f"again and promote the new release"
        )
        self.path = path
        self.file = file
        self.found = found


class ReleaseMismatchError(ReleaseError):
    """Parts that do not belong together."""

    def __init__(self, what: str, found: str, expected: str, do: str) -> None:
        super().__init__(f"{what}: found {found}, expected {expected}; {do}")
        self.what = what
        self.found = found
        self.expected = expected


class NotReproducedError(ReleaseError):
    """A score on record that comes out otherwise from the same ledger."""

    def __init__(self, *, recorded: float, found: float) -> None:
        super().__init__(
            f"the score on record is {recorded:.6f}, and {found:.6f} comes out now; nothing is explained of a score "
            f"that cannot be made again: see `ringfence verify decision`"
        )
        self.recorded = recorded
        self.found = found
