# SPDX-License-Identifier: Apache-2.0
"""The exported graph: equal to a slow twin made of the ledger's records; labels stop at the cut; whole or not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

import ringfence
from ringfence.cli.application import run
from ringfence.cli.exits import Exit
from ringfence.engine import Catalogue, feature_rows
from ringfence.ledger.ledger import Ledger
from ringfence.scenario.clock import FakeClock
from ringfence.scenario.door import Door
from ringfence.scenario.event import LabelNotice
from ringfence.steps.errors import GraphFolderError, NoCutError
from ringfence.steps.graph_export import export_graph
from ringfence.steps.graph_files import GraphFiles
from ringfence.steps.opened import OpenWorkspace
from ringfence.workspace import Workspace
from tests.oracles.graph_twin import GraphTwin, graph_twin

DAY = 86_400_000
T0 = 1_704_067_200_000  # 2024-01-01
CUT = T0 + 30 * DAY
YAML = """
scenarios:
  claims:
    decide: claim
    windows: [7d]
    label_precedence: [court]
    sources: {claim: claims.parquet, change: changes.parquet}
    events:
      claim:
        event_id: id
        event_time: at
        amount: {field: sum, currency: EUR}
        entities:
          claimant: {column: claimant, type: person}
          witness: {column: witnesses, type: person, many: true}
          shop: shop
        attributes:
          make: category
          age: number
          night: boolean
          bought: time
          story: text
          sex: {type: category, use: audit_only}
          phone: {type: category, personal: true}
        label: {field: fraud, values: {fraud: [1], legit: [0]}, known_at: known}
      change: {event_id: id, event_time: at, entities: {claimant: person}}
"""


def claims(n: int = 60) -> pl.DataFrame:
    """A claim a day; the claimant of one is a witness of others, labels are ten days late, and some never come."""
    rows: list[dict[str, Any]] = [
        {
            "id": f"c{i}",
            "at": T0 + i * DAY,
            "sum": None if i % 9 == 0 else 100.25 + i,
            "claimant": f"p{i % 7}",
            "witnesses": [f"p{j}" for j in ((i + 1) % 7, (i + 3) % 7)][: i % 3],
            "shop": None if i % 5 == 0 else f"s{i % 4}",
            "make": None if i % 8 == 0 else ("vw", "bmw")[i % 2],
            "age": 20.0 + i,
            "night": i % 3 == 0,
            "bought": T0 - i * DAY,
            "story": "x" * (i % 4),
            "sex": "f",
            "phone": f"+49 {i}",
            "fraud": None if i % 6 == 5 else int(i % 4 == 0),
            "known": None if i % 6 == 5 else T0 + (i + 10) * DAY,
        }
        for i in range(n)
    ]
    return pl.DataFrame(rows, schema_overrides={"witnesses": pl.List(pl.String)})


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OpenWorkspace:
    """Sixty claims and some changes imported; then, live, a late one, one of today, and labels that overrule."""
    folder = tmp_path_factory.mktemp("graph")
    (folder / "ringfence.yaml").write_text(YAML)
    claims().write_parquet(folder / "claims.parquet")
    changes = [{"id": f"x{i}", "at": T0 + i * 4 * DAY + 1, "person": f"p{i % 9}"} for i in range(12)]
    pl.DataFrame(changes).write_parquet(folder / "changes.parquet")
    work: OpenWorkspace = ringfence.open(folder)
    work.import_()
    ledger, clock = ledger_of(work), FakeClock(T0 + 61 * DAY)
    door = Door(ledger.scenario, ledger.identity)
    with ledger.writer(clock) as writer:
        for at in (T0 + 20 * DAY, T0 + 60 * DAY):
            claim = {
                "event_id": f"live-{at}", "event_type": "claim", "event_time": at, "amount": 7.0,
                "entities": {"claimant": "p1", "witness": ["new", "p1"]}, "attributes": {"make": "vw", "phone": "1"},
            }  # fmt: skip
            writer.stage_event(door.admit(claim, now_ms=clock.now_ms()))
        for source in ("phone", "court", "phone"):  # the last one changes nothing
            value = int(source == "court")
            writer.stage_label(
                LabelNotice(event_type="claim", event_id="c5", value=value, source=source, known_at_ms=None)
            )
        writer.commit()
    return work


def ledger_of(work: OpenWorkspace) -> Ledger:
    here = Workspace(work.path)
    return Ledger.open(here.ledger_dir("claims"), here.scenario())


def held(found: GraphFiles, twin: GraphTwin) -> None:
    """Compare every table with the twin's."""
    for event_type, rows in twin.events.items():
        assert found.events(event_type).to_dicts() == rows
    for entity_type, rows in twin.entities.items():
        assert found.entities(entity_type).to_dicts() == rows
    for (event_type, role), rows in twin.edges.items():
        assert found.edges(role, event_type).to_dicts() == rows
    assert found.labels().to_dicts() == twin.labels
    assert set(found.manifest.files) == {
        *(f"events/{name}.parquet" for name in twin.events),
        *(f"entities/{name}.parquet" for name in twin.entities),
        *(f"edges/{event_type}.{role}.parquet" for event_type, role in twin.edges),
        "labels.parquet",
        *(["later_labels.parquet"] if found.manifest.n_later_labels is not None else []),
        *(["features.parquet"] if found.manifest.features else []),
    }


