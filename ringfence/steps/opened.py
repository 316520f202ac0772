# SPDX-License-Identifier: Apache-2.0
"""`ringfence.open(path)`: a workspace from Python. Each method does what the command of its name does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringfence.steps.errors import SpineWarning
from ringfence.steps.explained import ExplainsDecisions
from ringfence.steps.graphs import ExportsGraph
from ringfence.steps.kernel_cache import use_kernel_cache
from ringfence.steps.open_scenario import Progress, When
from ringfence.steps.opened_releases import OpenReleases

if TYPE_CHECKING:
    import polars as pl

    from ringfence.scenario.spec import Scenario
    from ringfence.steps.neighbourhoods import WrittenNeighbourhoods
    from ringfence.workspace import Workspace


class OpenWorkspace(OpenReleases, ExplainsDecisions, ExportsGraph):
    """One scenario of a workspace, ready to work with. Frames are Polars; `.to_arrow()`, `.to_pandas()` hand them on.

    Holds no file open and no state: what another process writes meanwhile is seen by the next call.

    Parameters
    ----------
    path : the folder with `ringfence.yaml`.
    scenario : its name; needed only when the workspace has several.

    Raises
    ------
    WorkspaceNotFoundError
        If the folder has no `ringfence.yaml`.
    UnknownScenarioError
        If the name is unknown, or none is given and there are several.
    ScenarioError
        If `ringfence.yaml` is wrong; the message has the path to the key.
    """

    def __init__(self, path: Path | str = ".", scenario: str | None = None) -> None:
        from ringfence.workspace import Workspace

        # As the command line does before it loads libraries: no machine code of other sources, no spinning threads.
        self._environment = os.environ
        use_kernel_cache(self._environment)
        self._environment.setdefault("OMP_WAIT_POLICY", "passive")
        self._here: Workspace = Workspace(path)
        self._scenario: Scenario = self._here.scenario(scenario)

    def __repr__(self) -> str:
        return f"ringfence.open({str(self.path)!r}, scenario={self.scenario!r})"

    @property
    def path(self) -> Path:
        """The workspace folder, absolute."""
        return self._here.path

    @property
    def scenario(self) -> str:
        """The scenario's name."""
        return self._scenario.name

    def import_(
        self,
        *files: Path | str,
        on_bad_rows: str = "reject",
        replace: bool = False,
        memory: str = "800MB",
        progress: Progress | None = None,
    ) -> pl.DataFrame:
        """Read history from CSV, JSON lines or Parquet into the ledger, in time order; all or nothing, and never twice.

        Parameters
        ----------
        files : of the decided event type; without any, the sources of `ringfence.yaml`.
        on_bad_rows : "reject" loads the good rows and lists the bad ones, "abort" loads nothing if a row is bad.
        replace : begin the ledger anew; allowed while it holds no live records.
        memory : of the external sort, such as 512MB or 2GB.

        Returns
        -------
        One row: n_events, n_labels, n_duplicates, n_rejected, n_conflicts, n_late, first_seq, last_seq (0 where
        nothing was added), seconds, rejects (the file that lists bad rows with line and reason; null where none is).

        Raises
        ------
        ImportFailedError
            If a file as a whole cannot be used, or a row is bad and `on_bad_rows` is "abort".
        LedgerLockedError
            If another process writes to the ledger.
        ReplaceRefusedError
            If `replace` would lose live records.
        """
        import polars as pl

        from ringfence.scenario.clock import SystemClock
        from ringfence.steps.history import import_history

        report = import_history(
            self._here,
            self._scenario,
            [Path(file) for file in files] or None,
            clock=SystemClock(),
            on_bad_rows=on_bad_rows,
            replace=replace,
            memory=memory,
            progress=_stage(progress, "importing"),
        )
        counted = ("n_events", "n_labels", "n_duplicates", "n_rejected", "n_conflicts", "n_late")
        return pl.DataFrame(
            {
                **{name: [getattr(report, name)] for name in (*counted, "first_seq", "last_seq", "seconds")},
                "rejects": pl.Series([str(report.rejects_path) if report.n_rejected else None], dtype=pl.String),
            }
        )

    def events(self, from_: When | None = None, to: When | None = None) -> pl.DataFrame:
        """Return the decided events of the ledger with the labels that stand now.

        Parameters
        ----------
        from_, to : event time, from inclusive, to exclusive; None: from the first, to the last.

        Returns
        -------
        In ledger order: seq, event_id, event_time (UTC, ms), amount (major units; null where there is none),
        is_fraud (null while unlabelled), known_at (UTC, ms), source.
        """
        from ringfence.steps.events import decided_events

        return decided_events(
            self._ledger(),
            None if from_ is None else self._ms("from_", from_),
            None if to is None else self._ms("to", to),
        )

    def ticks(self, until: When | None = None, from_: When | None = None) -> pl.DataFrame:
        """List entities whose tick is due and not decided yet (`ticks:` in `ringfence.yaml`). Writes nothing.

        Parameters
        ----------
        until : the last moment that counts, inclusive; None: now.
        from_ : the first one, inclusive; None: one period before `until`, so that each entity has its newest alone.

        Returns
        -------
        In order of time: tick_id, tick_time (UTC, ms), and the entity under its role's column: rows of the decided
        event type, which `import_` takes from a file.

        Raises
        ------
        NoTicksError
            If the scenario has none.
        """
        from ringfence.scenario.clock import SystemClock
        from ringfence.steps.entity_ticks import dated, due_ticks

        until_ms = SystemClock().now_ms() if until is None else self._ms("until", until)
        from_ms = None if from_ is None else self._ms("from_", from_)
        return dated(due_ticks(self._here, self._scenario, until_ms=until_ms, from_ms=from_ms))

    def catalogue(self, *, family: str | None = None, like: str | None = None) -> pl.DataFrame:
        """List the features of this scenario by family: what they mean, and when they are missing. Reads no ledger.

        Parameters
        ----------
        family : only this one; None: all.
        like : only features with this text in their name or their sentence, upper or lower case; None: all.

        Returns
        -------
        One row a feature: feature, family, is_on (a column of `features`; the others come with `features: {family:
        true}` in `ringfence.yaml`), role (null where it is of no single one), sentence, unit, window_ms and granule_ms
        (its span, and to what the lower bound is rounded down; null without a window), missing (when it is NaN),
        version, cost_ns (its share of a row, an upper bound where that is too small to be told apart).

        Raises
        ------
        UnknownFeatureError
            If there is no such family.
        """
        from ringfence.steps.catalogue import catalogue_of

        return catalogue_of(self._scenario, family=family, like=like)

    def features(
        self,
        spine: Any,
        *,
        only: Collection[str] | None = None,
        progress: Progress | None = None,
    ) -> pl.DataFrame:
        """Return the features of entities as of any time, for models of your own. Writes nothing.

        A row reads what an event of the decided type would read that names these entities, were it reported at that
        time as the first of that time: everything reported and every label known before, and labels of that very
        millisecond; nothing of the row itself, nothing that was reported later. On times of whole days, the events of
        the day are not seen.

        Parameters
        ----------
        spine : a path (CSV, Parquet) or a frame (Polars, Arrow, pandas) of n rows in any order: `event_time` or
            `time` (ISO 8601, dates, datetimes or ms since 1970; naive: the scenario's time zone), and columns named
            as roles with entity ids (null: nobody; a role that holds many takes lists), or `role` and `id`, one
            entity a row. Optional: `amount` (major units) and columns named as attributes. Others are carried along.
        only : names of the features wanted, which is faster; None: all.

        Returns
        -------
        n rows in the order of the spine: its columns, then a Float64 column a feature (NaN where missing), in the
        units of the features page. About 16 bytes a value are held for a moment: 5 GB for a million rows of 285.

        Warns
        -----
        SpineWarning
            If a column that is carried along nearly has the name of a role, of the amount or of an attribute, or the
            ledger holds none of the ids of a role.

        Raises
        ------
        SpineFileError, SpineColumnsError, SpineRowsError
            If the spine cannot be read; the message says where and what.
        UnknownFeatureError
            If `only` names an unknown feature.
        """
        import polars as pl

        from ringfence.steps.features import features_as_of
        from ringfence.steps.spine import read_spine

        frame = read_spine(Path(spine)) if isinstance(spine, str | Path) else pl.DataFrame(spine)
        doubts: list[str] = []
        found = features_as_of(
            self._here,
            self._scenario,
            frame,
            only=only,
            doubt=doubts.append,
            progress=_stage(progress, "replaying"),
        )
        for text in doubts:
            warnings.warn(text, SpineWarning, stacklevel=2)
        return found

    def neighbourhoods(
        self,
        directory: Path | str,
        *,
        events: Any = None,
        negatives_per_fraud: float | None = None,
        seed: int = 0,
        last: int = 16,
        only: Collection[str] | None = None,
        with_references: bool = False,
        most_bytes: int | None = None,
        progress: Progress | None = None,
    ) -> WrittenNeighbourhoods:
        """Write whom events had to do with before them, for networks of your own, in one replay. Reads the ledger only.

        For each event at hand: its entities (seats), the last events of each as they stood just before it, and of
        these the other entities, aggregated. What is sampled was reported before the event, and a label is shown where
        it was known before the event. See docs/neighbourhoods.md.

        Parameters
        ----------
        directory : of the arrays; does not exist yet. Whole or not there at all.
        events : which, by id or by seq, such as `work.events("2024-03-01")["event_id"]`; None: all that have a label.
        negatives_per_fraud : with `events` None, all frauds and so many others for each, drawn by `seed`; > 0. None:
            all of them.
        last : sampled events a seat, 1 to 32: axis K.
        only : names of the features wanted in `rows` besides; `()`: none, which is fastest; None: all.
        with_references : keep seq and event time of every sampled event, too: 16 bytes each.
        most_bytes : what may be written in all, checked before the first byte; None: 10 GB.

        Returns
        -------
        What was written: iterate over it for chunks of NumPy arrays; `events`, `columns()` and `flat(0)` are frames.

        Raises
        ------
        ChosenEventsError
            If an event is unknown or named twice, there is none, or the share is not above 0.
        SampleFilesError
            If the directory exists.
        TooManySamplesError
            If they need more than `most_bytes`, or than the disk has free; says how many would fit.
        SampleSizeError, UnknownFeatureError
            If `last` or `only` is wrong.
        """
        from ringfence.engine.sample_files import MOST_BYTES
        from ringfence.steps.neighbourhoods import write_neighbourhoods

        return write_neighbourhoods(
            self._here,
            self._scenario,
            Path(directory),
            events=events,
            negatives_per_fraud=negatives_per_fraud,
            seed=seed,
            last=last,
            only=only,
            with_references=with_references,
            most_bytes=MOST_BYTES if most_bytes is None else most_bytes,
            progress=_stage(progress, "replaying"),
        )

    def read_neighbourhoods(self, directory: Path | str) -> WrittenNeighbourhoods:
        """Open what `neighbourhoods` wrote, with the labels that stand now as `truth_now`.

        Raises
        ------
        SampleFilesError
            If it is not complete, was written for another scenario, or holds events that the ledger lacks.
        """
        from ringfence.steps.neighbourhoods import read_neighbourhoods

        return read_neighbourhoods(self._here, self._scenario, Path(directory))

    def train(
        self,
        *,
        examples_from: When | None = None,
        until: When | None = None,
        trials: int = 0,
        seed: int = 0,
        row_cache_bytes: int | None = None,
        without: Collection[str] = (),
        assumed_rate: float | None = None,
        progress: Progress | None = None,
    ) -> pl.DataFrame:
        """Make a release: replay the ledger, fit, calibrate, evaluate; the first one becomes the champion.

        Parameters
        ----------
        examples_from : events from then on (inclusive) are examples; earlier ones only teach the features.
        until : nothing that became known after it is fitted; None: the end of the ledger.
        trials : hyperparameter settings to try beside the default, >= 0; needs `ringfence[search]`.
        seed : the same seed on the same ledger makes the same release.
        row_cache_bytes : of disk for rows that the next training need not replay; None: 4 GiB, 0: none.
        without : branches beside the trees that are not tried, such as `gnn`.
        assumed_rate : in (0, 1): look at no label, as `ringfence train --assumed-rate`; None: learn from labels.

        Returns
        -------
        One row: release, n_examples, n_fraud, n_trees, until (UTC, ms), report and card (paths). Its figures:
        `evaluate(release)`.

        Raises
        ------
        NoExamplesError, OneClassError, NoFoldsError
            If there is too little to learn from.
        LedgerLockedError
            If another process writes to a ledger that has no champion yet. Beside a service the release is made, and
            registered by the promotion or the shadow that names it next.
        """
        from ringfence.scenario.clock import SystemClock
        from ringfence.steps.making import as_made, make_release, row_cache

        made = make_release(
            self._here,
            self._scenario,
            clock=SystemClock(),
            examples_from_ms=None if examples_from is None else self._ms("examples_from", examples_from),
            until_ms=None if until is None else self._ms("until", until),
            trials=trials,
            seed=seed,
            cache=row_cache(self._here, self._scenario, row_cache_bytes),
            without=without,
            assumed_rate=assumed_rate,
            progress=progress,
        )
        return as_made(made)

    def score(
        self,
        from_: When,
        to: When | None = None,
        *,
        release: str | None = None,
        as_live: bool = False,
        progress: Progress | None = None,
    ) -> pl.DataFrame:
        """Score past events as the service would have at their moment. Writes nothing.

        Parameters
        ----------
        from_, to : event time, from inclusive, to exclusive; `to` None: the end of the ledger.
        release : an id or `latest`; None: the champion.
        as_live : each event by the release that was live then; one more column, `release`, names it.

        Returns
        -------
        In ledger order: event_id, event_time (UTC, ms), score (probability of fraud, 0..1), action, rung, one column
        a member score, in_training_span (its own label may have been fitted: figures from such rows are too good).

        Raises
        ------
        EmptyWindowError
            If no decided event lies in the window.
        UnknownReleaseError, NoChampionError
            If there is no such release.
        """
        import polars as pl

        from ringfence.steps.scoring import score_history

        scored = score_history(
            self._here,
            self._scenario,
            self._ms("from_", from_),
            None if to is None else self._ms("to", to),
            release=release,
            as_live=as_live,
            progress=_stage(progress, "scoring"),
        )
        if scored.release is None:
            return scored.rows
        return scored.rows.with_columns(pl.Series("in_training_span", scored.in_training_span))

    def evaluate(self, release: str | None = None) -> pl.DataFrame:
        """Return what a release measured of itself, on events that were not fitted when they were scored.

        Parameters
        ----------
        release : an id or `latest`; None: the champion.

        Returns
        -------
        One row a figure: release, measured_on (`later_window` or `out_of_fold`), n, n_fraud, figure, value, low and
        high (95 % interval, null where none is stated). All figures: `metrics.json` in the release's folder.

        Raises
        ------
        UnknownReleaseError, NoChampionError
            If there is no such release.
        """
        from ringfence.steps.chosen import find_release
        from ringfence.steps.figures import figures_frame

        return figures_frame(find_release(self._here, self._scenario, release))


def _stage(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)
