# SPDX-License-Identifier: Apache-2.0
"""The leak hunt: columns that know more than anybody could have known when the event happened.

Nothing is dropped: a suspicion is told with its numbers, and whoever knows the column decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from ringfence.engine.catalogue import Feature
from ringfence.scenario.spec import Attribute, AttributeType
from ringfence.training.given_columns import GivenEvents, Suspicion, after_event, id_order, presence, running_number
from ringfence.training.ranking import Interval
from ringfence.training.single_columns import SingleColumn

# A column alone is too good where even the lower end of its interval is this good ...
NEARLY_PERFECT_AUC: Final = 0.97
NEARLY_PERFECT_AP: Final = 0.9
# ... or where it is good, and this many times better than nearly all other columns.
GOOD_AUC: Final = 0.85
GOOD_AP: Final = 0.5
TIMES_THE_REST: Final = 3.0
THE_REST: Final = 0.9  # quantile of the other columns' average precision
# All columns together.
WHOLE_AUC: Final = 0.995
WHOLE_AP: Final = 0.95


class LeakHunt(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at and what was found; the strongest columns are told whether suspicious or not."""

    n_columns: int
    n_fraud: int
    n_legit: int
    n_unlabelled: int
    model_auc: Interval  # of all columns together, as the headline has it
    model_ap: Interval
    strongest: list[SingleColumn]
    suspicions: list[Suspicion]
    n_alone: int  # examples on which single columns were measured: those of `model_auc`
    n_alone_fraud: int


def hunt(
    given: GivenEvents,
    attributes: Sequence[Attribute],
    features: Sequence[Feature],
    strongest: Sequence[SingleColumn],
    *,
    model_auc: Interval,
    model_ap: Interval,
    has_event_ids: bool,
    n_alone: int,
    n_alone_fraud: int,
) -> LeakHunt:
    """Look for leaks in what the model was fitted on.

    Parameters
    ----------
    given : all decided events of the span, those without a label among them.
    attributes : of the decided event type, as far as they are features.
    features : the catalogue's, in the order of the columns that `strongest` numbers.
    strongest : every feature column, most telling first, the first dozen with intervals.
    model_auc, model_ap : of scores that no own label had a part in.
    has_event_ids : False where ids are row numbers that ringfence made itself.
    n_alone, n_alone_fraud : examples that `strongest` was measured on, and the frauds among them.
    """
    suspicions = _too_good(strongest, features, model_auc, model_ap)
    for attribute in attributes:
        values = given.columns.attributes[attribute.name]
        suspicions += presence(f"attribute.{attribute.name}", values.is_not_null().to_numpy(), given)
        if attribute.type is AttributeType.NUMBER:
            suspicions += running_number(attribute.name, values, given)
        if attribute.type is AttributeType.TIME:
            suspicions += after_event(attribute.name, values, given)
    suspicions += presence("event.amount", given.has_amount, given)
    for role in given.columns.roles.columns[1:]:
        suspicions += presence(role, given.columns.roles[role].to_numpy(), given)
    if has_event_ids:
        suspicions += id_order(given)
    return LeakHunt(
        n_columns=len(features),
        n_fraud=int((given.label == 1).sum()),
        n_legit=int((given.label == 0).sum()),
        n_unlabelled=int((given.label < 0).sum()),
        model_auc=model_auc,
        model_ap=model_ap,
        strongest=list(strongest[:12]),
        suspicions=suspicions,
        n_alone=n_alone,
        n_alone_fraud=n_alone_fraud,
    )


def _too_good(
    strongest: Sequence[SingleColumn], features: Sequence[Feature], model_auc: Interval, model_ap: Interval
) -> list[Suspicion]:
    found = []
    precisions = {one.column: one.average_precision.value for one in strongest}
    for one in strongest:
        auc, precision = one.roc_auc, one.average_precision
        if not auc.low >= GOOD_AUC:  # NaN where there is no interval: far from the top
            continue
        others = [value for column, value in precisions.items() if column != one.column]
        rest = float(np.quantile(others, THE_REST)) if others else 0.0
        perfect = auc.low >= NEARLY_PERFECT_AUC or precision.low >= NEARLY_PERFECT_AP
        if not perfect and not (precision.low >= GOOD_AP and precision.low >= TIMES_THE_REST * rest):
            continue
        feature = features[one.column]
        given = feature.role is None and feature.pair is None
        doubt = (
            "is it really known when the event happens?"
            if given
            else "it is computed from earlier events and labels: are the label's known_at times right?"
        )
        found.append(
            Suspicion(
                kind="too_good",
                column=one.name,
                sentence=f"alone it reaches ROC-AUC {auc.value:.3f} and average precision {precision.value:.3f}, where "
                f"nine tenths of the other columns stay below {rest:.3f} and the whole model has {model_ap.value:.3f}; "
                f"{doubt}",
                figures={
                    "roc_auc": auc.value,
                    "roc_auc_low": auc.low,
                    "average_precision": precision.value,
                    "average_precision_low": precision.low,
                    "rest": rest,
                },
            )
        )
    if not found and model_auc.low >= WHOLE_AUC and model_ap.low >= WHOLE_AP:
        found.append(
            Suspicion(
                kind="too_good",
                column="all columns together",
                sentence=f"the model separates the classes nearly perfectly (ROC-AUC {model_auc.value:.4f}, average "
                f"precision {model_ap.value:.3f}) and no single column explains it; fraud is rarely so easy",
                figures={"roc_auc": model_auc.value, "average_precision": model_ap.value},
            )
        )
    return found
