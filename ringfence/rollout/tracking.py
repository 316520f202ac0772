# SPDX-License-Identifier: Apache-2.0
"""A tracking store of MLflow as a copy of releases: written to, and asked for nothing but what is there already.

One release is one run. A run is known by the digest of its release, in a tag; a tag that says it is complete is set
last. So a release that was mirrored before is found again, and one that was interrupted is gone on with.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from ringfence.rollout.errors import TrackingStoreError
from ringfence.rollout.tracking_place import TrackingPlace

DIGEST: Final = "ringfence.digest"
RELEASE: Final = "ringfence.release"
COMPLETE: Final = "ringfence.complete"
_MOST_METRICS: Final = 1_000  # of one request, by MLflow's own bound
_MOST_PARAMS: Final = 100
_CODE: Final = re.compile(r"[A-Z][A-Z_]{2,60}")
_AGAIN: Final = "then mirror again, which goes on where it stopped"

T = TypeVar("T")


class Measured(NamedTuple):
    """One figure; a curve has several of a name."""

    name: str
    value: float  # finite
    step: int = 0


class Run(NamedTuple):
    """A run as the store holds it."""

    id: str
    tags: dict[str, str]
    params: frozenset[str]  # names
    metrics: frozenset[str]

    @property
    def is_complete(self) -> bool:
        return COMPLETE in self.tags


def quieten_tracking(environment: MutableMapping[str, str]) -> None:
    """Set what MLflow reads when it is loaded: that it tells its makers nothing, and keeps to its business.

    Retries and timeouts that somebody has set stay as they are.
    """
    environment.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    environment["MLFLOW_ALLOW_FILE_STORE"] = "true"  # a folder as a store: refused since 3.17 unless this is set
    environment["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # stdout is the command's own
    environment.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    environment.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    environment.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # 7 with growing pauses: minutes without a word
    environment.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")


class TrackingStore:
    """One experiment of a tracking store; made there if it does not exist.

    Every method raises `TrackingStoreError` where the store refuses, fails or cannot be reached.

    Parameters
    ----------
    place : where it lies.
    experiment : its name.
    environment : of this process, in which `quieten_tracking` sets what MLflow is to know before it is loaded.
    """

    def __init__(self, place: TrackingPlace, experiment: str, environment: MutableMapping[str, str]) -> None:
        quieten_tracking(environment)
        self.place, self.experiment = place, experiment
        self._client: Any = self._ask("opening it", partial(_client, place.uri))
        self._experiment = self._ask(f"experiment {experiment!r}", self._found_or_made)

    def runs(self) -> dict[str, Run]:
        """Return the runs of releases by digest. Of two of one digest, the complete one; else the one found first."""
        found: dict[str, Run] = {}
        token = None
        while True:
            page = self._ask("looking for what is there", partial(self._search, token))
            for run in page:
                data = run.data
                there = Run(run.info.run_id, dict(data.tags), frozenset(data.params), frozenset(data.metrics))
                digest = there.tags.get(DIGEST, "")
                before = found.get(digest)
                if digest and (before is None or (there.is_complete and not before.is_complete)):
                    found[digest] = there
            token = page.token
            if not token:
                return found

    def begin(self, name: str, tags: Mapping[str, str], *, at_ms: int) -> Run:
        """Make a run, not complete yet. `tags` hold the digest that it is found by."""
        made = self._ask(
            f"making a run for {name}",
            partial(self._client.create_run, self._experiment, start_time=at_ms, run_name=name, tags=dict(tags)),
        )
        return Run(made.info.run_id, dict(tags), frozenset(), frozenset())

    def reopen(self, run: Run, tags: Mapping[str, str]) -> None:
        """Take back that a run is complete, if it says so, since there is more to come; and set tags."""
        if run.is_complete:
            self._ask("opening a run again", partial(self._client.delete_tag, run.id, COMPLETE))
        self.tag(run, tags)

    def log(self, run: Run, params: Mapping[str, str], metrics: Sequence[Measured], *, at_ms: int) -> None:
        """Add the params, metrics and steps of curves that the run does not hold."""
        from mlflow.entities import Metric, Param

        new = [Param(name, value) for name, value in sorted(params.items()) if name not in run.params]
        for first in range(0, len(new), _MOST_PARAMS):
            some = new[first : first + _MOST_PARAMS]
            self._ask("writing params", partial(self._client.log_batch, run.id, params=some))
        n_steps = Counter(one.name for one in metrics)
        there = {name: self._steps(run, name) for name, n in n_steps.items() if n > 1 and name in run.metrics}
        waiting = [
            Metric(one.name, one.value, at_ms, one.step)
            for one in metrics
            if one.name not in run.metrics or one.step not in there.get(one.name, {one.step})
        ]
        for first in range(0, len(waiting), _MOST_METRICS):
            written = waiting[first : first + _MOST_METRICS]
            self._ask("writing metrics", partial(self._client.log_batch, run.id, metrics=written))

    def upload(self, run: Run, folder: Path) -> None:
        """Copy the files of a folder, and of those in it, to the run; those of the same names are replaced."""
        self._ask("writing files", partial(self._client.log_artifacts, run.id, str(folder)))

    def finish(self, run: Run, tags: Mapping[str, str], *, at_ms: int) -> None:
        """Set tags, end the run, and say last that it is complete."""
        self.tag(run, tags)
        self._ask("ending a run", partial(self._client.set_terminated, run.id, "FINISHED", at_ms))
        self.tag(run, {COMPLETE: "true"})

    def tag(self, run: Run, tags: Mapping[str, str]) -> None:
        """Set the tags that differ from what the run was found with."""
        for name, value in tags.items():
            if run.tags.get(name) != value or name == COMPLETE:
                self._ask("writing tags", partial(self._client.set_tag, run.id, name, value))

    def _found_or_made(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            made: str = self._client.create_experiment(self.experiment, artifact_location=self.place.artifacts)
            return made
        if found.lifecycle_stage != "active":
            raise TrackingStoreError(
                self.place.uri,
                f"experiment {self.experiment!r}",
                "it was deleted there",
                "restore it, or name another one with --experiment",
            )
        there: str = found.experiment_id
        return there

    def _search(self, token: str | None) -> Any:
        return self._client.search_runs(
            [self._experiment], f"tags.`{RELEASE}` LIKE 'r-%'", max_results=1_000, page_token=token
        )

    def _steps(self, run: Run, name: str) -> set[int]:
        history = self._ask("looking for what is there", partial(self._client.get_metric_history, run.id, name))
        return {metric.step for metric in history}

    def _ask(self, doing: str, call: Callable[[], T]) -> T:
        failed: Exception
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what MLflow's makers are warned of is not for who mirrors a release
                return call()
        except TrackingStoreError:
            raise
        except Exception as error:  # MLflow's own, and those of requests, SQLAlchemy, boto3, ... below it
            failed = error
        found, do = _told(failed)
        # Not `from failed`: messages below repeat addresses, and what a server answered.
        raise TrackingStoreError(self.place.uri, doing, found, do) from None


def _client(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _told(error: BaseException) -> tuple[str, str]:
    """Say what was found and what to do, in words of our own."""
    chain = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or one.__context__
    names = {cause.__name__ for one in chain for cause in type(one).__mro__}
    codes = {str(getattr(one, "error_code", "")) for one in chain}
    refused = {"UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"} & codes
    if refused:
        return (
            f"it refused ({min(refused)})",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to those of somebody "
            f"who may write there, {_AGAIN}",
        )
    if names & {"ConnectionError", "Timeout", "ConnectTimeoutError", "ReadTimeoutError"}:
        return "no answer", f"see that it runs and that the address is right, {_AGAIN}"
    for one in chain:
        if isinstance(one, ModuleNotFoundError) and one.name:
            return f"it needs the package {one.name}, which is not installed", f"install it, {_AGAIN}"
        if isinstance(one, OSError) and one.strerror:
            return one.strerror, f"mend that, {_AGAIN}"
    code = next((code for code in codes if _CODE.fullmatch(code)), "")
    kind = type(error).__name__
    return f"{kind} ({code})" if code else kind, f"look into its log, mend what it says, {_AGAIN}"
