# SPDX-License-Identifier: Apache-2.0
"""What `ringfence.open(path)` does with releases that are there: list, calibrate anew, export, mirror, study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringfence.steps.open_scenario import OpenScenario, Progress, When

if TYPE_CHECKING:
    import polars as pl

    from ringfence.rollout.registry import Registry
    from ringfence.training.onnx_export import Exported


class OpenReleases(OpenScenario):
    """The part of an open workspace that is about releases."""

    def releases(self, at: When | None = None) -> pl.DataFrame:
        """List the releases in the order they were made.

        Parameters
        ----------
        at : as the ledger had it then (inclusive), by the clock that recorded it: those that were registered by then,
            and which was the champion. None: now.

        Returns
        -------
        release, registered_at (UTC, ms), seq, is_champion, was_champion, note.
        """
        import polars as pl

        registry = self._registry()
        entries = (registry if at is None else registry.at(self._ms("at", at))).entries()
        return pl.DataFrame(
            [(e.release, e.registered_at_ms, e.registered_seq, e.is_champion, e.was_champion, e.note) for e in entries],
            schema={
                "release": pl.String,
                "registered_at": pl.Int64,
                "seq": pl.Int64,
                "is_champion": pl.Boolean,
                "was_champion": pl.Boolean,
                "note": pl.String,
            },
            orient="row",
        ).with_columns(pl.col("registered_at").cast(pl.Datetime("ms", "UTC")))

    def made_from(self, release: str | None = None) -> dict[str, Any]:
        """Return what a release was made from, as `release show --data --json` tells it.

        Parameters
        ----------
        release : an id or `latest`; None: the champion.

        Returns
        -------
        release, digest, scenario, examples (from, until, n, n_fraud, digest), calibrated (None, or whose models and on
        what, with `weights` where they follow labels), ledger (until_seq, chain, segments), features, model, settings,
        policy, versions, files. Times are ISO 8601, UTC.

        Raises
        ------
        UnknownReleaseError, NoChampionError
            If there is no such release.
        """
        from ringfence.steps.chosen import find_release
        from ringfence.steps.release_data import data_of

        return data_of(find_release(self._here, self._scenario, release), self._ledger())

    def weights(self, release: str | None = None) -> pl.DataFrame:
        """Return what each member of a release's stack counts for.

        Parameters
        ----------
        release : an id or `latest`; None: the champion.

        Returns
        -------
        One row a member, the trees (`gbdt`) first: member, weight (>= 0, on its raw score), trained (in the training
        that made the models), low and high (what `recalibrate(weights=True)` may ever make of it, both inclusive).

        Raises
        ------
        UnknownReleaseError, NoChampionError
            If there is no such release.
        """
        from ringfence.steps.chosen import find_release
        from ringfence.steps.figures import weights_frame

        return weights_frame(find_release(self._here, self._scenario, release))

    def recalibrate(
        self,
        release: str | None = None,
        *,
        until: When | None = None,
        weights: bool = False,
        note: str = "",
        progress: Progress | None = None,
    ) -> pl.DataFrame:
        """Make a release of the same models, calibrated on labels known since; it waits for promotion.

        Parameters
        ----------
        release : whose models, an id or `latest`; None: the champion.
        until : nothing that became known after it is used; None: the end of the ledger.
        weights : let the stack's weights follow these labels, too, where those known last are forecast better so.
        note : kept in the ledger with the release; empty: whose calibration it is.

        Returns
        -------
        One row for each rung and figure (`ece`, `brier`, `calibration_slope`): release, models_of, rung, verdict
        (`better`, `worse` or `no clear difference`, by the Brier score), figure, before, after (on labels known last,
        by a calibration on those known first; null where not defined), weights_moved (null where nobody asked).

        Raises
        ------
        TooFewNewLabelsError
            If fewer than 30 frauds or 30 legit events became known since.
        UnlabelledBaseError
            If the release was made without labels.
        UnknownReleaseError, NoChampionError
            If there is no such release.
        """
        from ringfence.scenario.clock import SystemClock
        from ringfence.steps.figures import recalibrated_frame
        from ringfence.steps.recalibrating import recalibrate_release

        base, made = recalibrate_release(
            self._here,
            self._scenario,
            clock=SystemClock(),
            release=release,
            until_ms=None if until is None else self._ms("until", until),
            weights=weights,
            note=note,
            progress=progress,
        )
        return recalibrated_frame(base, made)

    def export(self, directory: Path | str, release: str | None = None, *, events: int = 100) -> Exported:
        """Write a release for foreign runtimes: models as ONNX, all else as JSON, golden vectors, a page of NumPy.

        Parameters
        ----------
        directory : does not exist yet. Whole and verified, or not there at all.
        release : an id or `latest`; None: the champion.
        events : the last decided events that become golden vectors, >= 1.

        Returns
        -------
        folder (absolute), rungs, left_out (what cannot be exported, and why), n_golden, differences (by rung, the
        largest between its own page and this library).

        Raises
        ------
        ExportPlaceError
            If the folder holds something.
        UnknownReleaseError, NoChampionError
            If there is no such release.
        """
        from ringfence.steps.chosen import find_release
        from ringfence.training.onnx_export import export_onnx

        found = find_release(self._here, self._scenario, release)
        return export_onnx(self._ledger(), found, Path(directory).resolve(), n_events=events)

    def mirror(
        self,
        to: Path | str,
        release: str = "all",
        *,
        experiment: str | None = None,
        with_lookups: bool = False,
        with_cases: bool = False,
        progress: Progress | None = None,
    ) -> pl.DataFrame:
        """Copy releases to a tracking store of MLflow; those that are there, whole, are left as they are.

        Nothing is ever read back from it to decide anything. Where this loads MLflow, it is told to report nothing.

        Parameters
        ----------
        to : `http://…` or `https://…` (a server), `sqlite:///FILE`, or a folder; without user, password and query.
        release : an id, `latest`, `champion` or `all`.
        experiment : its name there; None: the scenario's.
        with_lookups : copy the tables of lookups as well, which may be large, or not yours to pass on.
        with_cases : copy the report as it is, with the single events that it shows.

        Returns
        -------
        In the order they were registered: release, run, outcome (`new`, `continued` or `there`), left_out. Of `all`,
        those whose bundle is no longer on disk are left out.

        Raises
        ------
        MissingExtraError
            If MLflow is not installed: `pip install 'ringfence[mlflow]'`.
        TrackingPlaceError
            If the address is none, or holds a secret.
        TrackingStoreError
            If the store refuses, fails or cannot be reached.
        UnknownReleaseError, NoChampionError
            If there is no such release.
        """
        import polars as pl

        from ringfence.steps.mirroring import mirror_releases

        found = mirror_releases(
            self._here,
            self._scenario,
            to=to,
            environment=self._environment,
            release=release,
            experiment=experiment,
            with_lookups=with_lookups,
            with_cases=with_cases,
            progress=None if progress is None else lambda done, total: progress("mirroring", done, total),
        )
        return pl.DataFrame(
            [(one.release, one.run, one.outcome, list(one.left_out)) for one in found.releases],
            schema={"release": pl.String, "run": pl.String, "outcome": pl.String, "left_out": pl.List(pl.String)},
            orient="row",
        )

    def study(
        self, name: str, *more: str, release: str | None = None, progress: Progress | None = None
    ) -> pl.DataFrame:
        """Ask what would have been, had a release been made another way: trees are fitted again and compared.

        Writes `studies.json` and `studies.html` below `reports/`, beside what was studied of the release before.

        Parameters
        ----------
        name, more : of studies, as `ringfence evaluate --study`; `all` for every one.
        release : an id or `latest`; None: the champion.

        Returns
        -------
        One row a figure of each way that was compared now: study, answer, variant (the first is what the others are
        held against), is_control, n, n_fraud, figure, value, low, high (95 % interval), gain, gain_low, gain_high (the
        first variant minus this one, paired; null for the first), seconds (of fitting; null where not timed). A study
        that had nothing to compare has one row, null from `variant` on.

        Raises
        ------
        UnknownStudyError
            If there is no such study.
        UnknownReleaseError, NoChampionError
            If there is no such release.
        """
        from ringfence.steps.figures import studies_frame
        from ringfence.steps.studying import study_release

        found = study_release(self._here, self._scenario, [name, *more], release=release, progress=progress or _silent)
        return studies_frame([study for study in found.found.studies if study.name in found.made])

    def _registry(self) -> Registry:
        from ringfence.rollout.registry import Registry

        return Registry.read(self._ledger())


def _silent(stage: str, done: int, total: int) -> None:
    pass
