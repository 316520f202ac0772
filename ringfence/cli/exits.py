# SPDX-License-Identifier: Apache-2.0
"""Exit codes, which scripts rely on, and the one table from a cause to its code."""

from __future__ import annotations

from enum import IntEnum

from ringfence.errors import RingfenceError


class Exit(IntEnum):
    """What a command's end means. Documented in docs/reference/cli.md, which is generated from here."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    BAD_INPUT = 3
    BUSY = 4
    STORAGE = 5
    INTERNAL = 70
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    Exit.OK: "done; for a check: it holds",
    Exit.CHECK_FAILED: "the command ran, and what it checked does not hold (`verify`, `doctor`, `demo --once`)",
    Exit.USAGE: "the command line itself is wrong: an unknown option, a time that is none",
    Exit.BAD_INPUT: "a file, a configuration or a name given is wrong; the message says which, where, and what to do",
    Exit.BUSY: "someone else holds what is needed, such as the ledger's writer lock or the port; try again later",
    Exit.STORAGE: "the disk, the operating system or a tracking store refused: no space, no permission, no answer",
    Exit.INTERNAL: "a fault in ringfence; run again with --debug and report it",
    Exit.INTERRUPTED: "stopped from the keyboard",
}

# By class name, so that a failing command does not import every room to find its code. Any subclass of a listed class
# shares its code; every other RingfenceError is BAD_INPUT.
CODES: dict[str, Exit] = {
    "UsageError": Exit.USAGE,
    "CheckFailedError": Exit.CHECK_FAILED,
    "LedgerLockedError": Exit.BUSY,
    "ServiceHoldsLedgerError": Exit.BUSY,
    "ServiceRunsError": Exit.BUSY,
    "AddressTakenError": Exit.BUSY,
    "CommitFailedError": Exit.STORAGE,
    "TrackingStoreError": Exit.STORAGE,
}


class UsageError(RingfenceError):
    """The command line cannot be understood, beyond what the parser itself catches."""


class CheckFailedError(RingfenceError):
    """A check ran to its end and does not hold."""


def exit_code(error: BaseException) -> Exit:
    """Return the code that a command ends with when this error reaches the top."""
    for cause in type(error).__mro__:
        if cause.__name__ in CODES and issubclass(cause, RingfenceError):
            return CODES[cause.__name__]
    if isinstance(error, RingfenceError):
        return Exit.BAD_INPUT
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    return Exit.STORAGE if isinstance(error, OSError) else Exit.INTERNAL
