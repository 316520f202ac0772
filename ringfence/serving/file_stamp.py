# SPDX-License-Identifier: Apache-2.0
"""What tells a file that was written anew from the one before, without reading it."""

from __future__ import annotations

from pathlib import Path

Stamp = tuple[int, int, int] | None  # inode, time of writing in ns, size; None where there is no file


def stamp(path: Path) -> Stamp:
    """Stamp a file as it is now; a link stands for the file that it leads to."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
