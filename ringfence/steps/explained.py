# SPDX-License-Identifier: Apache-2.0
"""Explanations of decisions from Python, as one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ringfence.steps.open_scenario import OpenScenario

if TYPE_CHECKING:
    import polars as pl

    from ringfence.steps.explaining import Explained


class ExplainsDecisions(OpenScenario):
    """The part of an open workspace that says why."""

    def explain(self, *decisions: str) -> pl.DataFrame:
        """Say what the whole score of decisions is made of, and what it would be without its links and neighbours.

        One replay of the ledger up to the newest of the events, from a snapshot where there is one before the oldest.

        Parameters
        ----------
        decisions : their ids, such as "d-1042"; at least one.

        Returns
        -------
        decision_id; part, one of

            base       what the stack says where every member says its mean
            branch     a member of the stack: its weight times what it says above its mean
            feature    the ten largest exact TreeSHAP shares, whatever their sign
            link       an entity that the event names, what raises the score most first, at most ten
            neighbour  an earlier event that the networks looked at, likewise

        name (of the branch or feature; `type:id` of the entity; event id), roles (of a link, or seats of a neighbour),
        adds (log-odds; of a link or neighbour what the raw score would lose without it), score_without (calibrated;
        of the base the score itself), value (of a feature; of a neighbour the days before the event), event_seq and
        label (of a neighbour: as known then), sentence. Base and branches sum to the raw score.

        Raises
        ------
        UnknownDecisionError
            If an id is not on record.
        NotReproducedError
            If a decision's score does not come out of the ledger again.
        """
        from ringfence.steps.explaining import explain_decisions

        return as_frame(explain_decisions(self._here, self._scenario, decisions))


def as_frame(explained: Sequence[Explained]) -> pl.DataFrame:
    """Lay explanations out as one table; columns as in `ExplainsDecisions.explain`."""
    import polars as pl

    schema: dict[str, Any] = {
        "decision_id": pl.String,
        "part": pl.String,
        "name": pl.String,
        "roles": pl.List(pl.String),
        "adds": pl.Float64,
        "score_without": pl.Float64,
        "value": pl.Float64,
        "event_seq": pl.Int64,
        "label": pl.String,
        "sentence": pl.String,
    }
    rows = [{"decision_id": one.decision_id, **row} for one in explained for row in _rows(one)]
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def _rows(one: Explained) -> Iterator[dict[str, Any]]:
    told = one.explanation
    yield {"part": "base", "name": "base", "adds": told.base, "score_without": told.score}
    for share in told.branches:
        yield {"part": "branch", "name": share.branch, "adds": share.contribution}
    for reason in one.exact_reasons:
        found = {"adds": reason.contribution, "value": reason.value, "sentence": reason.sentence}
        yield {"part": "feature", "name": reason.feature, **found}
    for link in told.links:
        found = {"adds": -link.change, "score_without": link.score_without, "sentence": link.sentence}
        yield {"part": "link", "name": link.entity, "roles": link.roles, **found}
    for past in told.neighbours:
        yield {
            "part": "neighbour",
            "name": past.event_id,
            "roles": past.seats,
            "adds": -past.change,
            "score_without": past.score_without,
            "value": past.days_before,
            "event_seq": past.event_seq,
            "label": past.label,
            "sentence": past.sentence,
        }
