# SPDX-License-Identifier: Apache-2.0
"""Simhash: one text, a column of texts, and the definition agree; copies are near and other stories are far."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ringfence.scenario.simhash import LEAST_WORDS, NO_TEXT, simhash_of, simhashes_of
from tests.oracles.text_twin import simhash_by_definition

STORY = "I was hit from behind on the motorway, near number 17. It was raining. The bumper is broken."
marks = st.sampled_from([" ", ", ", ". ", "\n", " – ", "\u00a0", "„", "“ ", "、", "-", "_"])
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(["car", "Über", "STRASSE", "ß"])
stories = st.lists(st.tuples(words, marks), max_size=20).map(lambda parts: "".join(w + m for w, m in parts))


@settings(max_examples=60)
@given(st.lists(st.none() | stories, max_size=6))
@example(["a b c d e f g", "a b c d e f g h", "", None, "é" * 9, "\u00c2 \u00e2 \u2019s \u3042 \u3002x y z v w"])
def test_one_text_and_a_column_equal_the_definition(texts: list[str | None]) -> None:
    expected = [simhash_by_definition(text) for text in texts]
    assert [simhash_of(text) for text in texts] == expected
    column = simhashes_of(pl.Series(texts, dtype=pl.String))
    assert column.dtype == np.uint64
    assert column.tolist() == expected


def test_case_spaces_and_punctuation_do_not_count() -> None:
    copies = [STORY.upper(), STORY.replace(",", " –"), STORY.replace(". ", "!\n\n"), f"»{STORY}«"]
    assert {simhash_of(copy) for copy in copies} == {simhash_of(STORY)}


def test_a_text_of_few_words_has_none() -> None:
    assert simhash_of(" ".join(["word"] * (LEAST_WORDS - 1))) == NO_TEXT
    assert simhash_of(" ".join(["word"] * LEAST_WORDS)) != NO_TEXT
    assert simhash_of(None) == simhash_of("") == NO_TEXT


def test_an_edit_of_a_long_text_is_near_and_another_story_is_far() -> None:
    rng = np.random.default_rng(6)
    vocabulary = ["".join(chr(97 + int(c)) for c in rng.integers(0, 26, 6)) for _ in range(2000)]
    share = 1 / np.arange(1, 2001)
    near = 0
    for _ in range(40):
        story, other = (rng.choice(vocabulary, 200, p=share / share.sum()).tolist() for _ in range(2))
        edited = [*story]
        edited[int(rng.integers(200))] = "edited"
        near += (simhash_of(" ".join(story)) ^ simhash_of(" ".join(edited))).bit_count() <= 3
        assert (simhash_of(" ".join(story)) ^ simhash_of(" ".join(other))).bit_count() > 3
    assert near >= 30
