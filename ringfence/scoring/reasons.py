# SPDX-License-Identifier: Apache-2.0
"""Why a score is what it is: contributions of features, told by family and role."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ringfence.ledger.records import Reason
from ringfence.models.branches import STORED
from ringfence.scoring.sentences import FeatureText, say

FloatArray = NDArray[np.float64]

FEWEST: Final = 3  # reasons on every answer that is not an approval
MOST: Final = 5
AMOUNT_AT_STAKE: Final = "AMOUNT_AT_STAKE"
NO_MODEL: Final = "NO_MODEL"
BASE_RATE: Final = "BASE_RATE"
NEIGHBOURHOOD: Final = "NEIGHBOURHOOD"
HISTORY: Final = "HISTORY"
TEXT: Final = "TEXT"  # no word of it: a reason is read by more people than a narrative
RULES: Final = "RULES"
# Of branches that are not made of features: their reason code, and what is said of all that they add.
BRANCHES: Final[dict[str, tuple[str, str]]] = {
    "gnn": (NEIGHBOURHOOD, "What is known of the events around its {roles} (graph network)"),
    "sequence": (HISTORY, "What went before, event by event (sequence model)"),
    "text": (TEXT, "What its texts say is like what confirmed frauds said"),
    "rules": (RULES, "The rules that hold for it"),
}
WHOLE: Final = {code: name for name, (code, _) in BRANCHES.items()}  # reason code -> branch
_MOST_ROLES: Final = 4


class CatalogueFeature(Protocol):
    """What is read of a feature of `engine.catalogue`."""

    @property
    def name(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def sentence(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def role(self) -> str | None: ...
    @property
    def pair(self) -> tuple[str, str] | None: ...


def feature_texts(features: Sequence[CatalogueFeature]) -> tuple[FeatureText, ...]:
    """Take from the catalogue what reasons need; a release pins it."""
    return tuple(
        FeatureText(
            name=feature.name,
            group=feature.group,
            sentence=feature.sentence,
            unit=feature.unit,
            roles=feature.pair or ((feature.role,) if feature.role else ()),
        )
        for feature in features
    )


def branch_sentence(name: str, roles: Sequence[str]) -> str:
    """Say what a branch looks at, in the words of a scenario's roles."""
    named = [role.replace("_", " ") for role in roles]
    if len(named) > _MOST_ROLES:
        named = [*named[: _MOST_ROLES - 1], "others"]
    told = f"{', '.join(named[:-1])} and {named[-1]}" if len(named) > 1 else "".join(named)
    title = STORED[name].title if name in STORED else name
    return BRANCHES.get(name, ("", f"What {title} says"))[1].format(roles=told)


