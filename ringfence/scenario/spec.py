# SPDX-License-Identifier: Apache-2.0
"""The typed, frozen form of a scenario: what an event is, who takes part in it, and what its label means."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ringfence.scenario.derived import Derived, Lookup, Origin
from ringfence.scenario.dialect import Dialect


class AttributeType(StrEnum):
    NUMBER = "number"
    CATEGORY = "category"
    BOOLEAN = "boolean"
    TEXT = "text"
    TIME = "time"


class AttributeUse(StrEnum):
    FEATURE = "feature"
    AUDIT_ONLY = "audit_only"  # for fairness reports: never a feature, a rule or a reason


class Direction(StrEnum):
    """Where the score goes as a feature grows."""

    INCREASING = "increasing"
    DECREASING = "decreasing"


class Durability(StrEnum):
    REQUIRED = "required"
    BEST_EFFORT = "best_effort"


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """How events name an entity. Roles are numbered across the whole scenario, so that a role means one thing."""

    name: str
    entity_type: str
    index: int  # 0-based position in Scenario.roles
    many: bool = False
    strong: bool = False  # identifies one person or thing, so that sharing it means something
    hub_cap: int = 1_000  # an entity with more events than this links nobody: everybody meets it
    sequence: bool = False  # a model reads its entities' last events in order, of whatever type


class RoleColumn(msgspec.Struct, frozen=True, kw_only=True):
    """Where one event type finds a role in its source."""

    role: str
    column: str
    separator: str | None = None  # between the ids of a `many` role where a file can only hold text
    derived: bool = False  # computed at the door: no source has the column, no message names the role


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    column: str
    type: AttributeType
    use: AttributeUse = AttributeUse.FEATURE
    personal: bool = False
    derived: bool = False  # computed at the door: no source has the column, no message gives the value

    @property
    def is_feature(self) -> bool:
        return self.use is AttributeUse.FEATURE and not self.personal


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    column: str
    currency: str
    digits: int = 2  # minor units per major unit, as a power of ten
    negative: bool = False  # whether it may lie below zero, as a refund's does; refused otherwise


class Join(msgspec.Struct, frozen=True, kw_only=True):
    """A table that belongs to a source: long, of (event, role, entity) rows, or wide, with more columns of an event."""

    file: str
    on: str
    role: str | None = None  # None, and `value` too: wide
    value: str | None = None


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The files that feed one event type. `files` are paths or globs relative to the workspace."""

    event_type: str
    files: tuple[str, ...]
    join: Join | None = None
    dialect: Dialect = Dialect()  # of the files, and of what is joined to them


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A later event that makes a decided one fraud: it names the same entity in `role`, in (t, t + horizon_ms]."""

    event_type: str
    role: str
    horizon_ms: int


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """The truth about the decided event type, and when it becomes known.

    Exactly one of `column` and `outcome` is set; with `column`, exactly one of `known_at_column` and `delay_ms`, too.
    `legit_after_ms` is the age at which an event without a label counts as legit (`absent: {legit_after: …}`, or the
    first moment after the horizon of an outcome); None means it stays unlabelled.
    """

    column: str | None = None
    outcome: Outcome | None = None
    fraud: tuple[str, ...] = ()  # source values, as text, that mean fraud
    legit: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()  # source values that say nothing yet, such as "pending"; null always does
    known_at_column: str | None = None
    delay_ms: int | None = None
    legit_after_ms: int | None = None
    source: str = "import"  # the `source` written on imported labels, and on those that an outcome gives

    @property
    def settled_after_ms(self) -> int:
        """The age from which on an event is as likely to have its label as any other, whatever the label says.

        Until the horizon of an outcome has passed only frauds are known. 0 where labels come from a column.
        """
        return 0 if self.outcome is None else self.outcome.horizon_ms + 1


class EventType(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    index: int  # 0-based position in Scenario.event_types
    event_id_column: str | None  # None: the row number in its source is the id (`event_id: row`)
    event_time_column: str | None  # None: file order is the time
    roles: tuple[RoleColumn, ...]
    attributes: tuple[Attribute, ...] = ()
    amount: Amount | None = None
    label: Label | None = None
    derived: tuple[Derived, ...] = ()  # each is a role or an attribute too

    @property
    def given_roles(self) -> tuple[RoleColumn, ...]:
        """The roles that sources and messages fill."""
        return tuple(column for column in self.roles if not column.derived)

    @property
    def given_attributes(self) -> tuple[Attribute, ...]:
        """The attributes that sources and messages give."""
        return tuple(attribute for attribute in self.attributes if not attribute.derived)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that only derived values read; a message gives them among its attributes, and nothing keeps them."""
        columns = (given.name for one in self.derived for given in one.inputs if given.origin is Origin.COLUMN)
        return tuple(dict.fromkeys(columns))


class RingTicks(msgspec.Struct, frozen=True, kw_only=True):
    """When rings are computed, and over what. Times in the watermark's time."""

    every_ms: int = 604_800_000
    active_ms: int = 31_536_000_000  # only links of events this young take part
    tie_ms: int = 2_592_000_000  # an entity ties two of its events that lie no further apart
    hub_cap: int = 100  # an entity that more active events name in one role ties nobody
    lag_ms: int = 86_400_000  # between a tick and its effect on features: time to compute it beside the service


