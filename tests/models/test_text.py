# SPDX-License-Identifier: Apache-2.0
"""The text model: its kernel against the definition, and whether it tells "stolen" from "not stolen"."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringfence.models.errors import ModelShapeError, TooFewEventsError, TooFewLabelsError
from ringfence.models.grams import Grams, Written, rarity_of
from ringfence.models.seen import Seen
from ringfence.models.text import TextModel, train_texts
from tests.oracles.gram_twin import bins_of, values_of

SMALL = Grams(bits=10)
THINGS = ("car", "van", "radio", "wheel")
WHEN = ("yesterday", "last night", "in front of my house", "on the ring road")


def narratives(seed: int, n: int, sentence: str = "The {thing} was {no}stolen {when}.") -> tuple[list[str], np.ndarray]:
    """Texts that differ by a negation alone in what decides: legit where it stands, fraud where it does not."""
    rng = np.random.default_rng(seed)
    fraud = rng.integers(0, 2, n)
    texts = [
        sentence.format(thing=rng.choice(THINGS), when=rng.choice(WHEN), no="" if is_fraud else "not ")
        for is_fraud in fraud
    ]
    return texts, fraud


@pytest.fixture(scope="module")
def model() -> TextModel:
    texts, fraud = narratives(1, 400)
    return train_texts((texts,), fraud)


def test_not_stolen_and_stolen_score_differently_where_the_labels_say_so(model: TextModel) -> None:
    for thing in THINGS:
        stolen, kept = model.raw_of(([f"My {thing} was stolen", f"My {thing} was not stolen"],))
        assert stolen > 0.5
        assert kept < -0.5


def test_two_negations_of_different_words_are_told_apart() -> None:
    # "not stolen, but damaged" against "stolen, but not damaged": the same words, only their neighbours differ.
    rng = np.random.default_rng(2)
    fraud = rng.integers(0, 2, 400)
    pair = ("The {} was not stolen but damaged", "The {} was stolen but not damaged")
    model = train_texts(([pair[one].format(rng.choice(THINGS)) for one in fraud],), fraud)
    low, high = model.raw_of((["the radio was not stolen but damaged", "the radio was stolen but not damaged"],))
    assert low < 0.0 < high


def test_a_negation_that_the_labels_do_not_care_for_changes_little() -> None:
    texts, _ = narratives(3, 400)
    fraud = np.array(["van" in text for text in texts]).astype(int)
    model = train_texts((texts,), fraud)
    kept, stolen, other = model.raw_of((["The car was not stolen", "The car was stolen", "The van was stolen"],))
    assert other - stolen > 5.0 * abs(kept - stolen)


@given(st.lists(st.one_of(st.none(), st.text(alphabet="ab \t.éß漢–nN't😀", max_size=60)), min_size=1, max_size=4))
def test_kernel_counts_and_weighs_as_the_definition_does(texts: list[str | None]) -> None:
    rng = np.random.default_rng(len(texts))
    rarity = rng.uniform(0.5, 3.0, SMALL.n_bins).astype(np.float32)
    weights = rng.normal(size=SMALL.n_bins).astype(np.float32)
    written = Written(texts, SMALL, 3)
    sizes, n_texts = written.count()
    hashed, raw = written.hashed(sizes, rarity), np.zeros(len(texts))
    written.add_raw(rarity, weights, raw)
    seen_in = np.zeros(SMALL.n_bins, np.int64)
    for k, text in enumerate(texts):
        counts = bins_of(text or "", attribute=3, bits=10, least=3, most=5, words=2)
        values = values_of(counts, dict(enumerate(map(float, rarity)))) if counts else {}
        part = slice(hashed.begins[k], hashed.begins[k + 1])
        found = dict(zip(hashed.bins[part].tolist(), hashed.values[part].tolist(), strict=True))
        assert found == pytest.approx(values, rel=1e-5)
        assert raw[k] == pytest.approx(sum(values[key] * float(weights[key]) for key in sorted(values)), abs=1e-5)
        seen_in[list(counts)] += 1
    assert n_texts.tolist() == seen_in.tolist()


def test_model_is_what_scikit_learn_fits_on_the_same_ngrams() -> None:
    from sklearn.linear_model import LogisticRegression

    texts, fraud = narratives(4, 120)
    counted = [bins_of(text, attribute=0, bits=18, least=3, most=5, words=2) for text in texts]
    n_texts = np.zeros(1 << 18, np.int64)
    for counts in counted:
        n_texts[list(counts)] += 1
    rarity = dict(enumerate(rarity_of(n_texts, len(texts)).astype(float)))
    used = np.flatnonzero(n_texts)
    matrix = np.zeros((len(texts), used.shape[0]))
    for row, counts in zip(matrix, counted, strict=True):
        for key, value in values_of(counts, rarity).items():
            row[np.searchsorted(used, key)] = value
    twin = LogisticRegression(C=1.0, max_iter=500, tol=1e-6).fit(matrix, fraud)
    model = train_texts((texts,), fraud, strength=1.0)
    np.testing.assert_allclose(model.raw_of((texts,)), twin.decision_function(matrix), atol=0.02)


def test_a_text_scores_alone_as_among_others_and_after_a_round_trip(model: TextModel) -> None:
    texts = [*narratives(5, 40)[0], None, "", "…", "x" * 9_000]
    together = model.raw(Seen(np.zeros((len(texts), 1)), texts=(texts,)), np.zeros((len(texts), 1)))
    again = TextModel.from_bytes(model.to_bytes())
    assert b"".join(again.raw_of(([text],)).tobytes() for text in texts) == together.tobytes()
    assert (
        again.to_bytes() == model.to_bytes() == train_texts((narratives(1, 400)[0],), narratives(1, 400)[1]).to_bytes()
    )


def test_nothing_said_is_the_intercept_and_what_is_far_down_is_not_read(model: TextModel) -> None:
    assert model.raw_of(([None, "", " .,;"],)).tolist() == [model.intercept] * 3
    filler = "word " * 800
    assert model.raw_of(([filler + " stolen"],)) == model.raw_of(([filler],))


def test_the_same_word_in_another_attribute_means_another_thing() -> None:
    texts, fraud = narratives(6, 300)
    model = train_texts((texts, texts[::-1]), fraud)  # the second attribute says nothing of its own event
    first, second = model.raw_of((["the car was stolen", None], [None, "the car was stolen"])).tolist()
    assert first - model.intercept > 3.0 * abs(second - model.intercept)
    with pytest.raises(ModelShapeError, match="reads 2 texts an event, found 1"):
        model.raw_of((texts,))


def test_telling_words_are_those_without_which_the_score_falls(model: TextModel) -> None:
    (told,) = model.telling_words(["The car was stolen yesterday, and I saw the thief"])
    assert told[0].word == "stolen"
    assert [one.raises for one in told] == sorted((one.raises for one in told), reverse=True)
    assert all(one.raises > 0.0 for one in told)
    assert model.telling_words([None]) == [[]]


def test_too_few_texts_and_labels_of_one_kind_are_refused() -> None:
    texts, fraud = narratives(7, 60)
    with pytest.raises(TooFewEventsError, match="events with a text: found 10, expected at least 50"):
        train_texts(([*texts[:10], *[None] * 50],), fraud)
    with pytest.raises(TooFewLabelsError):
        train_texts((texts,), np.zeros(60, np.int64))


def test_texts_are_scored_where_scikit_learn_is_not_there(model: TextModel, tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_bytes(model.to_bytes())
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from ringfence.models.branches import STORED\n"
        f"model = STORED['text'].read(open({str(tmp_path / 'text.npz')!r}, 'rb').read())\n"
        "print(model.raw_of((['The car was stolen'],))[0] > 0.5)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"True\n"
