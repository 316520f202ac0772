# SPDX-License-Identifier: Apache-2.0
"""Which branches a training tries beside the trees, why not the others, and what it takes to show events to them.

A branch is tried where it can be learnt; whether it has a part in the score, the stack decides. What it takes that is
not there (a library, frauds, roles, disk) is told in card, report and `metrics.json`, and is no error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringfence.engine.catalogue import Catalogue
from ringfence.engine.replay import BatchSource
from ringfence.engine.rule_features import rule_features
from ringfence.engine.stats import EVENT
from ringfence.models.branch import Need
from ringfence.models.branches import ANOMALY, LINEAR, RULES, SEQUENCE, STORED, TEXT
from ringfence.models.gnn_branch import GNN
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.models.seen import Seen, Texts
from ringfence.training.anomalies import AnomalyLearner
from ringfence.training.errors import MissingExtraError, UnknownBranchError
from ringfence.training.examples import Examples
from ringfence.training.gnn_learner import GnnLearner
from ringfence.training.learner import Learner
from ringfence.training.linear import LinearLearner
from ringfence.training.rules import RulesLearner
from ringfence.training.samples import Samples, sampled, sampling_catalogue
from ringfence.training.sequence import (
    FEWEST_EVENTS,
    median_lengths,
    sequence_options,
    sequence_roles,
    why_no_sequence,
)
from ringfence.training.texts import TextLearner

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Report = Callable[[str, int, int], None]  # stage, done, total

FEWEST_FRAUDS: Final = 100  # fewer teach a network nothing that it does not forget in the next block
FEWEST_ROLES: Final = 2  # with one, an entity's own past is all there is, and the feature row tells it
ASKED: Final = "left out, as asked"


@dataclass(frozen=True)
class Given:
    """What a training has."""

    source: BatchSource
    catalogue: Catalogue
    examples: Examples
    texts: Texts  # of its events, the examples first

    @cached_property
    def lengths(self) -> dict[str, float]:
        """Events of the median entity of each role that is a sequence."""
        if not sequence_roles(self.catalogue.scenario):
            return {}
        return median_lengths(self.source, sampling_catalogue(self.catalogue), until_seq=self.examples.until_seq)


class Offer(NamedTuple):
    """A branch that a training can try."""

    name: str
    needs: frozenset[Need]
    why_not: Callable[[Given], str]  # empty: it can be learnt
    learner: Callable[[Given, Samples | None, Report], Learner]


def _why_no_linear_model(given: Given) -> str:
    held = given.catalogue.scenario.monotone
    return "it knows no direction, and the scenario holds features to one (`monotone`)" if held else ""


def _why_no_gnn(given: Given) -> str:
    roles = given.catalogue.scenario.decided.roles
    if len(roles) < FEWEST_ROLES:
        return f"no network of events: {len(roles)} role of {FEWEST_ROLES}"
    return _why_no_network(given)


def _why_no_network(given: Given) -> str:
    if given.examples.n_fraud < FEWEST_FRAUDS:
        return f"{given.examples.n_fraud} frauds known, it takes {FEWEST_FRAUDS}"
    missing = [library for library in ("torch", "onnx") if find_spec(library) is None]
    return str(MissingExtraError(missing[0], "gnn")) if missing else ""


def _linear_model(given: Given, samples: Samples | None, report: Report) -> Learner:
    return LinearLearner([feature.family for feature in given.catalogue.features], own=EVENT)


def _graph_network(given: Given, samples: Samples | None, report: Report) -> Learner:
    assert samples is not None, "what it needs is there"
    return GnnLearner(samples, report=lambda done, total: report("networks", done, total))


def _sequence_model(given: Given, samples: Samples | None, report: Report) -> Learner:
    assert samples is not None, "what it needs is there"
    roles = [role for role, length in given.lengths.items() if length >= FEWEST_EVENTS]
    options = sequence_options(given.examples.n_fraud, roles)
    return GnnLearner(
        samples, name=SEQUENCE, options=options, report=lambda done, total: report("sequences", done, total)
    )


def _rules(given: Given, samples: Samples | None, report: Report) -> Learner:
    features = given.catalogue.features
    return RulesLearner(given.catalogue.scenario.rules, rule_features(features), len(features))


OFFERS: Final = (
    Offer(LINEAR, frozenset(), _why_no_linear_model, _linear_model),
    Offer(ANOMALY, frozenset(), lambda given: "", lambda given, samples, report: AnomalyLearner()),
    Offer(GNN, frozenset({Need.NEIGHBOURHOODS}), _why_no_gnn, _graph_network),
    Offer(
        SEQUENCE,
        frozenset({Need.NEIGHBOURHOODS}),
        lambda given: why_no_sequence(given.lengths) or _why_no_network(given),
        _sequence_model,
    ),
    Offer(
        TEXT,
        frozenset({Need.TEXTS}),
        lambda given: "" if given.texts else "no text that models may read",
        lambda given, samples, report: TextLearner(given.texts),
    ),
    Offer(
        RULES,
        frozenset(),
        lambda given: "" if given.catalogue.scenario.rules else "no rules in ringfence.yaml",
        _rules,
    ),
)


class Beside(NamedTuple):
    """What is tried beside the trees, and what it is shown."""

    learners: tuple[Learner, ...]
    left_out: dict[str, str]  # branch -> why it is not tried
    rows: FloatArray  # (n, n_features) of the events of the training, examples first
    samples: Samples | None
    texts: Texts = ()

    def shown(self, positions: IntArray, needs: Collection[Need]) -> Iterator[Seen]:
        """Yield ascending `positions`, a block at a time, with what `needs` names as far as it is there."""
        texts = self.texts if Need.TEXTS in needs else ()
        if Need.NEIGHBOURHOODS not in needs or self.samples is None:
            yield Seen(self.rows, texts=texts).part(positions)
            return
        for part, neighbourhoods in self.samples.blocks(positions):
            yield Seen(self.rows, texts=texts).part(part)._replace(neighbourhoods=neighbourhoods)

    def seen(self, positions: IntArray, needs: Collection[Need]) -> Seen:
        """Return a few events, in the order of `positions`; those that are not on disk take a replay."""
        ascending, back = np.unique(positions, return_inverse=True)
        parts = list(self.shown(ascending, needs))
        rows = np.concatenate([part.rows for part in parts])
        near = [part.neighbourhoods for part in parts if part.neighbourhoods is not None]
        joined = (
            SampledArrays(
                np.concatenate([one.events for one in near]),
                np.concatenate([one.mask for one in near]),
                np.concatenate([one.nodes for one in near]),
            )
            if near
            else None
        )
        texts = tuple(
            [text for part in column for text in part] for column in zip(*(one.texts for one in parts), strict=True)
        )
        return Seen(rows, joined, texts).part(back)


@contextmanager
def beside_trees(
    source: BatchSource,
    catalogue: Catalogue,
    seqs: IntArray,
    examples: Examples,
    rows: FloatArray,
    *,
    brought: Sequence[Learner] = (),
    texts: Texts = (),
    without: Collection[str] = (),
    folder: Path | None = None,
    seed: int = 0,
    report: Report,
) -> Iterator[Beside]:
    """Choose the branches that a training tries, and hold what they need until its end.

    Parameters
    ----------
    seqs, rows, texts : of the n events of the training; the first of them are the examples.
    brought : networks that were trained elsewhere, tried last.
    without : names of branches that are not to be tried.
    folder : where neighbourhoods may be written meanwhile; None: nowhere, and branches that read them are left out.
    report : called with (stage, done, total).

    Raises
    ------
    UnknownBranchError
        If `without` names a branch that does not exist.
    """
    known = (*STORED, *(learner.name for learner in brought))
    for name in without:
        if name not in known:
            raise UnknownBranchError(name, known)
    given = Given(source, catalogue, examples, texts)
    left_out: dict[str, str] = {}
    for offer in OFFERS:
        why = ASKED if offer.name in without else offer.why_not(given)
        if not why and folder is None and Need.NEIGHBOURHOODS in offer.needs:
            why = "no place to sample neighbourhoods to"
        if why:
            left_out[offer.name] = why
    tried = [offer for offer in OFFERS if offer.name not in left_out]
    with ExitStack() as held:
        samples = None
        if folder is not None and any(Need.NEIGHBOURHOODS in offer.needs for offer in tried):
            try:
                samples = held.enter_context(
                    sampled(
                        source,
                        catalogue,
                        seqs,
                        examples.fraud,
                        folder,
                        seed=seed,
                        progress=lambda done, total: report("sampling", done, total),
                    )
                )
            except OSError as error:
                why = f"neighbourhoods cannot be written to {folder} ({error.strerror})"
                left_out |= {offer.name: why for offer in tried if Need.NEIGHBOURHOODS in offer.needs}
        learners = [offer.learner(given, samples, report) for offer in OFFERS if offer.name not in left_out]
        learners += [learner for learner in brought if learner.name not in without]
        yield Beside(tuple(learners), left_out, rows, samples, texts)
