# SPDX-License-Identifier: Apache-2.0
"""Neighbourhoods: whom chosen events had to do with before, as arrays on disk, for networks of one's own.

event at hand -- seat --> entity -- its last K events --> event -- its other entities, aggregated
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.drawing import drawn_examples
from ringfence.engine.errors import SampleFilesError, UnknownFeatureError
from ringfence.engine.sample_features import EVENT_FEATURES, SEAT_FEATURES, SampleFeature
from ringfence.engine.sample_files import MOST_BYTES, SampleFiles, sampled_rows
from ringfence.ledger.ledger import Ledger
from ringfence.steps.errors import ChosenEventsError
from ringfence.steps.events import decided_events

if TYPE_CHECKING:
    from ringfence.scenario.spec import Scenario
    from ringfence.workspace import Workspace


class NeighbourhoodChunk(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the events: n of them, S seats, K sampled events a seat, newest first. Arrays are mapped, and read-only.

    What a sampled event shows of its label (columns `is_known` and `is_fraud` of `events`) was known before the event
    at hand. `truth_now` was not: it is what to learn, and no input.
    """

    seq: NDArray[np.int64]  # (n,) of the events at hand, ascending
    events: NDArray[np.float32]  # (n, S, K, F) the sampled events, their entities one hop further in `others_…`
    mask: NDArray[np.bool_]  # (n, S, K) an event was sampled here; zeros where not
    nodes: NDArray[np.float32]  # (n, S, G) the entities in the seats
    rows: NDArray[np.float64]  # (n, features) the feature rows, NaN where missing
    truth_now: NDArray[np.float64]  # (n,) 1 fraud, 0 legit by the label that stands now, NaN while there is none
    event_seq: NDArray[np.int64] | None = None  # (n, S, K) of the sampled events, where references were asked for
    event_time_ms: NDArray[np.int64] | None = None  # (n, S, K) likewise

    def __len__(self) -> int:
        return int(self.seq.shape[0])


