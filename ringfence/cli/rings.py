# SPDX-License-Identifier: Apache-2.0
"""`rings`: who acts together, as of a moment; and one ring with its members, events and evidence."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.exits import UsageError
from ringfence.cli.options import HERE, JsonOption, ScenarioOption, WorkspaceOption, iso_time, time_option
from ringfence.cli.ring_report import list_report, ring_report
from ringfence.cli.terminal import Progress, progress, remark, show

if TYPE_CHECKING:
    from ringfence.ledger.ledger import Ledger
    from ringfence.ledger.links import KnownLinks
    from ringfence.rings import Links, RingSettings, Survey
    from ringfence.scenario.spec import Scenario


class Sort(StrEnum):
    """`rings.RingOrder`, which would take a second to import."""

    RISK = "risk"
    UNLABELLED = "unlabelled"
    NEW = "new"
    RECENT = "recent"


def rings(
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="What was known then; the newest record when left out.")
    ] = None,
    min_size: Annotated[int, typer.Option(min=1, help="List rings with at least so many decided events.")] = 3,
    top: Annotated[int, typer.Option(min=1, help="List at most so many.")] = 20,
    sort: Annotated[Sort, typer.Option(help="What is listed first: the most of this.")] = Sort.RISK,
    ring: Annotated[str | None, typer.Option(metavar="ID", help="Show one ring: its id, or how its id begins.")] = None,
    active: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Links of events this recent take part.",
            show_default="`rings.active` of the scenario, 365d unless it says so",
        ),
    ] = None,
    tie: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="An entity ties two of its events that lie no further apart.",
            show_default="`rings.tie` of the scenario, 30d unless it says so",
        ),
    ] = None,
    hub_cap: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="An entity with more active events in one role is a hub and ties nobody.",
            show_default="`rings.hub_cap` of the scenario, 100 unless it says so",
        ),
    ] = None,
    ticks: Annotated[
        int,
        typer.Option(
            min=0,
            help="Ticks (`rings.every` of the scenario, a week unless it says so) to look back for ring ids and "
            "growth; 0: ids as of this moment alone.",
        ),
    ] = 4,
    workspace: WorkspaceOption = HERE,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the rings of a scenario, or show one: who acts together, what is at stake, and how one knows.

    Components over the roles marked `strong`, tied within `--tie`, over-large ones split into communities; risk spread
    from the fraud that was known at the time. Settings are those of `rings` in ringfence.yaml, where no option says
    otherwise. Reads the ledger, writes nothing.
    """
    import msgspec

    from ringfence.engine.ticks import settings_of
    from ringfence.ledger.ledger import Ledger
    from ringfence.rings import RingOrder, find_ring, top_rings
    from ringfence.workspace import Workspace

    here = Workspace(workspace)
    spec = here.scenario(scenario)
    asked: dict[str, int] = {} if hub_cap is None else {"hub_cap": hub_cap}
    for option, span in (("active", active), ("tie", tie)):
        if span is not None:
            asked[f"{option}_ms"] = _span_ms(f"--{option}", span)
    settings = msgspec.structs.replace(settings_of(spec), **asked)
    ledger = Ledger.open(here.ledger_dir(spec), spec)
    as_of_ms = ledger.watermark_ms if as_of is None else time_option(as_of, "--as-of", spec.time_zone)
    outside = None if as_of is None else _outside(ledger, as_of_ms)
    if outside is not None:
        remark(f"warning: {outside}")
    with progress("finding rings", unit="ticks") as report_progress:
        found = survey_of(ledger, settings, as_of_ms, n_ticks=ticks, progress=report_progress)
    if ring is not None:
        result, text = ring_report(ledger, found, find_ring(found, ring))
    else:
        rows = top_rings(found, min_events=min_size, top=top, by=RingOrder(sort)).tolist()
        result, text = list_report(spec, found, rows, settings, min_events=min_size)
    result["warnings"] = [outside] if outside is not None else []
    show(result, as_json=as_json, text=text)


def _span_ms(option: str, span: str) -> int:
    from ringfence.scenario.duration import duration_ms

    try:
        return duration_ms(span)
    except ValueError as error:
        raise UsageError(f"{option} {span!r} is not a duration: {error}") from error


def _outside(ledger: Ledger, as_of_ms: int) -> str | None:
    """Say so where a moment lies before the first record, or after the last; None within, and of an empty ledger."""
    first = next((batch for batch in ledger.batches(size=1)), None)
    if first is None:
        return None
    first_ms, last_ms = int(first.time_ms[0]), ledger.watermark_ms
    if first_ms <= as_of_ms <= last_ms:
        return None
    where = "before the first record" if as_of_ms < first_ms else "after the last record"
    return (
        f"--as-of {iso_time(as_of_ms)} lies {where}: the ledger spans {iso_time(first_ms)} to {iso_time(last_ms)}; "
        + ("nothing was known then" if as_of_ms < first_ms else "nothing more is known than at its end")
    )


def survey_of(ledger: Ledger, settings: RingSettings, as_of_ms: int, *, n_ticks: int, progress: Progress) -> Survey:
    """Survey the rings as of a moment, with ids carried on from `n_ticks` ticks before it.

    Raises
    ------
    NoStrongRoleError
        If no role of the scenario is marked strong.
    """
    from ringfence.ledger.links import links_known_at
    from ringfence.rings import NoStrongRoleError, freeze_for, survey

    scenario = ledger.scenario
    if not any(role.strong for role in scenario.roles):
        raise NoStrongRoleError(scenario=scenario.name, roles=tuple(role.name for role in scenario.roles))
    known = links_known_at(ledger, as_of_ms, as_of_ms - settings.active_ms - n_ticks * settings.tick_ms)
    previous = None
    for back in range(n_ticks, 0, -1):
        then_ms = as_of_ms - back * settings.tick_ms
        earlier = _links(scenario, known, until_seq=ledger.seq_at(then_ms))
        if len(earlier.event_key):
            previous = survey(freeze_for(scenario, earlier, settings, then_ms), settings, previous).tick
        progress(n_ticks - back + 1, n_ticks + 1)
    found = survey(freeze_for(scenario, _links(scenario, known), settings, as_of_ms), settings, previous)
    progress(n_ticks + 1, n_ticks + 1)
    return found


def _links(scenario: Scenario, known: KnownLinks, until_seq: int | None = None) -> Links:
    """What the rings need of the ledger. Up to an earlier seq, labels are left out: ids and growth need none."""
    import numpy as np

    from ringfence.rings import Links

    n = len(known.seq) if until_seq is None else int(np.searchsorted(known.seq, until_seq, side="right"))
    m = int(np.searchsorted(known.link_event, n))
    return Links(
        event_key=known.seq[:n],
        event_time_ms=known.time_ms[:n],
        event_label=known.label if until_seq is None else np.full(n, -1, np.int8),
        event_decided=known.event_type[:n] == scenario.decided.index,
        amount_minor=known.amount_minor[:n],
        link_event=known.link_event[:m],
        link_key=known.link_lo[:m],
        link_check=known.link_hi[:m],
        link_role=known.link_role[:m],
    )