class Travel(msgspec.Struct, frozen=True, kw_only=True):
    """Where decided events happen, and whose last place is remembered to tell how far and how fast they came."""

    latitude: str  # number attribute of the decided event type, degrees
    longitude: str
    roles: tuple[str, ...]


class KMeans(msgspec.Struct, frozen=True, kw_only=True):
    """Segments of like events, found among the training rows and frozen in the release."""

    features: tuple[str, ...]  # names of the feature catalogue
    k: int  # segments


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A named condition on an event's features, and how many points it counts where it holds."""

    name: str
    when: str  # read by `scenario.condition`
    points: int  # not 0; below zero: speaks against fraud
    says: str = ""  # for whoever reads a reason; empty: the condition itself


class EntityTicks(msgspec.Struct, frozen=True, kw_only=True):
    """Decided events that no source holds: one for each entity of a role at each multiple of `every_ms` since 1970.

    An entity has ticks while its newest event of another type is at most `active_ms` old, in whole periods, and no
    outcome that labels came since.
    """

    role: str  # the one role of the decided event type
    every_ms: int
    active_ms: int

    @property
    def n_active(self) -> int:
        """Ticks that one event causes: those of the period in which it lies, and of as many as `active_ms` holds."""
        return -(-self.active_ms // self.every_ms)


class BroughtOutput(StrEnum):
    PROBABILITY = "probability"  # of fraud
    LOG_ODDS = "log_odds"


class Brought(msgspec.Struct, frozen=True, kw_only=True):
    """A network that was trained elsewhere. Its input is float32, shape (n, k), its output one number a row."""

    name: str
    file: str  # inside the workspace
    features: tuple[str, ...]  # names of the feature catalogue, in the order of its input
    output: BroughtOutput = BroughtOutput.PROBABILITY
    missing: float | None = None  # stands for a missing value; None: the network takes NaN
    trained_until_ms: int | None = None  # nothing from then on had a part in its training; None: not stated


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of decision. Built by `scenario.load`; nothing else constructs it outside tests."""

    name: str
    decide: str  # name of the decided event type; the others are context that only teaches
    event_types: tuple[EventType, ...]
    roles: tuple[Role, ...]
    sources: tuple[Source, ...] = ()
    windows_ms: tuple[int, ...] = (86_400_000, 604_800_000, 2_592_000_000, 7_776_000_000)  # ascending, distinct
    time_zone: str = "UTC"
    durability: Durability = Durability.REQUIRED
    max_lateness_ms: int = 86_400_000
    label_precedence: tuple[str, ...] = ()  # strongest source first; unlisted sources rank below, `matured` last
    label_maturity_ms: dict[str, int] = {}
    retain_ms: int | None = None  # how long personal values and names of entities are kept; None: until erased
    rings: RingTicks = RingTicks()
    memory_bytes: int = 4 << 30  # budget of the engine's state; beyond it whoever was idle longest is forgotten
    features: dict[str, bool] = {}  # feature families switched off or on; absent means as the engine has it
    segments: tuple[str, ...] = ()  # attributes of the decided type whose values together make an event's segment
    ticks: EntityTicks | None = None
    kmeans: KMeans | None = None
    travel: Travel | None = None
    monotone: dict[str, Direction] = {}  # by feature of the catalogue, or attribute; what the trees must hold to
    branches: tuple[Brought, ...] = ()
    rules: tuple[Rule, ...] = ()

    def event_type(self, name: str) -> EventType:
        return next(event_type for event_type in self.event_types if event_type.name == name)

    def role(self, name: str) -> Role:
        return next(role for role in self.roles if role.name == name)

    @property
    def decided(self) -> EventType:
        return self.event_type(self.decide)

    @property
    def lookups(self) -> dict[str, Lookup]:
        """What is looked up in files, by "event type.name" of the derived value."""
        return {
            f"{event_type.name}.{one.name}": one.how
            for event_type in self.event_types
            for one in event_type.derived
            if isinstance(one.how, Lookup)
        }

    @property
    def value_attributes(self) -> tuple[Attribute, ...]:
        """The decided event type's attributes that reach the engine, in the column order of `Batch.values`."""
        return tuple(attribute for attribute in self.decided.attributes if attribute.is_feature)

    @property
    def segment_columns(self) -> tuple[int, ...]:
        """Where `Batch.values` has the attributes of `segments`, in their order."""
        names = [attribute.name for attribute in self.value_attributes]
        return tuple(names.index(name) for name in self.segments)

    @property
    def place_columns(self) -> tuple[int, ...]:
        """Where `Batch.values` has latitude and longitude of `travel`; empty without it."""
        if self.travel is None:
            return ()
        names = [attribute.name for attribute in self.value_attributes]
        return names.index(self.travel.latitude), names.index(self.travel.longitude)

    def travels(self, role: Role) -> bool:
        """Whether the last place of a role's entities is remembered."""
        return self.travel is not None and role.name in self.travel.roles

    @property
    def read_texts(self) -> tuple[Attribute, ...]:
        """The decided event type's texts that models may read word by word, in the order of `Seen.texts`."""
        return tuple(attribute for attribute in self.value_attributes if attribute.type is AttributeType.TEXT)

    @property
    def text_attributes(self) -> tuple[Attribute, ...]:
        """The texts among them, in the column order of `Batch.simhash`; none unless the family `text` is on."""
        return self.read_texts if self.features.get("text", False) else ()