class WrittenNeighbourhoods:
    """Neighbourhoods on disk, and the names of their axes. Iterating reads them chunk by chunk, in order of seq.

    Parameters
    ----------
    files : as `sampled_rows` wrote them.
    events : the events at hand, in order, as `OpenWorkspace.events` has them: what is true now.
    """

    def __init__(self, files: SampleFiles, events: pl.DataFrame) -> None:
        self._files = files
        self.events = events

    @property
    def directory(self) -> Path:
        return self._files.directory

    @property
    def seats(self) -> tuple[str, ...]:
        """Axis S: roles, such as `claimant`, or `witness.1` and `witness.2` where a role holds many."""
        return self._files.manifest.seats

    @property
    def last(self) -> int:
        """The length of axis K."""
        return self._files.manifest.shapes["mask"][1]

    @property
    def event_columns(self) -> tuple[SampleFeature, ...]:
        """Axis F of `events`: names, units, sentences."""
        return EVENT_FEATURES

    @property
    def seat_columns(self) -> tuple[SampleFeature, ...]:
        """Axis G of `nodes`: names, units, sentences."""
        return SEAT_FEATURES

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Columns of `rows`; empty where none were asked for."""
        return self._files.manifest.features

    @property
    def nbytes(self) -> int:
        """What all of it takes on disk, in bytes."""
        return sum(file.stat().st_size for file in self.directory.iterdir())

    def event_column(self, name: str) -> int:
        """Return the place of a column of `events` on its last axis, such as `gap`.

        Raises
        ------
        UnknownFeatureError
            If there is none of that name.
        """
        return _place(name, "column of a sampled event", self.event_columns)

    def seat_column(self, name: str) -> int:
        """Return the place of a column of `nodes` on its last axis, such as `frauds`; errors as in `event_column`."""
        return _place(name, "column of a seat", self.seat_columns)

    def columns(self) -> pl.DataFrame:
        """Return what each column means: array (`events` or `nodes`), column, name, unit, sentence, missing."""
        rows = [
            (array, feature.column, feature.name, feature.unit, feature.sentence, feature.missing)
            for array, features in (("events", self.event_columns), ("nodes", self.seat_columns))
            for feature in features
        ]
        names = ("array", "column", "name", "unit", "sentence", "missing")
        return pl.DataFrame(rows, schema=names, orient="row")

    def __len__(self) -> int:
        return len(self._files)

    @property
    def n_chunks(self) -> int:
        return self._files.n_chunks

    def chunk(self, number: int) -> NeighbourhoodChunk:
        """Map one chunk, 0 <= `number` < `n_chunks`; of at most 8,192 events.

        Raises
        ------
        SampleFilesError
            If a file is missing or damaged.
        """
        found = self._files.chunk(number)
        at, manifest = number * self._files.manifest.chunk_events, self._files.manifest
        truth = self.events["is_fraud"][at : at + len(found.rows)].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        samples = found.neighbourhoods
        return NeighbourhoodChunk(
            seq=samples.seq,
            events=samples.events,
            mask=samples.mask,
            nodes=samples.nodes,
            rows=found.rows,
            truth_now=truth,
            event_seq=samples.event_seq if manifest.with_references else None,
            event_time_ms=samples.event_time_ms if manifest.with_references else None,
        )

    def __iter__(self) -> Iterator[NeighbourhoodChunk]:
        return (self.chunk(number) for number in range(self.n_chunks))

    def flat(self, number: int) -> pl.DataFrame:
        """Return the sampled events of a chunk as a table, one row each, empty slots left out.

        Returns
        -------
        seq (of the event at hand), seat, back (0: the newest), then the columns of a sampled event.
        """
        found = self.chunk(number)
        event, seat, back = np.nonzero(found.mask)
        taken = found.events[event, seat, back]
        return pl.DataFrame(
            {
                "seq": found.seq[event],
                "seat": pl.Series([self.seats[s] for s in range(len(self.seats))], dtype=pl.String)[seat],
                "back": back,
                **{feature.name: taken[:, feature.column] for feature in self.event_columns},
            }
        )


def write_neighbourhoods(
    here: Workspace,
    scenario: Scenario,
    directory: Path,
    *,
    events: Any = None,
    negatives_per_fraud: float | None = None,
    seed: int = 0,
    last: int = 16,
    only: Collection[str] | None = None,
    with_references: bool = False,
    most_bytes: int = MOST_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> WrittenNeighbourhoods:
    """Sample the neighbourhoods of chosen events in one read-only replay, each as of its own seq, and write them.

    Parameters and errors as in `OpenWorkspace.neighbourhoods`.
    """
    catalogue = Catalogue.build(scenario, only=only, neighbourhoods=last)
    ledger = Ledger.open(here.ledger_dir(scenario), scenario)
    every = decided_events(ledger)
    if events is not None:
        if negatives_per_fraud is not None:
            raise ChosenEventsError(
                "events that are chosen and drawn", repr(negatives_per_fraud), "leave out `negatives_per_fraud`"
            )
        chosen = _chosen(every, events)
    else:
        chosen = every.filter(pl.col("is_fraud").is_not_null())
        if not chosen.height:
            do = "import labels, or name `events`"
            raise ChosenEventsError("no event to sample", f"{every.height:,} events, none labelled", do)
        if negatives_per_fraud is not None:
            chosen = _drawn(chosen, negatives_per_fraud, seed)
    files = sampled_rows(
        ledger,
        catalogue,
        chosen["seq"].to_numpy(),
        directory,
        with_references=with_references,
        most_bytes=most_bytes,
        progress=progress,
    )
    return WrittenNeighbourhoods(files, chosen)


def read_neighbourhoods(here: Workspace, scenario: Scenario, directory: Path) -> WrittenNeighbourhoods:
    """Open what `write_neighbourhoods` wrote; `truth_now` is what the ledger says now, not what it said then.

    Raises
    ------
    SampleFilesError
        If the directory is not complete, was written for another scenario, or holds events that the ledger lacks.
    """
    manifest = SampleFiles.open(directory).manifest
    try:
        catalogue = Catalogue.build(scenario, only=manifest.features, neighbourhoods=manifest.shapes["mask"][1])
    except UnknownFeatureError as error:
        reason, do = f"it holds a feature that the scenario has no more ({error.found})", "write the samples again"
        raise SampleFilesError(path=directory, reason=reason, do=do) from error
    files = SampleFiles.open(directory, catalogue)
    parts = [files.chunk(number).neighbourhoods.seq for number in range(files.n_chunks)]
    seqs = pl.DataFrame({"seq": np.concatenate([np.zeros(0, np.int64), *parts])})
    every = decided_events(Ledger.open(here.ledger_dir(scenario), scenario))
    found = seqs.join(every, on="seq", how="left", maintain_order="left")
    if n_lacking := found["event_id"].null_count():
        reason = f"{n_lacking:,} of its {seqs.height:,} events are not in the ledger"
        raise SampleFilesError(path=directory, reason=reason, do="open it in the workspace that wrote it")
    return WrittenNeighbourhoods(files, found)


def _chosen(every: pl.DataFrame, events: Any) -> pl.DataFrame:
    """Take the events of those ids or seqs, in order of seq."""
    asked = pl.Series("asked", events, strict=False)
    if asked.is_empty() or asked.null_count():
        found = "none" if asked.is_empty() else f"{asked.null_count():,} of {len(asked):,} are null"
        raise ChosenEventsError("no event to sample", found, "name at least one, each by its id or seq")
    if asked.dtype.is_integer():
        key = "seq"
    elif asked.dtype == pl.String:
        key = "event_id"
    else:
        raise ChosenEventsError(
            "events that are neither ids nor seqs", str(asked.dtype), 'pass a column of `events()`, "event_id" or "seq"'
        )
    if not (twice := asked.filter(asked.is_duplicated())).is_empty():
        raise ChosenEventsError("an event that is named twice", repr(twice[0]), "name each once")
    if not (unknown := asked.filter(~asked.is_in(every[key].implode()))).is_empty():
        do = f"take {'ids' if key == 'event_id' else 'seqs'} from `events()`; only events of the decided type have one"
        raise ChosenEventsError(f"{len(unknown):,} events that the ledger does not hold", repr(unknown[0]), do)
    return every.filter(pl.col(key).is_in(asked.implode()))


def _drawn(labelled: pl.DataFrame, negatives_per_fraud: float, seed: int) -> pl.DataFrame:
    """Keep the frauds, and so many of the others for each."""
    if not negatives_per_fraud > 0:
        raise ChosenEventsError("a share that draws nothing", repr(negatives_per_fraud), "write a number above 0")
    drawn = drawn_examples(
        labelled["seq"].to_numpy(),
        labelled["is_fraud"].cast(pl.Int8).to_numpy(),
        negatives_per_fraud=negatives_per_fraud,
        generator=np.random.default_rng(seed),
    )
    return labelled.filter(pl.col("seq").is_in(drawn.seq.tolist()))


def _place(name: str, what: str, features: tuple[SampleFeature, ...]) -> int:
    for feature in features:
        if feature.name == name:
            return feature.column
    raise UnknownFeatureError(what=what, found=name, known=tuple(feature.name for feature in features))
