# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a policy."""

from __future__ import annotations

from ringfence.errors import RingfenceError


class PolicyFileError(RingfenceError):
    """A policy file that cannot be read, or says something that makes no sense."""

    def __init__(self, file: str, path: str, found: str, do: str) -> None:
        super().__init__(f"{file}: {path or 'the file'}: {found}; {do}")
        self.file = file
        self.path = path
        self.found = found
        self.do = do
