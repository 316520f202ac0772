# SPDX-License-Identifier: Apache-2.0
"""PyTorch Geometric on the exported graph: inputs are fitted on training events alone, models see no later event."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import ringfence
from benchmarks.pyg_figures import asked_of, figures, reviewed
from benchmarks.pyg_graph import EventGraph, read_graph, sample
from benchmarks.pyg_inputs import ALL_FEATURES, ATTRIBUTES, Inputs, event_inputs, node_inputs
from ringfence.models.metrics import average_precision

# PyTorch Geometric compiles some of its functions when it is imported, in a way that PyTorch warns of.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

YAML = """
scenarios:
  claims:
    decide: claim
    windows: [7d]
    features: {one_hop: false, neighbour_risk: false, velocity: false}
    sources: {claim: claims.parquet}
    events:
      claim:
        event_id: id
        event_time: at
        amount: {field: sum, currency: EUR}
        entities: {claimant: {column: claimant, type: person}, shop: shop}
        attributes: {make: category, age: number, night: boolean, bought: time}
        label: {field: fraud, values: {fraud: [1], legit: [0]}, delay: 5d}
"""
DAY, T0, N = 86_400_000, 1_704_067_200_000, 400
CUT = T0 + 300 * DAY // 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Claims four a day; frauds sit at three shops. After the cut all are dearer, and of a make that was not there."""
    home = tmp_path_factory.mktemp("pyg")
    rng = np.random.default_rng(1)
    shop = rng.integers(0, 15, N)
    later = np.arange(N) >= 300
    claims = pl.DataFrame(
        {
            "id": [f"c{i}" for i in range(N)],
            "at": T0 + np.arange(N) * DAY // 4,
            "sum": rng.gamma(2.0, 100.0, N).round(2) + 10_000 * later,
            "claimant": rng.integers(0, 90, N),
            "shop": shop,
            "make": ["new" if now else ("a", "b", None)[i % 3] for i, now in enumerate(later)],
            "age": [None if i % 7 == 0 else 20.0 + i % 50 for i in range(N)],
            "night": rng.integers(0, 2, N).astype(bool),
            "bought": T0 - rng.integers(1, 900, N) * DAY,
            "fraud": (rng.random(N) < np.where(shop < 3, 0.7, 0.02)).astype(int),
        }
    )
    claims.write_parquet(home / "claims.parquet")
    (home / "ringfence.yaml").write_text(YAML)
    work = ringfence.open(home)
    work.import_()
    work.export_graph(home / "graph", until=CUT, later_labels=True)
    return home / "graph"


def test_graph_is_read_as_it_was_exported(folder: Path) -> None:
    graph = read_graph(folder)
    assert (graph.seq.shape[0], graph.test.shape[0], graph.roles) == (N, 100, ("claimant", "shop"))
    assert (graph.label[graph.train] >= 0).all()
    assert (np.delete(graph.label, graph.train) < 0).all()
    # Labels are five days late, so that the twentieth claim before is the newest whose label is known.
    seed = 390
    known = graph.known_label(np.arange(N), np.full(N, graph.seq[seed]))
    assert (known >= 0).sum() == np.flatnonzero(known >= 0).max() + 1 == seed - 19


@pytest.mark.parametrize("kind", [ATTRIBUTES, ALL_FEATURES])
def test_inputs_are_fitted_on_the_training_events_alone(folder: Path, kind: str) -> None:
    graph = read_graph(folder)
    inputs = event_inputs(folder, graph, kind)
    values = dict(zip(inputs.names, inputs.values.T.astype(np.float64), strict=True))
    assert np.abs(inputs.values).max() <= 1.0
    assert len(set(np.round(values["amount"][graph.test], 3))) == 1  # all dearer than any that was learnt from
    assert "attribute.make=a" in values
    assert "attribute.make=new" not in values
    assert values["attribute.age missing"][:8].tolist() == [1, 0, 0, 0, 0, 0, 0, 1]
    assert ("claimant.n_events" in values) == (kind == ALL_FEATURES)
    rank = values["attribute.age"][graph.train]
    assert abs(np.mean(rank)) < 0.02


