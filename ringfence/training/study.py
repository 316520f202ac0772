# SPDX-License-Identifier: Apache-2.0
"""The finished trials of one search on disk: processes share them, and whoever is killed leaves them whole.

state/<scenario>/search/<key>/study.log     optuna's journal: one finished trial a line, any optuna can read it
state/<scenario>/search/<key>/study.lock    held while the journal is read or written
state/<scenario>/search/<key>/trial-7.lock  held by whoever tries the setting of that number

Locks are the kernel's: they end with the process that holds them, however it ends. The key names everything that a
trial's outcome depends on, so that no trial of other data, folds, code or libraries is ever taken for one of these. All
of it can be deleted while no search runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState, create_trial

from ringfence.training.effort import Effort
from ringfence.training.folds import Fold
from ringfence.training.row_cache import code_digest

KEPT: Final = 16  # studies of one scenario; what was used longest ago goes first
NAME: Final = "ringfence"
_ROOMS: Final = ("models", "training")  # whose code a trial is made by
_LIBRARIES: Final = ("lightgbm", "numpy", "optuna", "scipy")


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One setting and how it fared, as the journal keeps it."""

    number: int  # 0: the default
    params: dict[str, Any]
    n_trees: int
    log_loss: float  # out of fold, at the best number of trees
    average_precision: float  # there, too


def study_key(
    rows: NDArray[np.float64],
    fraud: NDArray[np.int8],
    folds: Sequence[Fold],
    *,
    is_category: Sequence[bool],
    unread: NDArray[np.int64],
    default: Mapping[str, Any],
    effort: Effort,
    seed: int,
) -> str:
    """Digest all that decides what a trial finds, the code and its libraries included: 32 hex digits.

    How many trials are asked for is no part of it: more of them go on where fewer ended. Parameters as in `cross_fit`.
    """
    digest = blake2b(code_digest(_ROOMS, _LIBRARIES).encode(), digest_size=16)
    arrays: list[NDArray[Any]] = [rows, fraud, unread, *(part for fold in folds for part in (fold.fit, fold.emit))]
    for values in arrays:
        digest.update(f"{values.dtype.str}{values.shape};".encode())
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    settings = [list(map(bool, is_category)), dict(sorted(default.items())), effort, seed]
    digest.update(msgspec.json.encode(settings))
    return digest.hexdigest()


class Study:
    """The trials of one search.

    Parameters
    ----------
    directory : of this study alone; made where it is absent. Of its neighbours `KEPT` stay.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        journal, lock = directory / "study.log", _FileLock(directory / "study.lock")
        lock.acquire()
        try:
            _mend(journal)
        finally:
            lock.release()
        os.utime(directory)
        _forget_oldest(directory)
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of each study made and each trial added
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
        self._study = optuna.create_study(storage=storage, study_name=NAME, load_if_exists=True)

    def finished(self) -> dict[int, Tried]:
        """Return what is known by now, by number of the trial."""
        told = [
            msgspec.convert(trial.user_attrs, Tried)
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state is TrialState.COMPLETE
        ]
        return {one.number: one for one in reversed(told)}  # of two with one number the first, should there ever be two

    def record(self, tried: Tried, place: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> None:
        """Append a finished trial: one line, one write.

        Parameters
        ----------
        place, space : each parameter, and what it could have been; both empty where the setting lies outside.
        """
        told = create_trial(
            state=TrialState.COMPLETE,
            value=tried.log_loss,
            params=dict(place),
            distributions=dict(space),
            user_attrs=msgspec.to_builtins(tried),
        )
        self._study.add_trial(told)

    @contextmanager
    def claimed(self, numbers: Sequence[int]) -> Iterator[int]:
        """Hold the first of these trials that nobody holds; where all are held, wait for the first one.

        Whoever held a trial before may have finished it: look at `finished` again.
        """
        for number in numbers:
            descriptor = self._open(number)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                os.close(descriptor)
        else:
            number = numbers[0]
            descriptor = self._open(number)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield number
        finally:
            os.close(descriptor)

    def _open(self, number: int) -> int:
        return os.open(self.directory / f"trial-{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


class _FileLock(JournalFileOpenLock):
    """A lock of the kernel's: optuna's own outlive a process that is killed while it holds them."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._held = -1

    def acquire(self) -> bool:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._held = descriptor
        return True

    def release(self) -> None:
        os.close(self._held)


def _mend(journal: Path) -> None:
    """Cut a journal at the first line that is not whole, as the loss of power in the middle of a write leaves it."""
    if not journal.exists():
        return
    whole = 0
    with journal.open("rb+") as file:
        for line in file:
            try:
                is_whole = line.endswith(b"\n") and isinstance(json.loads(line), dict)
            except ValueError:
                is_whole = False
            if not is_whole:
                file.truncate(whole)
                return
            whole += len(line)


def _forget_oldest(directory: Path) -> None:
    ages = []
    for path in directory.parent.iterdir():
        with suppress(OSError):
            ages.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(ages, reverse=True)[KEPT:]:
        if path != directory:
            shutil.rmtree(path, ignore_errors=True)