@pytest.mark.parametrize("until_ms", [None, CUT, CUT - 1, T0 - DAY, T0 + 500 * DAY])
def test_graph_equals_a_slow_twin_made_of_the_ledger(
    opened: OpenWorkspace, tmp_path: Path, until_ms: int | None
) -> None:
    found = opened.export_graph(tmp_path / "out", until=until_ms, features=False, with_ids=True)
    held(found, graph_twin(ledger_of(opened), until_ms))
    again = GraphFiles.open(tmp_path / "out")
    assert msgspec.to_builtins(again.manifest) == msgspec.to_builtins(found.manifest)


def test_graph_does_not_depend_on_how_the_ledger_is_cut_into_batches(opened: OpenWorkspace, tmp_path: Path) -> None:
    whole = opened.export_graph(tmp_path / "whole", until=CUT, later_labels=True)
    here = Workspace(opened.path)
    pieces = export_graph(here, here.scenario(), tmp_path / "pieces", until_ms=CUT, later_labels=True, at_once=7)
    assert pieces.manifest.files == whole.manifest.files
    assert (tmp_path / "pieces" / "manifest.json").read_bytes() == (tmp_path / "whole" / "manifest.json").read_bytes()


def test_no_label_after_the_cut_is_in_it_and_later_ones_have_a_file_of_their_own(
    opened: OpenWorkspace, tmp_path: Path
) -> None:
    found = opened.export_graph(tmp_path / "out", until=CUT, features=False, later_labels=True)
    events, labels = found.events(), found.labels()
    moment = pl.lit(CUT).cast(pl.Datetime("ms", "UTC"))
    assert events.filter(pl.col("label").is_not_null())["part"].unique().to_list() == ["train"]
    assert labels.filter(pl.col("known_at") > moment).is_empty()
    assert labels.height == found.manifest.n_labels > 10
    later = found.labels(later=True)
    assert later.height == found.manifest.n_labels + (found.manifest.n_later_labels or 0)
    assert later["seq"].is_sorted()
    # c5 had no label at the cut; then it was legit by phone, and fraud by the court.
    node = events.filter(event_id="c5")["node"][0]
    assert later.filter(event=node)["label"].to_list() == [0, 1]
    assert labels.filter(event=node).is_empty()
    without = opened.export_graph(tmp_path / "without", until=CUT, features=False)
    assert without.manifest.n_later_labels is None
    assert not (tmp_path / "without" / "later_labels.parquet").exists()
    assert without.labels(later=True).equals(labels)


def test_parts_are_those_of_train_and_score(opened: OpenWorkspace, tmp_path: Path) -> None:
    found = opened.export_graph(tmp_path / "out", until=CUT, features=False)
    part = dict(found.events().select("event_id", "part").iter_rows())
    assert (part["c0"], part["c5"], part["c25"], part["c29"], part["c30"]) == (
        "train", "unlabelled", "unlabelled", "unlabelled", "test",
    )  # fmt: skip
    assert part[f"live-{T0 + 20 * DAY}"] == "late"
    assert part[f"live-{T0 + 60 * DAY}"] == "test"
    assert found.manifest.parts["late"] == 1


def test_entity_of_two_roles_is_one_node_and_seats_count_within_a_role(opened: OpenWorkspace, tmp_path: Path) -> None:
    found = opened.export_graph(tmp_path / "out", features=False, with_ids=True)
    person = dict(found.entities("person").select("entity_id", "node").iter_rows())
    live = found.events().filter(event_id=f"live-{T0 + 60 * DAY}")["node"][0]
    claimant, witness = (found.edges(role).filter(event=live) for role in ("claimant", "witness"))
    assert claimant.select("entity", "seat").rows() == [(person["p1"], 0)]
    assert witness.select("entity", "seat").rows() == [(person["new"], 0), (person["p1"], 1)]
    assert found.edges("claimant", "change").height == 12
    # p8 is named by a change alone, and shops are another type.
    assert set(person) == {*(f"p{i}" for i in range(9)), "new"}
    assert set(found.entities("shop")["entity_id"]) == {f"s{i}" for i in range(4)}


def test_features_are_the_rows_as_of_each_event(opened: OpenWorkspace, tmp_path: Path) -> None:
    found = opened.export_graph(tmp_path / "out", until=CUT)
    ledger = ledger_of(opened)
    catalogue = Catalogue.build(ledger.scenario)
    events, rows = found.events(), found.scan("features.parquet").collect()
    assert rows.columns == ["node", *catalogue.names] == ["node", *(f.name for f in found.manifest.features)]
    assert rows["node"].to_list() == events["node"].to_list() == list(range(events.height))
    expected = feature_rows(ledger, catalogue, events["seq"].to_numpy()).rows
    assert rows.drop("node").to_numpy().tobytes() == expected.tobytes()
    assert found.manifest.spec_hash == catalogue.spec_hash


