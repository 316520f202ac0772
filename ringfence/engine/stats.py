# SPDX-License-Identifier: Apache-2.0
"""Every statistic the kernels can read: name, sentence, unit, meaning of a missing value, version.

Sentences are completed with {role} (and {other}), and {span} for windows. To change what a statistic's numbers mean,
raise its version: releases trained on the old numbers then refuse the new ones.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ringfence.engine import layout as at

NOVELTY_GAPS: Final = "novelty_gaps"
VELOCITY: Final = "velocity"
LABEL_RISK: Final = "label_risk"
ONE_HOP: Final = "one_hop"
NEIGHBOUR_RISK: Final = "neighbour_risk"
RINGS: Final = "rings"
EVENT: Final = "event"
CONTROL_CHARTS: Final = "control_charts"
TEXT: Final = "text"
FAMILIES: Final = (NOVELTY_GAPS, VELOCITY, ONE_HOP, LABEL_RISK, NEIGHBOUR_RISK, RINGS, EVENT, CONTROL_CHARTS, TEXT)
OFF_UNLESS_ASKED: Final = frozenset({RINGS, CONTROL_CHARTS, TEXT})  # did not pay where measured; `{text: true}`

NO_ENTITY: Final = "the event names no entity in this role"
_NEVER_EMPTY: Final = NO_ENTITY
_NO_PAST: Final = f"{NO_ENTITY}, or it is new"
_NO_AMOUNT: Final = f"{NO_ENTITY}, the event has no amount, or the past holds none to compare with"
_NO_LABEL: Final = f"{NO_ENTITY}, or nothing about it is confirmed"

# How much detail a reader gets
FULL: Final = 3
COMPACT: Final = 2
BRIEF: Final = 1
CONTEXT: Final = 0


class Stat(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    source: int  # position in the scratch row; of the first window where `windowed`
    family: str
    unit: str
    sentence: str
    missing: str = _NEVER_EMPTY
    needs: int = at.NEED_HISTORY  # NEED_* bits
    detail: int = FULL  # the poorest detail that still has it
    windowed: bool = False
    amount: bool = False  # exists only where events carry an amount
    clock: bool = False  # exists only where events say when they happened
    context: bool = False  # also read from context streams
    partners: bool = False  # exists only where the role has partners
    same_type: bool = False  # of a pair: exists only where both roles name the same type of entity
    smoothed: bool = False  # a share that is shrunk: towards that of the segment, where the scenario names segments
    version: int = 1


ENTITY_STATS: Final[tuple[Stat, ...]] = (
    Stat(
        name="is_new",
        source=at.IS_NEW,
        family=NOVELTY_GAPS,
        unit="0/1",
        detail=BRIEF,
        context=True,
        sentence="{role} has never been seen before",
    ),
    Stat(
        name="n_events",
        source=at.COUNT,
        family=NOVELTY_GAPS,
        unit="events",
        detail=BRIEF,
        context=True,
        sentence="number of earlier events of {role}",
    ),
    Stat(
        name="age_days",
        source=at.AGE,
        family=NOVELTY_GAPS,
        unit="days",
        detail=COMPACT,
        missing=_NO_PAST,
        context=True,
        sentence="days since {role} was first seen",
    ),
    Stat(
        name="gap_hours",
        source=at.GAP,
        family=NOVELTY_GAPS,
        unit="hours",
        detail=BRIEF,
        missing=_NO_PAST,
        context=True,
        sentence="hours since the newest earlier event of {role} (negative when this one is late)",
    ),
    Stat(
        name="mean_gap_hours",
        source=at.MEAN_GAP,
        family=NOVELTY_GAPS,
        unit="hours",
        missing=f"{NO_ENTITY}, or it has fewer than two events",
        sentence="mean time between the earlier events of {role}",
    ),
    Stat(
        name="amount_to_mean",
        source=at.AMOUNT_TO_MEAN,
        family=VELOCITY,
        unit="ratio",
        detail=COMPACT,
        missing=_NO_AMOUNT,
        amount=True,
        sentence="amount against the mean of all earlier amounts of {role}",
        version=2,
    ),
    Stat(
        name="amount_z",
        source=at.AMOUNT_Z,
        family=VELOCITY,
        unit="standard deviations",
        detail=COMPACT,
        missing=_NO_AMOUNT,
        amount=True,
        sentence="distance of the amount from the mean of all earlier amounts of {role}",
    ),
    Stat(
        name="mean_amount",
        source=at.MEAN_AMOUNT,
        family=VELOCITY,
        unit="currency",
        missing=_NO_AMOUNT,
        amount=True,
        sentence="mean of all earlier amounts of {role}",
    ),
    Stat(
        name="amount_to_last",
        source=at.AMOUNT_TO_LAST,
        family=VELOCITY,
        unit="ratio",
        missing=_NO_AMOUNT,
        amount=True,
        sentence="amount against the previous amount of {role}",
    ),
    Stat(
        name="amount_to_recent_mean",
        source=at.AMOUNT_TO_RECENT,
        family=VELOCITY,
        unit="ratio",
        needs=at.NEED_RECENT | at.NEED_WINDOWS,
        missing=_NO_AMOUNT,
        amount=True,
        sentence=f"amount against the mean of the last {at.RECENT_MEAN} amounts of {{role}}",
    ),
    Stat(
        name="amount_to_recent_max",
        source=at.AMOUNT_TO_MAX,
        family=VELOCITY,
        unit="ratio",
        needs=at.NEED_RECENT | at.NEED_WINDOWS,
        missing=_NO_AMOUNT,
        amount=True,
        sentence=f"amount against the largest of the last {at.RECENT} amounts of {{role}} within the longest window",
    ),
    Stat(
        name="burst",
        source=at.BURST,
        family=VELOCITY,
        unit="share",
        needs=at.NEED_WINDOWS,
        missing=f"{NO_ENTITY}, or it has no event in the longest window",
        sentence="share of the longest window's events of {role} that fall into the shortest",
    ),
    Stat(
        name="fraud_count",
        source=at.FRAUDS,
        family=LABEL_RISK,
        unit="events",
        detail=BRIEF,
        sentence="confirmed frauds of {role} known so far",
    ),
    Stat(
        name="known_count",
        source=at.KNOWN,
        family=LABEL_RISK,
        unit="events",
        sentence="events of {role} whose truth is known so far",
    ),
    Stat(
        name="fraud_rate",
        source=at.FRAUD_RATE,
        family=LABEL_RISK,
        unit="probability",
        smoothed=True,
        detail=BRIEF,
        sentence="share of confirmed frauds among the known events of {role}, shrunk towards that of all entities",
    ),
    Stat(
        name="fraud_known_days",
        source=at.SINCE_FRAUD_KNOWN,
        family=LABEL_RISK,
        unit="days",
        missing=f"{NO_ENTITY}, or no fraud of it is known",
        sentence="days since a fraud of {role} was last confirmed",
    ),
    Stat(
        name="fraud_days",
        source=at.SINCE_FRAUD,
        family=LABEL_RISK,
        unit="days",
        detail=COMPACT,
        missing=f"{NO_ENTITY}, or no fraud of it is known",
        sentence="days since the newest confirmed fraud of {role} happened",
    ),
    Stat(
        name="known_days",
        source=at.SINCE_KNOWN_EVENT,
        family=LABEL_RISK,
        unit="days",
        needs=at.NEED_LABEL_RUNS,
        missing=_NO_LABEL,
        sentence="days since the newest event of {role} with a known truth happened",
    ),
    Stat(
        name="fraud_run",
        source=at.FRAUD_RUN,
        family=LABEL_RISK,
        unit="events",
        needs=at.NEED_LABEL_RUNS,
        sentence="length of the newest unbroken run of confirmed frauds of {role}",
    ),
    Stat(
        name="legit_run",
        source=at.LEGIT_RUN,
        family=LABEL_RISK,
        unit="events",
        needs=at.NEED_LABEL_RUNS,
        sentence="events of {role} confirmed legit since its newest confirmed fraud",
    ),
    Stat(
        name="fraud_run_days",
        source=at.RUN_AGE,
        family=LABEL_RISK,
        unit="days",
        needs=at.NEED_LABEL_RUNS,
        missing=f"{NO_ENTITY}, or no recent fraud of it is known",
        sentence="days since the newest run of confirmed frauds of {role} began",
    ),
    Stat(
        name="recent_fraud_share",
        source=at.RECENT_FRAUD_SHARE,
        family=LABEL_RISK,
        unit="share",
        needs=at.NEED_LABEL_RUNS,
        missing=_NO_LABEL,
        sentence=f"share of confirmed frauds among the last {at.RECENT_LABELS} known events of {{role}}",
    ),
    Stat(
        name="count",
        source=at.W_COUNT,
        family=VELOCITY,
        unit="events",
        needs=at.NEED_WINDOWS,
        detail=COMPACT,
        windowed=True,
        context=True,
        sentence="events of {role} in the last {span}",
    ),
    Stat(
        name="amount_sum",
        source=at.W_SUM,
        family=VELOCITY,
        unit="currency",
        needs=at.NEED_WINDOWS,
        detail=COMPACT,
        windowed=True,
        amount=True,
        sentence="sum of the amounts of {role} in the last {span}",
    ),
    Stat(
        name="amount_mean",
        source=at.W_MEAN,
        family=VELOCITY,
        unit="currency",
        needs=at.NEED_WINDOWS | at.NEED_MEANS,
        missing=_NO_AMOUNT,
        windowed=True,
        amount=True,
        sentence="mean amount of {role} in the last {span}",
    ),
    Stat(
        name="amount_max",
        source=at.W_MAX,
        family=VELOCITY,
        unit="currency",
        needs=at.NEED_RECENT | at.NEED_WINDOWS,
        missing=_NO_AMOUNT,
        windowed=True,
        amount=True,
        sentence=f"largest amount of {{role}} in the last {{span}}, among its last {at.RECENT} events",
    ),
    Stat(
        name="amount_to_mean",
        source=at.W_TO_MEAN,
        family=VELOCITY,
        unit="ratio",
        needs=at.NEED_WINDOWS | at.NEED_MEANS,
        missing=_NO_AMOUNT,
        windowed=True,
        amount=True,
        sentence="amount against the mean amount of {role} in the last {span}",
    ),
    Stat(
        name="new_partners",
        source=at.W_NEW,
        family=ONE_HOP,
        unit="entities",
        needs=at.NEED_WINDOWS,
        windowed=True,
        partners=True,
        sentence="entities that {role} met for the first time in the last {span}",
    ),
    Stat(
        name="large_count",
        source=at.W_LARGE,
        family=VELOCITY,
        unit="events",
        needs=at.NEED_RECENT | at.NEED_WINDOWS,
        windowed=True,
        amount=True,
        sentence=f"events of {{role}} in the last {{span}} above {at.LARGE:g} times its mean amount, "
        f"among its last {at.RECENT} events",
    ),
    Stat(
        name="fraud_count",
        source=at.W_FRAUDS,
        family=LABEL_RISK,
        unit="events",
        needs=at.NEED_LABEL_WINDOWS,
        detail=COMPACT,
        windowed=True,
        sentence="frauds of {role} confirmed in the last {span}",
    ),
    Stat(
        name="known_count",
        source=at.W_KNOWN,
        family=LABEL_RISK,
        unit="events",
        needs=at.NEED_LABEL_WINDOWS,
        windowed=True,
        sentence="events of {role} whose truth became known in the last {span}",
    ),
    Stat(
        name="fraud_rate",
        source=at.W_RATE,
        family=LABEL_RISK,
        unit="probability",
        smoothed=True,
        needs=at.NEED_LABEL_WINDOWS,
        detail=COMPACT,
        windowed=True,
        sentence="share of frauds among the events of {role} confirmed in the last {span}, "
        "shrunk towards that of all entities",
    ),
)

PARTNERS: Final = Stat(
    name="partners",
    source=at.PARTNERS,
    family=NOVELTY_GAPS,
    unit="entities",
    detail=COMPACT,
    sentence="different entities in the role {other} that {role} was seen with",
)

PAIR_STATS: Final[tuple[Stat, ...]] = (
    Stat(
        name="is_new",
        source=at.P_IS_NEW,
        family=NOVELTY_GAPS,
        unit="0/1",
        sentence="{role} and {other} have never been seen together",
    ),
    Stat(
        name="n_events",
        source=at.P_COUNT,
        family=NOVELTY_GAPS,
        unit="events",
        sentence="earlier events of {role} together with {other}",
    ),
    Stat(
        name="gap_hours",
        source=at.P_GAP,
        family=NOVELTY_GAPS,
        unit="hours",
        missing=f"{NO_ENTITY}, or the two were never seen together",
        sentence="hours since {role} and {other} were last seen together",
    ),
    Stat(
        name="age_days",
        source=at.P_AGE,
        family=NOVELTY_GAPS,
        unit="days",
        missing=f"{NO_ENTITY}, or the two were never seen together",
        sentence="days since {role} and {other} were first seen together",
    ),
    Stat(
        name="fraud_count",
        source=at.P_FRAUDS,
        family=LABEL_RISK,
        unit="events",
        sentence="confirmed frauds of {role} together with {other} known so far",
    ),
    Stat(
        name="known_count",
        source=at.P_KNOWN,
        family=LABEL_RISK,
        unit="events",
        sentence="events of {role} together with {other} whose truth is known so far",
    ),
    Stat(
        name="reverse_n_events",
        source=at.P_REVERSE_COUNT,
        family=ONE_HOP,
        unit="events",
        same_type=True,
        sentence="earlier events in which {role} and {other} had changed places",
    ),
    Stat(
        name="reverse_gap_hours",
        source=at.P_REVERSE_GAP,
        family=ONE_HOP,
        unit="hours",
        same_type=True,
        missing=f"{NO_ENTITY}, or the two never changed places",
        sentence="hours since {role} and {other} last had changed places",
    ),
)

EVENT_STATS: Final[tuple[Stat, ...]] = (
    Stat(
        name="amount",
        source=at.E_AMOUNT,
        family=EVENT,
        unit="currency",
        missing="the event has no amount",
        amount=True,
        sentence="amount of the event",
    ),
    Stat(
        name="hour",
        source=at.E_HOUR,
        family=EVENT,
        clock=True,
        unit="0..23",
        missing="never",
        sentence="local hour of the day",
    ),
    Stat(
        name="weekday",
        source=at.E_WEEKDAY,
        family=EVENT,
        clock=True,
        unit="0..6",
        missing="never",
        sentence="local day of the week, Monday is 0",
    ),
    Stat(
        name="weekend",
        source=at.E_WEEKEND,
        family=EVENT,
        clock=True,
        unit="0/1",
        missing="never",
        sentence="the event falls on a Saturday or Sunday",
    ),
    Stat(
        name="night",
        source=at.E_NIGHT,
        family=EVENT,
        clock=True,
        unit="0/1",
        missing="never",
        sentence="the event falls between midnight and six, local time",
    ),
    Stat(
        name="month_day",
        source=at.E_MONTH_DAY,
        family=EVENT,
        clock=True,
        unit="1..31",
        missing="never",
        sentence="local day of the month",
    ),
)