class ReasonBook:
    """Turns contributions of one row into reasons.

    A group is a family in one role or pair (`velocity:claimant`): its contribution is the sum over its features, its
    sentence that of the feature that adds most. Audit-only and personal attributes are no features, so that no reason
    can name them. A branch that is not made of features is one reason for all that it adds.

    Parameters
    ----------
    roles : of the decided events, in whose words branches are told.
    """

    def __init__(self, features: Sequence[FeatureText], *, roles: Sequence[str] = (), currency: str = "") -> None:
        self.roles = tuple(roles)
        self.features = tuple(features)
        self.currency = currency
        self.groups = tuple(dict.fromkeys(feature.group for feature in self.features))
        at = {group: index for index, group in enumerate(self.groups)}
        self._group_of = np.array([at[feature.group] for feature in self.features], dtype=np.int64)

    @property
    def codes(self) -> tuple[str, ...]:
        """Every code that a group can give, in the order of `groups`."""
        return tuple(code_of(group) for group in self.groups)

    @cached_property
    def family_of(self) -> NDArray[np.int64]:
        """Return, per group, the position of its family in `families`."""
        return np.array([self.families.index(_family(group)) for group in self.groups], dtype=np.int64)

    @cached_property
    def families(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_family(group) for group in self.groups))

    def by_group(self, contributions: FloatArray) -> FloatArray:
        """Sum contributions (n, n_features) into (n, n_groups)."""
        summed = np.zeros((contributions.shape[0], len(self.groups)))
        for column, group in enumerate(self._group_of.tolist()):
            summed[:, group] += contributions[:, column]
        return summed

    def by_family(self, contributions: FloatArray) -> FloatArray:
        """Sum contributions (n, n_features) into (n, n_families)."""
        summed = np.zeros((contributions.shape[0], len(self.families)))
        groups = self.by_group(contributions)
        for group, family in enumerate(self.family_of.tolist()):
            summed[:, family] += groups[:, group]
        return summed

    def reasons(
        self,
        row: FloatArray,
        contributions: FloatArray,
        beside: Mapping[str, float] | None = None,
        said: Sequence[Reason] = (),
        *,
        amount: float | None = None,
    ) -> tuple[Reason, ...]:
        """Return the reasons of one row, largest contribution first.

        Parameters
        ----------
        row : shape (n_features,), as the engine gives it.
        contributions : shape (n_features,), log-odds.
        beside : likewise, of each branch that is not made of features.
        said : reasons that branches give themselves.
        amount : major units; None where the event has none.

        Returns
        -------
        `FEWEST` to `MOST` reasons: groups that raise the score; where those are too few, further features that raise
        it, then the amount at stake, then what lowers the score, said as such. Fewer only where there are fewer
        features.
        """
        totals = np.bincount(self._group_of, weights=contributions, minlength=len(self.groups))
        told: list[Reason] = []
        spoken: set[int] = set()
        for group in np.argsort(-totals, kind="stable").tolist()[:MOST]:
            if totals[group] <= 0.0:
                break
            columns = np.flatnonzero(self._group_of == group)
            column = int(columns[np.argmax(contributions[columns])])
            spoken.add(column)
            told.append(self._reason(self.groups[group], column, row, float(totals[group])))
        told += [self.branch_reason(name, added) for name, added in (beside or {}).items() if added > 0.0]
        told += [reason for reason in said if reason.contribution > 0.0]
        told = sorted(told, key=lambda reason: -reason.contribution)[:MOST]
        if len(told) >= FEWEST:
            return tuple(told)
        order = [column for column in np.argsort(-contributions, kind="stable").tolist() if column not in spoken]
        rising = [column for column in order if contributions[column] > 0.0]
        for column in rising[: FEWEST - len(told)]:
            told.append(self._reason(self.features[column].group, column, row, float(contributions[column])))
        told.sort(key=lambda reason: -reason.contribution)
        if len(told) < FEWEST and amount is not None:
            money = f"{amount:,.2f} {self.currency}".rstrip()
            told.append(Reason(code=AMOUNT_AT_STAKE, sentence=f"At stake: {money}", contribution=0.0))
        for column in order[len(rising) :][: FEWEST - len(told)]:
            reason = self._reason(self.features[column].group, column, row, float(contributions[column]))
            sentence = f"{reason.sentence} (does not raise the score)"
            told.append(Reason(code=reason.code, sentence=sentence, contribution=reason.contribution))
        return tuple(told)

    def branch_reason(self, name: str, contribution: float) -> Reason:
        """Return the reason of a branch that is not made of features."""
        code = BRANCHES.get(name, (code_of(name), ""))[0]
        return Reason(code=code, sentence=branch_sentence(name, self.roles), contribution=contribution)

    def _reason(self, group: str, column: int, row: FloatArray, contribution: float) -> Reason:
        feature = self.features[column]
        return Reason(
            code=code_of(group),
            sentence=say(feature, float(row[column]), currency=self.currency),
            contribution=contribution,
        )


def code_of(group: str) -> str:
    """Return a group's reason code: `velocity:claimant` is VELOCITY_CLAIMANT."""
    return re.sub(r"[^A-Z0-9]+", "_", group.upper()).strip("_")


def _family(group: str) -> str:
    return group.partition(":")[0]
