# SPDX-License-Identifier: Apache-2.0
"""What can stop a draft."""

from __future__ import annotations

from pathlib import Path

from ringfence.errors import RingfenceError


class DraftError(RingfenceError):
    """A file that no scenario can be drafted from."""

    def __init__(self, file: Path | str, found: str, do: str) -> None:
        self.file, self.found, self.do = str(file), found, do
        super().__init__(f"{file}: {found}; {do}; nothing was written")
