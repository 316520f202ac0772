# SPDX-License-Identifier: Apache-2.0
"""From a release and feature rows to answers: the one copy that serving, batch scoring and proofs share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.engine.neighbourhoods import empty_samples
from ringfence.ledger.records import Reason
from ringfence.models.calibration import Calibrator
from ringfence.models.ensemble import Done, Ensemble, untold
from ringfence.models.gnn_inputs import SampledArrays
from ringfence.models.seen import Seen
from ringfence.models.stack import Stack
from ringfence.policy.costs import ACTIONS, APPROVE
from ringfence.scoring.release import Release
from ringfence.scoring.without_model import without_model

FloatArray = NDArray[np.float64]

FULL: Final = "full"
GBDT: Final = "gbdt"
RULES: Final = "rules"


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of n events."""

    raw: FloatArray  # (n,) log-odds of the stack before calibration
    score: FloatArray  # (n,) calibrated probability of fraud
    members: dict[str, FloatArray]  # per member (n,), in [0, 1]: its own uncalibrated probability, or what is like one
    raws: dict[str, FloatArray]  # per member (n,), what these probabilities are made of
    encoded: FloatArray  # (n, n_features) what the models saw


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered for one event, and the circumstances that it takes to answer it again."""

    action: str
    score: float
    raw: float
    members: dict[str, float]
    reasons: tuple[Reason, ...]
    rung: str
    circumstances: dict[str, Any]
    propensity: float
    expected_costs: tuple[float, ...]  # in the order of `policy.ACTIONS`, inf where the action does not exist


class Scorer:
    """Scores, decides and explains with one release. Holds no state that a call changes.

    Attributes
    ----------
    rung : the highest one that the release's files allow: `full`; `gbdt` where a branch that the stack counts on is
        broken; `rules` where the trees are: the rules answer there, or the base rate where there are none.
    degraded : what keeps it from `full`; empty where nothing does.
    """

    def __init__(self, release: Release) -> None:
        self.release = release
        self._book = release.reason_book
        self._by_rung: dict[str, tuple[Ensemble, Calibrator]] = {}
        if "gbdt" not in release.broken:
            whole = release.ensemble
            if not set(release.broken) & set(whole.stack.members):
                self._by_rung[FULL] = whole, release.calibrator
            if release.has_trees:
                self._by_rung[GBDT] = _trees_of(whole), release.gbdt_calibrator
        self.rung = next(iter(self._by_rung), RULES)
        self.degraded = (
            "" if self.rung == FULL else ", ".join(f"{error.file} is broken" for error in release.broken.values())
        )

    @property
    def _assumed(self) -> dict[str, float]:
        return {} if self.release.has_trees else {"assumed_rate": self.base_rate}

    def warm_up(self) -> None:
        """Compile or load every kernel, so that the first event does not wait for it."""
        seen = self.blank(np.full((2, self.release.encoder.n_features), np.nan))
        for rung, (ensemble, _) in self._by_rung.items():
            ensemble.contributions(seen, self.score(seen, rung=rung).encoded)
        self.answer(seen, [None, None], reviews_left=1)

    def score(self, seen: Seen, *, rung: str | None = None, done: Done = untold) -> Scores:
        """Score events.

        Parameters
        ----------
        seen : n events, with whatever the branches of the stack read.
        rung : `full` or `gbdt`; None: the scorer's own.
        done : told each step as it ends.

        Returns
        -------
        Scores whose bits for a row do not depend on the rows beside it; with a network, by rounding below 1e-6.

        Raises
        ------
        ReleaseDamagedError
            If the files that this rung needs are broken.
        """
        asked = rung or self.rung
        if asked not in self._by_rung:
            raise next(iter(self.release.broken.values()))
        ensemble, calibrator = self._by_rung[asked]
        encoded = ensemble.encode(seen.rows)
        done("encode")
        members = ensemble.members(seen, encoded, done)
        raw = ensemble.stack.raw(members)
        scores = Scores(
            raw=raw,
            score=calibrator.apply(raw),
            members={name: ensemble.as_probability(name, found) for name, found in members.items()},
            raws=members,
            encoded=encoded,
        )
        done("stack")
        return scores

    def answer(
        self,
        seen: Seen,
        amounts_minor: Sequence[int | None],
        *,
        reviews_left: int | None,
        rung: str | None = None,
        why: str = "",
        done: Done = untold,
    ) -> list[Answer]:
        """Score, decide and give reasons for events in the order given.

        Parameters
        ----------
        seen : n events, with whatever the branches of the stack read.
        amounts_minor : length n; None where an event has no amount.
        reviews_left : reviews that may still be asked for, counted down event by event; None: no limit.
        rung : recorded, and what decides which actions are permitted; None: the highest that the release allows. What
            is wrong with the release is then told as the circumstance `degraded`.
        why : told as that circumstance where a `rung` is asked for because a higher one failed.
        done : told each step as it ends: `encode`, each model, `stack`, `policy`, `reasons`.

        Returns
        -------
        n answers; every one that is not an approval has at least three reasons, largest contribution first.
        """
        told_why = self.degraded if rung is None else why
        degraded = {"degraded": told_why} if told_why else {}
        rung = rung or self.rung
        if rung == RULES:
            return self.answer_without_model(
                amounts_minor, why=told_why, reviews_left=reviews_left, rows=seen.rows, done=done
            )
        scores = self.score(seen, rung=rung, done=done)
        ensemble, _ = self._by_rung[rung]
        policy = self.release.policy
        actions = policy.decide(scores.score, _amounts(amounts_minor), rung=rung, reviews_left=reviews_left)
        done("policy")
        told = np.flatnonzero(actions.codes != APPROVE)
        reasons: dict[int, tuple[Reason, ...]] = {}
        if told.shape[0]:
            raws = {name: found[told] for name, found in scores.raws.items()}
            looked_at, encoded = seen.part(told), scores.encoded[told]
            contributions, beside = ensemble.explained(looked_at, encoded, raws)
            spoken = _spoken(ensemble, looked_at, encoded)
            for place, (at, shares) in enumerate(zip(told.tolist(), contributions, strict=True)):
                minor = amounts_minor[at]
                amount = None if minor is None else minor / 10.0**policy.costs.digits
                others = {name: float(added[place]) for name, added in beside.items() if name not in ensemble.outspoken}
                reasons[at] = self._book.reasons(seen.rows[at], shares, others, spoken[place], amount=amount)
        done("reasons")
        circumstances = {"review_price": policy.review_price, **degraded, **self._assumed}
        segments = None if self.release.segmentation is None else self.release.segmentation.of(seen.rows).tolist()
        members = {name: found.tolist() for name, found in scores.members.items()}
        return [
            Answer(
                action=ACTIONS[code],
                score=score,
                raw=raw,
                members={name: found[at] for name, found in members.items()},
                reasons=reasons.get(at, ()),
                rung=rung,
                circumstances=circumstances | ({} if segments is None else {"segment": segments[at]}),
                propensity=1.0,
                expected_costs=tuple(costs),
            )
            for at, (code, score, raw, costs) in enumerate(
                zip(
                    actions.codes.tolist(),
                    scores.score.tolist(),
                    scores.raw.tolist(),
                    actions.expected_costs.tolist(),
                    strict=True,
                )
            )
        ]

    def answer_without_model(
        self,
        amounts_minor: Sequence[int | None],
        *,
        why: str,
        reviews_left: int | None,
        rows: FloatArray | None = None,
        done: Done = untold,
    ) -> list[Answer]:
        """Answer on the `rules` rung: from the rules, or from the base rate alone where there are none, or no features.

        Parameters
        ----------
        why : recorded as the circumstance `degraded`, and told as a reason.
        rows : shape (n, n_features), as the engine gives them; None where they are not there, or the rules failed on
            them. That the rules of a release could not be asked is told as the circumstance `without_rules`.
        done : told `rules` and `policy` as these steps end.
        """
        policy = self.release.policy
        found = without_model(self.release, len(amounts_minor), rows, base_rate=self.base_rate)
        done(RULES)
        actions = policy.decide(found.score, _amounts(amounts_minor), rung=RULES, reviews_left=reviews_left)
        done("policy")
        rules = self.release.rules
        without_rules = RULES in self.release.broken if rules is None else rows is None
        circumstances = {
            "review_price": policy.review_price,
            "degraded": why,
            **({"without_rules": True} if without_rules else {}),
            **self._assumed,
        }
        answers = []
        for at, (code, minor, costs) in enumerate(
            zip(actions.codes.tolist(), amounts_minor, actions.expected_costs.tolist(), strict=True)
        ):
            money = _at_stake(minor, policy.costs.currency, policy.costs.digits)
            answers.append(
                Answer(
                    action=ACTIONS[code],
                    score=float(found.score[at]),
                    raw=float(found.raw[at]),
                    members=found.members[at],
                    reasons=found.reasons(at, why, money) if code != APPROVE else (),
                    rung=RULES,
                    circumstances=dict(circumstances),
                    propensity=1.0,
                    expected_costs=tuple(costs),
                )
            )
        return answers

    def again(self, seen: Seen, amount_minor: int | None, circumstances: Mapping[str, Any]) -> Answer:
        """Answer one event again, under the circumstances that its decision recorded.

        Raises
        ------
        ReleaseDamagedError
            If the files that the recorded rung needs are broken.
        """
        rung, why = str(circumstances.get("rung", FULL)), str(circumstances.get("degraded", ""))
        left = circumstances.get("reviews_left")
        if circumstances.get("without_rules"):
            return self.answer_without_model([amount_minor], why=why, reviews_left=left)[0]
        return self.answer(seen, [amount_minor], reviews_left=left, rung=rung, why=why)[0]

    def act(self, score: float, amount_minor: int | None, *, reviews_left: int | None) -> str:
        """Name the action that the release's policy takes for a score of the scorer's own rung."""
        amounts, scores = _amounts([amount_minor]), np.array([score])
        actions = self.release.policy.decide(scores, amounts, rung=self.rung, reviews_left=reviews_left)
        return ACTIONS[actions.codes.item()]

    def blank(self, rows: FloatArray) -> Seen:
        """Return events of which nothing is known beside their rows, for warming up."""
        catalogue, near = self.release.catalogue, None
        if catalogue.neighbourhoods is not None:
            nothing = empty_samples(catalogue.plan, rows.shape[0])
            near = SampledArrays(nothing.events, nothing.mask, nothing.nodes)
        return Seen(rows, near, tuple([""] * rows.shape[0] for _ in self.release.scenario.read_texts))

    def explain(self, seen: Seen, *, rung: str | None = None) -> FloatArray:
        """Return exact contributions by TreeSHAP, shape (n, n_features), in log-odds. For after the answer.

        Parameters
        ----------
        rung : `full` or `gbdt`; None, or one that the release's files do not allow: the scorer's own.

        Raises
        ------
        ReleaseDamagedError
            If no model is left that could be asked.
        """
        if self.rung == RULES:
            raise next(iter(self.release.broken.values()))
        ensemble, _ = self._by_rung.get(rung or self.rung, self._by_rung[self.rung])
        return ensemble.contributions(seen, ensemble.encode(seen.rows), exact=True)

    def stack_of(self, rung: str) -> Stack:
        """Return the stack behind the score of a rung that has models: `full` or `gbdt`."""
        return self._by_rung[rung][0].stack

    @property
    def base_rate(self) -> float:
        """Rate of fraud among the events that calibrated the release, or the one that was assumed, in (0, 1)."""
        assumed = self.release.manifest.made.assumed_rate
        if assumed is not None:
            return assumed
        calibrator = self.release.calibrator
        return (calibrator.n_fraud + 1.0) / (calibrator.n_fraud + calibrator.n_legit + 2.0)


def _trees_of(whole: Ensemble) -> Ensemble:
    """Return the trees without what the stack counts on: a branch that failed or hung above must not do so again."""
    alone = whole.alone()
    told = {name: branch for name, branch in alone.branches.items() if whole.stack.weight_of(name) == 0.0}
    return replace(alone, branches=told)


def _spoken(ensemble: Ensemble, seen: Seen, encoded: FloatArray) -> list[list[Reason]]:
    """Let the branches that give reasons of their own say them, each as far as it counts."""
    found: list[list[Reason]] = [[] for _ in range(seen.n)]
    for name, branch in ensemble.outspoken.items():
        weight = ensemble.stack.weight_of(name)
        if weight > 0.0:
            for told, said in zip(found, branch.said(seen, encoded), strict=True):
                told += [Reason(code=one.code, sentence=one.sentence, contribution=weight * one.adds) for one in said]
    return found


def _amounts(amounts_minor: Sequence[int | None]) -> FloatArray:
    return np.array([np.nan if minor is None else float(minor) for minor in amounts_minor], dtype=np.float64)


def _at_stake(minor: int | None, currency: str, digits: int) -> str:
    return "The event has no amount" if minor is None else f"At stake: {minor / 10.0**digits:,.2f} {currency}"
