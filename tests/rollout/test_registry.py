# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from ringfence.ledger.records import Kind, Record, ReleaseBody
from ringfence.rollout.errors import (
    AlreadyChampionError,
    AlreadyShadowError,
    ChampionIsNoShadowError,
    NoShadowError,
    NothingToRollBackError,
    UnknownReleaseError,
)
from ringfence.rollout.registry import Registry


class Log:
    """Release records in memory, numbered like a ledger that holds other things too."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def releases(self) -> list[Record]:
        return list(self.records)

    def stage(self, kind: Kind, body: ReleaseBody) -> int:
        seq = 10 * (len(self.records) + 1)
        self.records.append(
            Record(seq=seq, kind=kind, recorded_at_ms=1_000 * seq, watermark_ms=0, body=body, chain=b"")
        )
        return seq


def _log_with(*releases: str) -> Log:
    log = Log()
    for release in releases:
        Registry.read(log).register(log, release, digest=f"digest of {release}")
    return log


def test_nothing_is_live_before_a_promotion() -> None:
    registry = Registry.read(_log_with("r-1"))
    assert registry.champion() is None
    assert registry.latest() == "r-1"
    assert Registry.read(Log()).latest() is None


def test_registering_the_same_release_again_adds_nothing() -> None:
    log = _log_with("r-1")
    assert Registry.read(log).register(log, "r-1", digest="x") is False
    assert len(log.records) == 1


def test_promotion_makes_champion_and_remembers_whom_it_replaced() -> None:
    log = _log_with("r-1", "r-2")
    Registry.read(log).promote(log, "r-1")
    Registry.read(log).promote(log, "r-2")
    registry = Registry.read(log)
    assert registry.champion() == "r-2"
    assert log.records[-1].body == ReleaseBody(release="r-2", act="promoted", replaces="r-1")
    assert [(entry.release, entry.is_champion, entry.was_champion) for entry in registry.entries()] == [
        ("r-1", False, True),
        ("r-2", True, True),
    ]


#  seq       10   20   30          40
#            r-1  r-2  promote r-1 promote r-2
#  live at   none      from 31     from 41
def test_champion_at_a_seq_is_the_one_promoted_before_it() -> None:
    log = _log_with("r-1", "r-2")
    Registry.read(log).promote(log, "r-1")
    Registry.read(log).promote(log, "r-2")
    registry = Registry.read(log)
    assert registry.champion_at(30) is None
    assert registry.champion_at(31) == "r-1"
    assert registry.champion_at(40) == "r-1"
    assert registry.champion_at(41) == "r-2"


def test_rolling_back_twice_goes_back_two_champions() -> None:
    log = _log_with("r-1", "r-2", "r-3")
    for release in ("r-1", "r-2", "r-3"):
        Registry.read(log).promote(log, release)
    assert Registry.read(log).rollback(log) == "r-2"
    assert Registry.read(log).rollback(log) == "r-1"
    assert Registry.read(log).champion() == "r-1"
    with pytest.raises(NothingToRollBackError, match="r-1"):
        Registry.read(log).rollback(log)


def test_unknown_and_live_releases_cannot_be_promoted() -> None:
    log = _log_with("r-1")
    with pytest.raises(UnknownReleaseError, match=r"r-9.*r-1"):
        Registry.read(log).promote(log, "r-9")
    Registry.read(log).promote(log, "r-1")
    with pytest.raises(AlreadyChampionError, match="r-1"):
        Registry.read(log).promote(log, "r-1")


def test_registry_tells_what_was_live_at_a_time() -> None:
    #  time (s)    10    20    30        40
    #  record      r-1   r-2   r-1 live  r-2 live
    log = _log_with("r-1", "r-2")
    Registry.read(log).promote(log, "r-1")
    Registry.read(log).promote(log, "r-2")
    registry = Registry.read(log)
    assert [registry.at(time_ms).champion() for time_ms in (9_999, 29_999, 30_000, 39_999, 40_000)] == [
        *(None, None),
        *("r-1", "r-1"),
        "r-2",
    ]
    assert [entry.release for entry in registry.at(19_999).entries()] == ["r-1"]
    assert [registry.at(time_ms).live_since_ms() for time_ms in (0, 35_000, 90_000)] == [None, 30_000, 40_000]
    entries = registry.at(35_000).entries()
    assert [(entry.release, entry.is_champion, entry.was_champion) for entry in entries] == [
        ("r-1", True, True),
        ("r-2", False, False),
    ]


def test_installing_registers_what_is_not_known_yet_and_promotes_it() -> None:
    log = _log_with("r-1")
    Registry.read(log).install(log, "r-1", digest="x", by="key desk")
    Registry.read(log).install(log, "r-2", digest="digest of r-2", note="from elsewhere", by="key desk")
    acts = [(body.release, body.act, body.replaces) for record in log.records if (body := record.body)]
    assert acts == [
        ("r-1", "registered", None),
        ("r-1", "promoted", None),
        ("r-2", "registered", None),
        ("r-2", "promoted", "r-1"),
    ]
    assert log.records[2].body == ReleaseBody(release="r-2", act="registered", digest="digest of r-2")
    with pytest.raises(AlreadyChampionError):
        Registry.read(log).install(log, "r-2", digest="digest of r-2")


def test_what_a_rollback_would_go_back_to_is_known_before() -> None:
    log = _log_with("r-1", "r-2")
    Registry.read(log).promote(log, "r-1")
    with pytest.raises(NothingToRollBackError):
        Registry.read(log).rolls_back()
    Registry.read(log).promote(log, "r-2")
    assert Registry.read(log).rolls_back() == ("r-2", "r-1")
    assert Registry.read(log).rollback(log) == "r-1"


def shadow(log: Log, release: str, **told: str) -> None:
    Registry.read(log).shadow_with(log, release, digest=f"digest of {release}", **told)


def test_a_shadow_changes_no_champion_and_stands_in_the_way_of_no_rollback() -> None:
    log = _log_with("r-1", "r-2", "r-3")
    Registry.read(log).promote(log, "r-1")
    Registry.read(log).promote(log, "r-2")
    before = Registry.read(log)
    shadow(log, "r-3", note="slower, with the network", by="ada")
    registry = Registry.read(log)
    assert (registry.champion(), registry.champions()) == ("r-2", before.champions())
    assert registry.live_since_ms() == before.live_since_ms()
    assert registry.champion_at(10_000) == "r-2"
    assert registry.rolls_back() == ("r-2", "r-1")
    found = registry.shadow()
    assert found is not None
    assert (found.release, found.since_seq, found.note, found.by) == ("r-3", 60, "slower, with the network", "ada")
    entries = {entry.release: entry for entry in registry.entries()}
    assert [name for name, entry in entries.items() if entry.is_shadow] == ["r-3"]
    assert not entries["r-3"].was_champion
    assert entries["r-3"].by == ""
    assert registry.at(50_000).shadow() is None


def test_a_shadow_stays_until_it_is_ended_or_replaced_or_live() -> None:
    log = _log_with("r-1", "r-2", "r-3")
    Registry.read(log).promote(log, "r-1")
    shadow(log, "r-2")
    shadow(log, "r-3")
    assert log.records[-1].body == ReleaseBody(release="r-3", act="shadowed", replaces="r-2")
    found = Registry.read(log).shadow()
    assert found is not None
    assert found.release == "r-3"
    Registry.read(log).promote(log, "r-2")
    assert Registry.read(log).shadow() == found
    Registry.read(log).promote(log, "r-3")
    assert Registry.read(log).shadow() is None
    Registry.read(log).rollback(log)
    assert Registry.read(log).shadow() is None, "it was shadowed before it was live"
    shadow(log, "r-3")
    assert Registry.read(log).unshadow(log, by="ada") == "r-3"
    assert Registry.read(log).shadow() is None


def test_a_shadow_that_is_none_is_refused() -> None:
    log = _log_with("r-1", "r-2")
    Registry.read(log).promote(log, "r-1")
    with pytest.raises(ChampionIsNoShadowError, match="'r-1' is the champion; shadow another one"):
        shadow(log, "r-1")
    with pytest.raises(NoShadowError):
        Registry.read(log).unshadow(log)
    shadow(log, "r-2")
    n = len(log.records)
    with pytest.raises(AlreadyShadowError):
        shadow(log, "r-2")
    assert len(log.records) == n


def test_a_release_that_is_shadowed_while_it_becomes_the_champion_is_no_shadow() -> None:
    log = _log_with("r-1", "r-2")
    Registry.read(log).promote(log, "r-1")
    stale = Registry.read(log)
    Registry.read(log).promote(log, "r-2")
    stale.shadow_with(log, "r-2", digest="x")
    assert Registry.read(log).shadow() is None


def test_a_release_that_the_ledger_does_not_know_is_registered_when_it_is_shadowed() -> None:
    log = _log_with("r-1")
    shadow(log, "r-9")
    assert [record.body.act for record in log.records if isinstance(record.body, ReleaseBody)] == [
        "registered", "registered", "shadowed",
    ]  # fmt: skip
    assert Registry.read(log).is_registered("r-9")
