# SPDX-License-Identifier: Apache-2.0
"""A running service is told which release is the shadow from now on, or that none is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ringfence.ledger.records import Kind, ReleaseBody, Told
from ringfence.rollout.registry import Registry
from ringfence.scoring.errors import ReleaseError
from ringfence.scoring.release import load_release
from ringfence.serving import wire
from ringfence.serving.errors import ReleaseRefusedError
from ringfence.serving.ready import Ready, ledger_for

Recorder = Callable[[Sequence[tuple[Kind, Told]]], int]


class _Staged:
    """What the registry stages, until the engine's thread does."""

    def __init__(self) -> None:
        self.records: list[tuple[Kind, Told]] = []

    def stage(self, kind: Kind, body: ReleaseBody) -> None:
        self.records.append((kind, body))


def begin_shadow(current: Ready, record: Recorder, release: str, *, note: str, by: str) -> wire.ShadowChange:
    """Make a release the shadow; returns when that is on record.

    Parameters
    ----------
    current : what decides.
    release : an id, or `latest`. One that lies in the releases' folder and that this ledger does not know yet is
        registered.

    Raises
    ------
    UnknownReleaseError, ChampionIsNoShadowError, AlreadyShadowError, ReleaseRefusedError
        Nothing was recorded; else as `record` has it.
    """
    registry, folder, staged = Registry.read(current.ledger), current.release.path.parent, _Staged()
    name = registry.named(release, folder)
    try:
        loaded = load_release(folder / name)
    except ReleaseError as error:
        raise ReleaseRefusedError(name, str(error), "mend that, and shadow it again") from error
    ledger_for(current, loaded)
    registry.shadow_with(staged, name, digest=loaded.digest, note=note, by=by)
    return wire.ShadowChange(act="shadowed", release=name, seq=record(staged.records))


def end_shadow(current: Ready, record: Recorder, *, note: str, by: str) -> wire.ShadowChange:
    """Have no shadow any more; returns when that is on record.

    Raises
    ------
    NoShadowError
        If there is none; else as `record` has it.
    """
    staged = _Staged()
    name = Registry.read(current.ledger).unshadow(staged, note=note, by=by)
    return wire.ShadowChange(act="unshadowed", release=name, seq=record(staged.records))
