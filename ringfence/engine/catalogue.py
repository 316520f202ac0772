# SPDX-License-Identifier: Apache-2.0
"""The feature catalogue: what every column of a feature row is called, means, and costs.

Built from the scenario alone; yields names, sentences, documentation and the kernel plan, so that none of them can
drift from the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from numbers import Integral
from typing import Final

import msgspec

from ringfence.engine import layout as at
from ringfence.engine.attribute_words import ATTRIBUTE_TEXT, ATTRIBUTE_UNIT
from ringfence.engine.errors import (
    SampleSizeError,
    TooManyRolesError,
    TooManyWindowsError,
    UnknownFeatureError,
)
from ringfence.engine.feature_costs import feature_costs, work_of
from ringfence.engine.feature_table import features_markdown
from ringfence.engine.link_stats import LINK_STATS, TOGETHER_STATS
from ringfence.engine.memory import Kept, bytes_per_slot, room_for
from ringfence.engine.named_features import check_named
from ringfence.engine.plan import Plan
from ringfence.engine.planner import PlanBuilder
from ringfence.engine.ring_stats import EVENT_RING_STATS, RING_STATS, RISK_STAT
from ringfence.engine.sample_features import EVENT_FEATURES, SEAT_FEATURES, SampleFeature, Seat, seats_of
from ringfence.engine.spec_hash import spec_hash
from ringfence.engine.stats import (
    BRIEF,
    COMPACT,
    CONTEXT,
    CONTROL_CHARTS,
    ENTITY_STATS,
    EVENT,
    EVENT_STATS,
    FAMILIES,
    FULL,
    LABEL_RISK,
    NEIGHBOUR_RISK,
    NO_ENTITY,
    NOVELTY_GAPS,
    OFF_UNLESS_ASKED,
    ONE_HOP,
    PAIR_STATS,
    PARTNERS,
    RINGS,
    TEXT,
    Stat,
)
from ringfence.engine.stats_charts import chart_stats
from ringfence.engine.stats_places import place_stats
from ringfence.engine.stats_segments import SEGMENT_STATS, segment_text, towards_segment
from ringfence.engine.stats_text import TEXT_GAP, TEXT_STATS
from ringfence.engine.windows import granule_ms, span_text
from ringfence.scenario.spec import AttributeType, Role, Scenario

MOST_FEATURES: Final = 400  # beyond this, readers lose detail, from the richest down
MOST_PAIRINGS: Final = 12
_HOW: Final = {at.SINGLE: "", at.LARGEST: ".max", at.AVERAGE: ".mean"}
_HOW_TEXT: Final = {at.SINGLE: "", at.LARGEST: "largest over the entities: ", at.AVERAGE: "mean over the entities: "}


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a feature row, float64, NaN where missing."""

    name: str
    family: str  # one of FAMILIES
    sentence: str  # for an investigator
    unit: str
    missing: str  # when the value is NaN
    work: str  # one of feature_costs.WORKS: what it is read together with
    role: str | None = None  # whose statistic it is; None for the event itself
    pair: tuple[str, str] | None = None
    window_ms: int | None = None
    is_category: bool = False  # values are hashed codes without order
    version: int = 1

    @property
    def granule_ms(self) -> int | None:
        """To what the lower bound of its window is rounded down; None without a window."""
        return None if self.window_ms is None else granule_ms(self.window_ms)

    @property
    def cost_ns(self) -> float:
        """Its share of the measured time of its work, in nanoseconds; an upper bound where the work is too small."""
        return feature_costs().works[self.work].value_ns

    @property
    def group(self) -> str:
        """Family and role: the unit in which reasons are told, such as `velocity:claimant`."""
        if self.pair is not None:
            return f"{self.family}:{'~'.join(self.pair)}"
        return f"{self.family}:{self.role}" if self.role is not None else self.family


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """All features of a scenario, in the column order of its rows."""

    scenario: Scenario
    features: tuple[Feature, ...]
    plan: Plan
    spec_hash: str  # 32 hex digits; equal exactly when the same records give the same rows and samples
    neighbourhoods: int | None = None  # events sampled per seat; None: nothing is sampled

    @classmethod
    def build(
        cls, scenario: Scenario, *, only: Collection[str] | None = None, neighbourhoods: int | None = None
    ) -> Catalogue:
        """Lay out the features of `scenario`.

        Parameters
        ----------
        only : names of the features to keep, in catalogue order; None keeps all. What no kept feature needs is not
            computed.
        neighbourhoods : last events of each seat that `Engine.neighbourhood` samples, 1 to 32; None: no sampling.
            Above 16 an entity takes 64 bytes beside the scenario's memory budget: whom it forgets stays the same.
            With it the event store is kept even where no feature walks links.

        Raises
        ------
        TooManyWindowsError
            If the scenario names more than eight windows.
        SampleSizeError
            If `neighbourhoods` is not a whole number from 1 to 32.
        TooManyRolesError
            If it names more than 32 roles and has a family that walks links switched on, or samples neighbourhoods.
        UnknownFeatureError
            If `scenario.features` switches a family that does not exist, or `only` names an unknown feature.
        KMeansFeatureError, MonotoneFeatureError, RuleFeatureError
            As in `check_named`.
        """
        if len(scenario.windows_ms) > at.MAX_WINDOWS:
            raise TooManyWindowsError(found=len(scenario.windows_ms), most=at.MAX_WINDOWS)
        for family in scenario.features:
            if family not in FAMILIES:
                raise UnknownFeatureError(what="feature family", found=family, known=FAMILIES)
        if neighbourhoods is not None:
            neighbourhoods = _sample_size(neighbourhoods)
        links = any(_is_on(scenario, family) for family in (ONE_HOP, NEIGHBOUR_RISK, RINGS))
        if (links or neighbourhoods) and len(scenario.roles) > 1 << at.ROLE_BITS:
            raise TooManyRolesError(found=len(scenario.roles), most=1 << at.ROLE_BITS)
        for detail in (FULL, COMPACT, BRIEF):
            layout = _Layout(scenario, detail, only)
            if layout.n_laid_out <= MOST_FEATURES:
                break
        names = tuple(feature.name for feature in layout.features)
        for name in only or ():
            if name not in names:
                raise UnknownFeatureError(what="feature", found=name, known=names)
        if only is None:
            check_named(scenario, layout.features)
        room = room_for(scenario.memory_bytes, _kept(scenario, layout.builder.n_partners))
        return cls(
            scenario=scenario,
            features=tuple(layout.features),
            plan=layout.builder.plan(n_features=len(layout.features), room=room, neighbourhoods=neighbourhoods),
            spec_hash=spec_hash(
                scenario,
                [(feature.name, feature.version) for feature in layout.features],
                room,
                neighbourhoods=neighbourhoods,
                rings=_is_on(scenario, RINGS),
            ),
            neighbourhoods=neighbourhoods,
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @property
    def families(self) -> tuple[str, ...]:
        """Families that are present, in fixed order."""
        present = {feature.family for feature in self.features}
        return tuple(family for family in FAMILIES if family in present)

    @property
    def groups(self) -> tuple[str, ...]:
        """Families split by role, in order of first appearance; see `Feature.group`."""
        return tuple(dict.fromkeys(feature.group for feature in self.features))

    @property
    def bytes_per_entity(self) -> int:
        """What an entity costs in one stream, in bytes, its place in the id table and three log entries included."""
        return bytes_per_slot(_kept(self.scenario, self.plan.kept.partner_columns))

    @property
    def seats(self) -> tuple[Seat, ...]:
        """Whose last events are sampled, in the order of the samples' second axis; empty without sampling."""
        return () if self.neighbourhoods is None else seats_of(self.scenario)

    @property
    def sample_features(self) -> tuple[SampleFeature, ...]:
        """Columns of `Neighbourhoods.events`; the same for every scenario."""
        return EVENT_FEATURES

    @property
    def seat_features(self) -> tuple[SampleFeature, ...]:
        """Columns of `Neighbourhoods.nodes`; the same for every scenario."""
        return SEAT_FEATURES

    def index(self, name: str) -> int:
        """Return the column of a feature."""
        try:
            return self.names.index(name)
        except ValueError:
            raise UnknownFeatureError(what="feature", found=name, known=self.names) from None

    def markdown(self) -> str:
        """Write the reference table of all features."""
        return features_markdown(self.features)


def _sample_size(asked: object) -> int:
    # NumPy's whole numbers are Integral as well; True is one too, and means nothing here.
    if isinstance(asked, bool) or not isinstance(asked, Integral) or not 1 <= int(asked) <= at.MOST_LAST:
        raise SampleSizeError(found=asked, most=at.MOST_LAST)
    return int(asked)


def _is_on(scenario: Scenario, family: str) -> bool:
    return scenario.features.get(family, family not in OFF_UNLESS_ASKED)


class _Layout:
    """Walks the scenario once, adding features and telling the plan builder where their numbers come from."""

    def __init__(self, scenario: Scenario, detail: int, only: Collection[str] | None) -> None:
        self.only = only
        self.n_laid_out = 0
        self.scenario = scenario
        self.detail = detail
        self.features: list[Feature] = []
        self.builder = PlanBuilder(scenario)
        self.has_amount = scenario.decided.amount is not None
        self.roles = [scenario.role(column.role) for column in scenario.decided.roles]
        self.roles.sort(key=lambda role: role.index)
        self._add_event()
        self._add_segment()
        self._add_together()
        for role in self.roles:
            self._add_role(role)
        self._add_pairs()
        self._add_texts()

    def _is_on(self, family: str) -> bool:
        return _is_on(self.scenario, family)

    def _put(self, feature: Feature) -> int:
        # Returns the feature's column, -1 when it is not kept: the plan builder then ignores it.
        self.n_laid_out += 1
        if self.only is not None and feature.name not in self.only:
            return -1
        self.features.append(feature)
        return len(self.features) - 1

    def _add_event(self) -> None:
        if not self._is_on(EVENT):
            return
        has_clock = self.scenario.decided.event_time_column is not None
        for stat in EVENT_STATS:
            if (stat.amount and not self.has_amount) or (stat.clock and not has_clock):
                continue
            column = self._put(_feature(f"event.{stat.name}", stat, stat.sentence))
            self.builder.event_gather(stat.source, column)
        for v, attribute in enumerate(self.scenario.value_attributes):
            column = self._put(
                Feature(
                    name=f"attribute.{attribute.name}",
                    family=EVENT,
                    sentence=ATTRIBUTE_TEXT[attribute.type].format(name=attribute.name),
                    unit=ATTRIBUTE_UNIT[attribute.type],
                    missing="the event does not give it",
                    work=EVENT,
                    is_category=attribute.type is AttributeType.CATEGORY,
                )
            )
            self.builder.event_gather(at.E_VALUES + v, column)

    def _add_segment(self) -> None:
        if not self.scenario.segments or not self._is_on(LABEL_RISK):
            return
        for stat in SEGMENT_STATS:
            sentence = stat.sentence.replace("{segment}", segment_text(self.scenario.segments))
            self.builder.segment_gather(stat.source, self._put(_feature(f"segment.{stat.name}", stat, sentence)))

    def _falling_back(self, stat: Stat) -> Stat:
        return towards_segment(stat) if self.scenario.segments else stat

    def _add_role(self, role: Role) -> None:
        detail = min(self.detail, COMPACT) if role.many and len(self.roles) > 2 else self.detail
        partners = self.builder.partners_of(role, self.roles, MOST_PAIRINGS)
        if role.many and self._is_on(NOVELTY_GAPS):
            column = self._put(
                Feature(
                    name=f"{role.name}.n",
                    family=NOVELTY_GAPS,
                    role=role.name,
                    sentence=f"number of entities in the role {role.name}",
                    unit="entities",
                    missing="never",
                    work=EVENT,
                )
            )
            self.builder.number(role, column)
        reader = self.builder.role_reader(role)
        for stat, window in self._entity_stats(detail):
            if not stat.partners or partners:
                self._read(reader, role, role.name, role.name, stat, window)
        self._add_links(role, detail)
        self._add_rings(role, detail)
        self._add_charts(reader, role, detail)
        self._add_places(reader, role)
        if self._is_on(NOVELTY_GAPS) and detail >= PARTNERS.detail:
            for other, partner in partners:
                stat = msgspec.structs.replace(
                    PARTNERS,
                    name=f"partners_{other.name}",
                    source=at.PARTNERS + partner,
                    sentence=PARTNERS.sentence.replace("{other}", other.name),
                )
                self._read(reader, role, role.name, role.name, stat, None)
        if sum(other.entity_type == role.entity_type for other in self.roles) > 1:
            reader = self.builder.any_reader(role)
            for stat, window in self._entity_stats(BRIEF):
                who = f"{role.name} in any role"
                self._read(reader, role, f"{role.name}.any_role", who, stat, window)
        for event_type, context_role in self.builder.contexts_of(role):
            reader = self.builder.context_reader(role, event_type, context_role)
            prefix = f"{role.name}.{event_type.name}"
            if context_role.index != role.index:
                prefix += f".{context_role.name}"
            who = f"{role.name} (only {event_type.name})"
            for stat, window in self._entity_stats(CONTEXT):
                self._read(reader, role, prefix, who, stat, window)

    def _add_together(self) -> None:
        if not self.roles:
            return  # nothing links events: counts would be 0, and rates those of all events, which tell the time
        for stat in map(self._falling_back, TOGETHER_STATS):
            if self._is_on(stat.family):
                column = self._put(_feature(f"event.{stat.name}", stat, stat.sentence))
                self.builder.together_gather(stat.source, column)
        if self._has_rings():
            for stat in EVENT_RING_STATS:
                column = self._put(_feature(f"event.{stat.name}", stat, stat.sentence))
                self.builder.together_gather(self.builder.first_ring_stat + stat.source, column)

    def _has_rings(self) -> bool:
        # Without an entity that identifies somebody nothing ties, and risk would spread through hubs alone.
        return self._is_on(RINGS) and any(role.strong for role in self.roles)

    def _add_rings(self, role: Role, detail: int) -> None:
        if not self._has_rings():
            return
        for stat in (RISK_STAT, *RING_STATS) if role.strong else (RISK_STAT,):
            if stat.detail <= detail:
                placed = msgspec.structs.replace(stat, source=self.builder.first_ring_stat + stat.source)
                self._link(role, placed, None)

    def _add_links(self, role: Role, detail: int) -> None:
        for stat in map(self._falling_back, LINK_STATS):
            if stat.detail > detail or not self._is_on(stat.family) or (stat.amount and not self.has_amount):
                continue
            if not stat.windowed:
                self._link(role, stat, None)
                continue
            for w, window_ms in enumerate(self.scenario.windows_ms):
                self._link(role, msgspec.structs.replace(stat, source=stat.source + w), window_ms)

    def _link(self, role: Role, stat: Stat, window_ms: int | None) -> None:
        for how, column in self._columns(role, role.name, role.name, stat, window_ms):
            self.builder.link_gather(role, stat.source, column, how)

    def _entity_stats(self, detail: int) -> Iterator[tuple[Stat, int | None]]:
        n_windows = len(self.scenario.windows_ms)
        for stat in map(self._falling_back, ENTITY_STATS):
            wanted = stat.context if detail == CONTEXT else stat.detail <= detail
            if not wanted or not self._is_on(stat.family) or (stat.amount and not self.has_amount):
                continue
            if not stat.windowed:
                yield stat, None
                continue
            for w in range(n_windows):
                source = at.WINDOWED + stat.source * n_windows + w
                yield msgspec.structs.replace(stat, source=source), self.scenario.windows_ms[w]

    def _add_charts(self, reader: int, role: Role, detail: int) -> None:
        if not self._is_on(CONTROL_CHARTS):
            return
        behind = at.WINDOWED + at.N_WINDOWED * len(self.scenario.windows_ms)
        for stat, window_ms in chart_stats(detail, self.scenario.windows_ms):
            if self.has_amount or not stat.amount:
                placed = msgspec.structs.replace(stat, source=behind + stat.source)
                self._read(reader, role, role.name, role.name, placed, window_ms)

    def _add_places(self, reader: int, role: Role) -> None:
        if not self.scenario.travels(role) or not self._is_on(NOVELTY_GAPS):
            return
        for stat in place_stats(len(self.scenario.windows_ms)):
            self._read(reader, role, role.name, role.name, stat, None)

    def _read(self, reader: int, role: Role, prefix: str, who: str, stat: Stat, window_ms: int | None) -> None:
        for how, column in self._columns(role, prefix, who, stat, window_ms):
            self.builder.gather(reader, stat.source, column, how, stat.needs)

    def _columns(
        self, role: Role, prefix: str, who: str, stat: Stat, window_ms: int | None
    ) -> Iterator[tuple[int, int]]:
        for how in (at.LARGEST, at.AVERAGE) if role.many else (at.SINGLE,):
            name = f"{prefix}.{stat.name}"
            sentence = _HOW_TEXT[how] + stat.sentence.replace("{role}", who)
            if window_ms is not None:
                name += f"_{span_text(window_ms)}"
                sentence = sentence.replace("{span}", span_text(window_ms))
            yield how, self._put(_feature(name + _HOW[how], stat, sentence, role=role.name, window_ms=window_ms))

    def _add_pairs(self) -> None:
        for a, b in self.builder.pairs(self.roles, MOST_PAIRINGS):
            pairing = self.builder.pairing(a, b)
            for stat in PAIR_STATS:
                if not self._is_on(stat.family) or (stat.same_type and a.entity_type != b.entity_type):
                    continue
                for how in (at.LARGEST, at.AVERAGE) if a.many or b.many else (at.SINGLE,):
                    sentence = stat.sentence.replace("{role}", a.name).replace("{other}", b.name)
                    column = self._put(
                        _feature(
                            f"{a.name}~{b.name}.{stat.name}{_HOW[how]}",
                            stat,
                            _HOW_TEXT[how] + sentence,
                            pair=(a.name, b.name),
                        )
                    )
                    self.builder.pair_gather(pairing, stat.source, column, how)

    def _add_texts(self) -> None:
        if not self.scenario.windows_ms:
            return
        longest_ms = self.scenario.windows_ms[-1]
        has_month = at.MONTH_MS in self.scenario.windows_ms and longest_ms != at.MONTH_MS
        for t, attribute in enumerate(self.scenario.text_attributes):
            for stat in (*TEXT_STATS, TEXT_GAP):
                spans = [(stat.source, longest_ms)]
                if stat.windowed and has_month:
                    spans.insert(0, (at.T_MONTH, at.MONTH_MS))
                for source, window_ms in spans:
                    words = {"{name}": attribute.name, "{span}": span_text(window_ms)}
                    sentence, missing = _filled(stat.sentence, words), _filled(stat.missing, words)
                    name = f"attribute.{attribute.name}.{stat.name}_{span_text(window_ms)}"
                    told = msgspec.structs.replace(stat, missing=missing)
                    self.builder.text_gather(t, source, self._put(_feature(name, told, sentence, window_ms=window_ms)))


def _filled(text: str, words: dict[str, str]) -> str:
    for placeholder, word in words.items():
        text = text.replace(placeholder, word)
    return text


def _feature(
    name: str,
    stat: Stat,
    sentence: str,
    *,
    role: str | None = None,
    pair: tuple[str, str] | None = None,
    window_ms: int | None = None,
) -> Feature:
    return Feature(
        name=name,
        family=stat.family,
        sentence=sentence,
        unit=stat.unit,
        missing=stat.missing if stat.missing != NO_ENTITY or pair is None else "one of the two roles is empty",
        work=work_of(stat, is_pair=pair is not None),
        role=role,
        pair=pair,
        window_ms=window_ms,
        version=stat.version,
    )


def _kept(scenario: Scenario, n_partners: int) -> Kept:
    # From the scenario alone: a release that reads a few of its features must forget whom its training forgot.
    return Kept(
        partner_columns=n_partners,
        pairs=len(scenario.decided.roles) > 1,
        links=True,  # also where no feature walks them: neighbourhoods may be sampled
        charts=_is_on(scenario, CONTROL_CHARTS),
        rings=_is_on(scenario, RINGS),
        texts=bool(scenario.text_attributes) and _is_on(scenario, TEXT),
        places=scenario.travel is not None and _is_on(scenario, NOVELTY_GAPS),
    )
