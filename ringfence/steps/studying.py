# SPDX-License-Identifier: Apache-2.0
"""Evaluate --study: what would have been, had a release been made another way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ringfence.steps.chosen import find_release

if TYPE_CHECKING:
    import polars as pl

    from ringfence.scenario.spec import Scenario
    from ringfence.scoring.release import Release
    from ringfence.training.comparisons.run import Found
    from ringfence.workspace import Workspace


class Studied(NamedTuple):
    release: Release
    found: Found  # with what was studied before
    made: list[str]  # the studies that were run now
    page: Path  # HTML; the same numbers are in studies.json beside it


def study_release(
    here: Workspace,
    scenario: Scenario,
    names: Collection[str],
    *,
    release: str | None = None,
    truth: Path | None = None,
    now: Callable[[], float] = time.monotonic,
    progress: Callable[[str, int, int], None],
) -> Studied:
    """Run studies of a release and write them below reports/, beside those that were run before.

    Parameters
    ----------
    names : of studies; `all` for every one.
    release : an id or `latest`; None: the champion.
    truth : of a world with rings: a Parquet or CSV file with a row per event.
    now : seconds of a clock that never goes back.

    Raises
    ------
    UnknownStudyError
        If there is no such study.
    TruthFileError
        If the truth file cannot be used.
    EmptyWindowError
        With `truth`, if no event came after the release's cut.
    """
    import msgspec

    from ringfence import __version__
    from ringfence.ledger.ledger import Ledger
    from ringfence.steps.making import row_cache
    from ringfence.training.comparisons.detection import detect, read_truth
    from ringfence.training.comparisons.page import studies_page
    from ringfence.training.comparisons.remade import Remade
    from ringfence.training.comparisons.run import FITTED, read_found, wanted_studies
    from ringfence.training.score import score

    wanted = wanted_studies(names)
    bundle = find_release(here, scenario, release)
    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    told = None if truth is None else read_truth(_table(truth), bundle.scenario.decided.event_id_column, str(truth))
    studies = []
    if wanted:
        remade = Remade(
            ledger,
            bundle,
            n_threads=os.cpu_count() or 1,
            now=now,
            samples_dir=here.state_dir(scenario) / "samples",
            cache=row_cache(here, scenario),
            report=progress,
        )
        studies = [FITTED[name](remade) for name in wanted]
    detection = None
    if told is not None:
        scored = score(
            ledger,
            bundle,
            bundle.manifest.made.until_ms + 1,
            progress=lambda done, total: progress("scoring", done, total),
        )
        detection = detect(scored, ledger, bundle, told)
    folder = here.reports_dir / bundle.id
    folder.mkdir(parents=True, exist_ok=True)
    found = read_found(folder / "studies.json", bundle.id).joined(studies, detection)
    page = studies_page(
        bundle.id,
        scenario.name,
        bundle.manifest.made.until_ms,
        found.studies,
        found.detection,
        version=__version__,
    )
    _write(folder / "studies.json", msgspec.json.format(msgspec.json.encode(found.plain()), indent=1))
    _write(folder / "studies.html", page.encode())
    return Studied(bundle, found, [study.name for study in studies], folder / "studies.html")


def _table(path: Path) -> pl.DataFrame:
    import polars as pl

    from ringfence.training.errors import TruthFileError

    try:
        return pl.read_csv(path) if path.suffix.lower() == ".csv" else pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TruthFileError(str(path), f"it cannot be read ({error})", "a Parquet or CSV file") from error


def _write(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(data)
    beside.replace(path)
