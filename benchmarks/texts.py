# SPDX-License-Identifier: Apache-2.0
"""How the text branch reads a text, and what it costs.

    python -m benchmarks.texts                     # microseconds a text, seconds of a fit
    python -m benchmarks.texts --rated DIR         # n-grams, bins, weighting and price of weights, on rated sentences

DIR holds tab-separated files without header, UTF-8 or Latin-1: id, rating from -4 to 4, text. Those that the defaults
were chosen on are the sentences of Hutto & Gilbert, "VADER", ICWSM 2014 (films, products, tweets, editorials), where
negation decides much: `additional_resources/hutto_ICWSM_2014.tar.gz` of the source package vaderSentiment 3.3.2. A
rating below -1 counts as 1, all else as 0. Each setting is fitted on four fifths and judged on the fifth that was left
out; log-loss and average precision are means over the folds, and each file counts alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import KFold

from ringfence.models.grams import words_of
from ringfence.models.text import STRENGTH, train_texts
from ringfence.simulate.motor.narratives import CLAIM_TYPES, narratives
from ringfence.training.texts import MOST_FRAUDS, MOST_LEGIT

N_FOLDS = 5
N_FITTED = MOST_FRAUDS + MOST_LEGIT
SENTENCE = "It was raining and the other driver came from the right, I braked but could not stop in time. "


@dataclass(frozen=True)
class Setting:
    """One way to read texts; the defaults are those of `models.text`."""

    bits: int = 18
    words: int = 2
    characters: tuple[int, int] | None = (3, 5)
    signed: bool = False
    sublinear: bool = True
    rarity: bool = True
    strength: float = STRENGTH

    def grams(self, text: str) -> Iterator[str]:
        words = words_of(text)
        read = f" {' '.join(words)} "
        if self.characters is not None and words:
            for n in range(self.characters[0], self.characters[1] + 1):
                yield from (f"c{read[first : first + n]}" for first in range(len(read) - n + 1))
        if self.words:
            yield from (f"w{word}" for word in words)
        if self.words > 1:
            yield from (f"p{before} {word}" for before, word in pairwise(["", *words]))


USED = Setting()
SETTINGS = {
    "as it is": USED,
    "words alone": replace(USED, words=1, characters=None),
    "words and pairs": replace(USED, characters=None),
    "characters alone": replace(USED, words=0),
    "without pairs": replace(USED, words=1),
    "characters 2 to 4": replace(USED, characters=(2, 4)),
    "characters 3 to 6": replace(USED, characters=(3, 6)),
    "2^14 bins": replace(USED, bits=14),
    "2^16 bins": replace(USED, bits=16),
    "2^20 bins": replace(USED, bits=20),
    "2^16 bins, signed": replace(USED, bits=16, signed=True),
    "signed": replace(USED, signed=True),
    "plain counts": replace(USED, sublinear=False),
    "without rarity": replace(USED, rarity=False),
    "C 1": replace(USED, strength=1.0),
    "C 3": replace(USED, strength=3.0),
    "C 30": replace(USED, strength=30.0),
}


def rated(path: Path, most: int) -> tuple[list[str], np.ndarray]:
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    rows = [line.split("\t") for line in text.splitlines() if line.count("\t") >= 2]
    kept = np.random.default_rng(1).permutation(len(rows))[:most]
    return [rows[at][2] for at in kept], np.array([float(rows[at][1]) < -1.0 for at in kept]).astype(int)


def judged(setting: Setting, texts: list[str], bad: np.ndarray) -> tuple[float, float]:
    hashing = HashingVectorizer(
        analyzer=lambda text: list(setting.grams(text)),
        n_features=1 << setting.bits,
        alternate_sign=setting.signed,
        norm=None,
        dtype=np.float32,
    )
    counts = hashing.transform(texts)
    counts = counts[:, counts.getnnz(axis=0) > 0]  # empty bins change nothing but the time
    losses, precisions = [], []
    for fit, left_out in KFold(N_FOLDS, shuffle=True, random_state=0).split(texts):
        weighting = TfidfTransformer(use_idf=setting.rarity, sublinear_tf=setting.sublinear and not setting.signed)
        model = LogisticRegression(C=setting.strength, max_iter=500)
        model.fit(weighting.fit_transform(counts[fit]), bad[fit])
        found = model.predict_proba(weighting.transform(counts[left_out]))[:, 1]
        losses.append(log_loss(bad[left_out], found))
        precisions.append(average_precision_score(bad[left_out], found))
    return float(np.mean(losses)), float(np.mean(precisions))


def by_kernel(texts: list[str], bad: np.ndarray) -> tuple[float, float]:
    losses, precisions = [], []
    for fit, left_out in KFold(N_FOLDS, shuffle=True, random_state=0).split(texts):
        model = train_texts(([texts[at] for at in fit],), bad[fit])
        found = model.probability(model.raw_of(([texts[at] for at in left_out],)))
        losses.append(log_loss(bad[left_out], found))
        precisions.append(average_precision_score(bad[left_out], found))
    return float(np.mean(losses)), float(np.mean(precisions))


def choose(folder: Path, most: int) -> None:
    files = [rated(path, most) for path in sorted(folder.glob("*GroundTruth.txt"))]
    for texts, bad in files:
        print(f"{len(texts):,} sentences, {100 * bad.mean():.1f} % below -1")
    print(f"{'setting':20s} {'log-loss':>9s} {'AP':>7s}")
    for name, setting in SETTINGS.items():
        found = np.mean([judged(setting, *file) for file in files], axis=0)
        print(f"{name:20s} {found[0]:9.4f} {found[1]:7.4f}", flush=True)
    found = np.mean([by_kernel(*file) for file in files], axis=0)
    print(f"{'models.text':20s} {found[0]:9.4f} {found[1]:7.4f}", flush=True)


def cost() -> None:
    text = (SENTENCE * 4)[:300]
    some = [SENTENCE.replace("right", word) for word in ("left", "right", "back", "side")] * 50
    model = train_texts((some,), np.arange(len(some)) % 2)
    for n in (1, 16, 64):
        taken = []
        for _ in range(300):
            began = time.perf_counter()
            model.raw_of(([text] * n,))
            taken.append((time.perf_counter() - began) / n * 1e6)
        usual, slow = np.quantile(taken, (0.5, 0.99))
        print(f"{n:3d} texts of 300 characters at once: {usual:6.1f} µs a text, 99 % below {slow:.1f}")
    began = time.perf_counter()
    model.telling_words([text])
    print(f"the words that raise a score most, after the answer: {(time.perf_counter() - began) * 1e3:.2f} ms a text")


def fit_cost() -> None:
    rng = np.random.default_rng(0)
    texts = narratives(rng.integers(0, len(CLAIM_TYPES), N_FITTED), rng.random((6, N_FITTED))).to_list()
    began = time.perf_counter()
    train_texts((texts,), (rng.random(N_FITTED) < 0.5).astype(int))
    mean = np.mean([len(text) for text in texts])
    seconds = time.perf_counter() - began
    print(f"a fit on {N_FITTED:,} simulated narratives of {mean:.0f} characters, the most there are: {seconds:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rated", type=Path)
    parser.add_argument("--most", type=int, default=4_000, help="sentences of a file")
    asked = parser.parse_args()
    if asked.rated is None:
        cost()
        fit_cost()
    else:
        choose(asked.rated, asked.most)


if __name__ == "__main__":
    main()