def test_node_inputs_tell_seed_label_gap_and_how_many_there_were(folder: Path) -> None:
    graph = read_graph(folder)
    inputs = event_inputs(folder, graph, ATTRIBUTES)
    found = sample(graph, np.array([0, 390]))
    events, entities = node_inputs(graph, inputs, found)
    assert events.shape == (found.event.shape[0], len(inputs.names) + 5)
    assert events[:, -5].sum() == 2
    assert events[:2, -4:].tolist() == [[0, 0, 0, 1]] * 2
    assert np.allclose(np.expm1(events[:, -2] * 5.0), found.gap_ms / DAY, rtol=1e-3, atol=1e-3)
    assert (entities[:, :2].sum(axis=1) == 1).all()
    assert (entities[found.entity_seed == 0, -1] == 1).all()  # the first claim's entities have done nothing yet


def test_without_pytorch_geometric_it_is_said_how_to_get_it(folder: Path) -> None:
    from benchmarks import pyg

    try:
        import torch_geometric
    except ImportError:
        with pytest.raises(SystemExit, match=r"pip install -c constraints\.txt -e '\.\[bench,gnn\]'"):
            pyg.graph_sage_scores(folder, seed=0)
    else:
        assert torch_geometric.__version__


def kept_short(graph: EventGraph, inputs: Inputs, kind: str) -> np.ndarray:
    models = pytest.importorskip("benchmarks.pyg_models", reason="PyTorch Geometric (extra bench) is not installed")
    fitting = models.Fitting(graph, inputs, seed=0, budget_s=20.0)
    fitted = fitting.fit(kind)
    found = fitting.raw(fitted.network, graph.test)
    one_by_one = np.concatenate([fitting.raw(fitted.network, graph.test[at : at + 1]) for at in range(20)])
    assert np.allclose(found[:20], one_by_one, atol=1e-4)
    again = fitting.raw(fitted.network, graph.test)
    assert again.tolist() == found.tolist()
    return np.asarray(found)


@pytest.mark.parametrize("kind", ["GCN", "GraphSAGE", "RGCN", "no graph"])
def test_networks_learn_and_score_each_event_from_what_it_may_see(folder: Path, kind: str) -> None:
    pytest.importorskip("torch_geometric", reason="PyTorch Geometric (extra bench) is not installed")
    graph = read_graph(folder)
    raw = kept_short(graph, event_inputs(folder, graph, ATTRIBUTES), kind)
    assert raw.shape == graph.test.shape
    truth = graph.known_label(graph.test, np.full(graph.test.shape[0], graph.last_seq + 1))
    known = truth >= 0
    better = average_precision(truth[known], raw[known]) - truth[known].mean()
    if kind != "no graph":  # shops that frauds sit at are told by their earlier claims alone
        assert better > 0.15


def test_scores_of_graph_sage_are_those_of_every_test_event(folder: Path) -> None:
    pytest.importorskip("torch_geometric", reason="PyTorch Geometric (extra bench) is not installed")
    from benchmarks.pyg import graph_sage_scores

    scores = graph_sage_scores(folder, seed=0, budget_s=10.0)
    assert scores.schema == {"event_id": pl.String(), "score": pl.Float64()}
    assert scores["event_id"].to_list() == [f"c{i}" for i in range(300, N)]
    assert scores["score"].is_between(0.0, 1.0).all()


def test_reviews_are_the_highest_scores_of_a_day() -> None:
    test = asked_of(np.array([1, 0, 1, 0, 1], np.int8), np.array([0, 1, 2, DAY, DAY + 1]))
    score = np.array([0.1, 0.9, 0.9, 0.2, 0.3])
    assert reviewed(test, score, 1).tolist() == [False, True, False, False, True]
    assert reviewed(test, score, 2).tolist() == [False, True, True, True, True]


def test_figures_are_means_over_seeds_with_paired_differences() -> None:
    rng = np.random.default_rng(0)
    fraud = (rng.random(600) < 0.2).astype(np.int8)
    test = asked_of(fraud, np.arange(600) * DAY // 4)
    good, bad = fraud + rng.normal(0, 0.5, 600), rng.normal(0, 1, 600)
    found = figures(test, [good, bad], [bad])
    ap = [average_precision(fraud, one) for one in (good, bad)]
    assert found["AP"].value == pytest.approx(np.mean(ap))
    assert found["AP less"].value == pytest.approx((ap[0] - ap[1]) / 2)
    assert found["AP less"].low > 0
    assert found["recall at 50 reviews a day"].value == 1.0  # four a day: all are looked at
    same = figures(test, [bad], [bad])["AP less"]
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
