# SPDX-License-Identifier: Apache-2.0
"""Copy releases to a tracking store: what they were made from, what was measured, drawings, report and bundle.

The ledger alone decides what is live; nothing here is read back but what the store holds already. Nothing of the
workspace is written to.

    run r-0123456789ab
      report.html  card.md  made_from.json
      plots/*.svg          the drawings of the report
      bundle/              the release's files, as bytes: without tables of lookups and the report, unless asked for
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from ringfence.reports.written import drawings, without_examples
from ringfence.rollout.registry import Entry, Registry
from ringfence.rollout.tracking import Run, TrackingStore
from ringfence.rollout.tracking_place import tracking_place
from ringfence.scoring.errors import ReleaseDamagedError, ReleaseNotFoundError
from ringfence.scoring.release import LOOKUP, MANIFEST, Release, load_release
from ringfence.steps.chosen import resolve
from ringfence.steps.release_data import data_of
from ringfence.steps.run_content import LEFT_OUT, PART, figures_of, params_of, part_of, tags_of
from ringfence.training.errors import MissingExtraError

if TYPE_CHECKING:
    from ringfence.ledger.ledger import Ledger
    from ringfence.scenario.spec import Scenario
    from ringfence.workspace import Workspace

ALL: Final = "all"
CASES: Final = "cases"  # single events, as the report shows them
LOOKUPS: Final = "lookups"
_REPORT: Final = "report.html"

Outcome = Literal["new", "continued", "there"]


class MirroredRelease(msgspec.Struct, frozen=True, kw_only=True):
    release: str
    run: str  # as the store calls it
    outcome: Outcome  # `continued`: it was there, and not complete, or without what is asked for now
    left_out: tuple[str, ...]  # of what the release has: cases, lookups


class Mirrored(msgspec.Struct, frozen=True, kw_only=True):
    """What a mirror holds now."""

    store: str
    experiment: str
    releases: tuple[MirroredRelease, ...]  # in the order they were registered
    absent: tuple[str, ...]  # registered, and no longer on disk


def mirror_releases(
    workspace: Workspace,
    scenario: Scenario,
    *,
    to: str | Path,
    environment: MutableMapping[str, str],
    release: str = ALL,
    experiment: str | None = None,
    with_lookups: bool = False,
    with_cases: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Mirrored:
    """Copy releases to a tracking store of MLflow; those that are there, whole, are left as they are.

    Parameters
    ----------
    to : the store's address (`rollout.tracking_place`).
    environment : of this process; what MLflow reads when it is loaded is set there.
    release : an id, `latest`, `champion` or `all`.
    experiment : its name; None: the scenario's.
    with_lookups : copy the tables of lookups as well, which may be large, or not ours to pass on.
    with_cases : copy the report as it is, with the single events it shows.

    Raises
    ------
    MissingExtraError
        If MLflow is not installed.
    TrackingPlaceError
        If the address is none, or holds a secret.
    TrackingStoreError
        If the store refuses, fails or cannot be reached; what it holds by then is gone on with next time.
    UnknownReleaseError, NoChampionError
        If there is no such release.
    ReleaseNotFoundError
        If the named release is no longer on disk.
    ReleaseDamagedError
        If a bundle is not as it was written, or not the one that the ledger knows.
    """
    from ringfence.ledger.ledger import Ledger

    if find_spec("mlflow") is None:
        raise MissingExtraError("mlflow-skinny", "mlflow", what="mirroring releases")
    place = tracking_place(to)
    ledger = Ledger.open(workspace.ledger_dir(scenario), scenario)
    registry = Registry.read(ledger)
    entries = registry.entries()
    wanted = {one.release for one in entries} if release == ALL else {resolve(registry, release, scenario.name)}
    asked = frozenset(name for name, is_asked in ((CASES, with_cases), (LOOKUPS, with_lookups)) if is_asked)
    store = TrackingStore(place, experiment or scenario.name, environment)
    runs = store.runs()
    done, absent = [], []
    for at, entry in enumerate(entries):
        if progress is not None:
            progress(at, len(entries))
        if entry.release in wanted:
            try:
                found = _registered(workspace, entry)
            except ReleaseNotFoundError:
                if release != ALL:
                    raise
                absent.append(entry.release)
            else:
                done.append(_mirror(store, runs.get(entry.digest), found, entry, ledger, asked))
        if (run := runs.get(entry.digest)) is not None:  # whoever was the champion when it was mirrored
            store.tag(run, {PART: part_of(entry)})
    if progress is not None:
        progress(len(entries), len(entries))
    return Mirrored(store=place.uri, experiment=store.experiment, releases=tuple(done), absent=tuple(absent))


def _registered(workspace: Workspace, entry: Entry) -> Release:
    found = load_release(workspace.releases_dir / entry.release)
    if found.digest != entry.digest:
        raise ReleaseDamagedError(str(found.path), MANIFEST, "it is not the one that the ledger took up")
    return found


def _mirror(
    store: TrackingStore, run: Run | None, release: Release, entry: Entry, ledger: Ledger, asked: frozenset[str]
) -> MirroredRelease:
    has = [CASES, *([LOOKUPS] if any(name.startswith(LOOKUP) for name in release.manifest.files) else [])]
    there = frozenset() if run is None or LEFT_OUT not in run.tags else frozenset(has) - set(_listed(run))
    if run is not None and run.is_complete and asked & set(has) <= there:
        return MirroredRelease(release=release.id, run=run.id, outcome="there", left_out=_listed(run))
    outcome: Outcome = "new" if run is None else "continued"
    at_ms = entry.registered_at_ms
    left_out = tuple(name for name in has if name not in asked | there)
    kept_back = {LEFT_OUT: ",".join(left_out)}  # said before it is copied: an interrupted copy may hold it already
    stays = run is not None and run.is_complete and CASES in there - asked  # the whole report, copied before
    if run is None:
        run = store.begin(release.id, tags_of(release, entry) | kept_back, at_ms=at_ms)
    else:
        store.reopen(run, kept_back)
    made_from = data_of(release, ledger)
    store.log(run, params_of(made_from), figures_of(release.metrics), at_ms=at_ms)
    with TemporaryDirectory(prefix="ringfence-mirror-") as folder:
        _lay_out(Path(folder), release, msgspec.json.format(msgspec.json.encode(made_from), indent=1), asked)
        if stays:
            (Path(folder) / _REPORT).unlink()
        store.upload(run, Path(folder))
    store.finish(run, {PART: part_of(entry)}, at_ms=at_ms)
    return MirroredRelease(release=release.id, run=run.id, outcome=outcome, left_out=left_out)


def _listed(run: Run) -> tuple[str, ...]:
    return tuple(name for name in run.tags.get(LEFT_OUT, "").split(",") if name)


def _lay_out(folder: Path, release: Release, made_from: bytes, asked: frozenset[str]) -> None:
    """Write a run's files as copies of their own: those of a bundle are read-only, and a store might keep that.

    Only what was asked for now: whoever can write to the store is not to decide what is copied to it.
    """
    report = release.file(_REPORT).decode()
    shown = report if CASES in asked else without_examples(report)
    (folder / _REPORT).write_text(shown, encoding="utf-8")
    (folder / "card.md").write_bytes(release.file("card.md"))
    (folder / "made_from.json").write_bytes(made_from)
    (folder / "plots").mkdir()
    for name, drawing in drawings(shown).items():
        (folder / "plots" / f"{name}.svg").write_text(drawing, encoding="utf-8")
    bundle = folder / "bundle"
    bundle.mkdir()
    for name in (MANIFEST, *release.manifest.files):
        is_kept_back = (name == _REPORT and CASES not in asked) or (name.startswith(LOOKUP) and LOOKUPS not in asked)
        if not is_kept_back:
            (bundle / name).write_bytes(release.file(name))