def test_a_later_export_gives_everything_the_same_number(tmp_path: Path) -> None:
    def numbered(n: int) -> GraphFiles:
        folder = tmp_path / str(n)
        folder.mkdir()
        (folder / "ringfence.yaml").write_text(YAML.replace(", change: changes.parquet", ""))
        key = tmp_path / "identity.key"
        if key.exists():
            home = folder / "ledger" / "claims"
            home.mkdir(parents=True)
            (home / "identity.key").write_bytes(key.read_bytes())
            (home / "identity.key").chmod(0o600)
        claims(n).write_parquet(folder / "claims.parquet")
        work: OpenWorkspace = ringfence.open(folder)
        work.import_()
        key.write_bytes((folder / "ledger" / "claims" / "identity.key").read_bytes())
        found: GraphFiles = work.export_graph(folder / "out", features=False)
        return found

    early, late = numbered(4), numbered(40)
    for entity_type in ("person", "shop"):
        first, more = (one.entities(entity_type)["key"].to_list() for one in (early, late))
        assert len(first) < len(more)
        assert more[: len(first)] == first
    assert late.events()["event_id"][:4].to_list() == early.events()["event_id"].to_list()


def test_what_is_personal_or_for_audits_is_never_written(opened: OpenWorkspace, tmp_path: Path) -> None:
    found = opened.export_graph(tmp_path / "out", until=CUT, features=False)
    assert [column for column in found.events().columns if column.startswith("attribute.")] == [
        "attribute.make", "attribute.age", "attribute.night", "attribute.bought", "attribute.story",
    ]  # fmt: skip
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"+49" not in written
    assert found.entities("person").columns == ["node", "key", "first_seq"]


def test_empty_ledger_gives_tables_without_rows(tmp_path: Path) -> None:
    (tmp_path / "ringfence.yaml").write_text(YAML)
    found = ringfence.open(tmp_path).export_graph(tmp_path / "out", until="2024-01-01")
    assert [found.events(name).height for name in ("claim", "change")] == [0, 0]
    assert [found.entities(name).height for name in ("person", "shop")] == [0, 0]
    assert (
        found.edges("claimant").height == found.labels().height == found.scan("features.parquet").collect().height == 0
    )
    assert found.manifest.parts == {"train": 0, "unlabelled": 0, "late": 0, "test": 0}


def occupied(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine").write_text("x")


@pytest.mark.parametrize(
    ("make", "message"), [(occupied, "it is not empty; name another one"), (Path.touch, "it is no folder")]
)
def test_folder_that_holds_something_is_refused(
    opened: OpenWorkspace, tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "out")
    with pytest.raises(GraphFolderError, match=message):
        opened.export_graph(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_stopped_export_leaves_nothing(opened: OpenWorkspace, tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened.export_graph(tmp_path / "out", features=False, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda found: found.events("no"), "no event type 'no'; name one of claim, change"),
        (lambda found: found.entities("claimant"), "no entity type 'claimant'; name one of person, shop"),
        (lambda found: found.edges("shop", "change"), "no role of change 'shop'; name one of claimant"),
    ],
)
def test_what_a_graph_does_not_hold_is_told(
    opened: OpenWorkspace, tmp_path: Path, ask: Callable[[GraphFiles], pl.DataFrame], message: str
) -> None:
    found = opened.export_graph(tmp_path / "out", features=False)
    with pytest.raises(GraphFolderError, match=message):
        ask(found)


def test_what_is_no_graph_is_told(tmp_path: Path) -> None:
    with pytest.raises(GraphFolderError, match=r"its manifest\.json cannot be read"):
        GraphFiles.open(tmp_path)


def test_command_writes_what_python_writes(
    opened: OpenWorkspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "by-command").mkdir()  # an empty folder will do
    command = ["export", "graph", "-w", str(opened.path), "--until", "2024-01-31", "--no-features"]
    assert run([*command, "-o", str(tmp_path / "by-command"), "--json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    found = opened.export_graph(tmp_path / "by-python", until="2024-01-31", features=False)
    assert told["digest"] == found.manifest.digest
    assert told["parts"] == found.manifest.parts
    assert run([*command, "-o", str(tmp_path / "by-command")]) == Exit.BAD_INPUT
    assert "is not empty" in capsys.readouterr().err
    assert "smaller seq" in (tmp_path / "by-command" / "README.md").read_text()


def test_later_labels_need_a_cut(opened: OpenWorkspace, tmp_path: Path) -> None:
    with pytest.raises(NoCutError, match="--until"):
        opened.export_graph(tmp_path / "out", later_labels=True)
