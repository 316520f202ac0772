# SPDX-License-Identifier: Apache-2.0
"""What do an event's texts say? A linear model of n-grams, fitted by scikit-learn and served by a kernel.

    raw = b + sum over texts of  sum_g w_g x_g,   x_g = (1 + ln c_g) r_g / length,   r_g = ln((1 + n) / (1 + n_g)) + 1

c_g counts the n-grams of the text in bin g, n_g the texts of training in it; see `grams`. Texts are hashed, so that
neither words nor texts stand in a release; which words raised a score is found by leaving each out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ringfence.models.branch import Need
from ringfence.models.calibration import sigmoid
from ringfence.models.errors import ModelShapeError, TooFewEventsError, TooFewLabelsError
from ringfence.models.grams import Grams, Hashed, SingleArray, Written, rarity_of, words_of

if TYPE_CHECKING:
    from ringfence.models.seen import Seen, Texts

FloatArray = NDArray[np.float64]

LEAST_TEXTS: Final = 50
STRENGTH: Final = 10.0  # C of scikit-learn's LogisticRegression; chosen in benchmarks/texts.py
_GRAMS: Final = Grams()
_MOST_WORDS: Final = 400  # of a text that are left out one by one


class Word(NamedTuple):
    """A word of a text, and how much less the raw score is without it."""

    word: str
    raises: float


@dataclass(frozen=True, eq=False)
class TextModel:
    """Weights of bins. p text attributes share them; an n-gram's bin depends on the attribute.

    Attributes
    ----------
    rarity, weights : shape (n_bins,), float32.
    """

    grams: Grams
    n_texts: int
    rarity: SingleArray
    weights: SingleArray
    intercept: float

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({Need.TEXTS})

    @property
    def n_features(self) -> None:
        return None

    def raw(self, seen: Seen, encoded: FloatArray) -> FloatArray:
        """Return log-odds, shape (n,); those of an event without words are the intercept."""
        return self.raw_of(seen.texts)

    def raw_of(self, texts: Texts) -> FloatArray:
        """Return log-odds, shape (n,), of p sequences of n texts, None where there is none.

        A text's bits do not depend on the texts beside it.

        Raises
        ------
        ModelShapeError
            If there are more or fewer texts an event than in training.
        """
        if len(texts) != self.n_texts:
            raise ModelShapeError(f"the text model reads {self.n_texts} texts an event, found {len(texts)}")
        out = np.full(len(texts[0]), self.intercept)
        for attribute, column in enumerate(texts):
            Written(column, self.grams, attribute).add_raw(self.rarity, self.weights, out)
        return out

    def shares(self, seen: Seen, encoded: FloatArray) -> None:
        """Return None: a text's score is made of words, and of no feature."""
        return None

    def probability(self, raw: FloatArray) -> FloatArray:
        return sigmoid(raw)

    def telling_words(self, texts: Sequence[str | None], *, most: int = 5) -> list[list[Word]]:
        """Return, for each text of one event, the words that raise its score most, the strongest first.

        Each word is left out, wherever it stands, and the text scored again. For after the answer, and for eyes that
        may read the text.
        """
        told = []
        for attribute, text in enumerate(texts):
            words = words_of(text)[:_MOST_WORDS] if text is not None else []
            distinct = list(dict.fromkeys(words))
            without = [" ".join(word for word in words if word != left_out) for left_out in distinct]
            raw = np.zeros(len(distinct) + 1)
            Written([" ".join(words), *without], self.grams, attribute).add_raw(self.rarity, self.weights, raw)
            found = [Word(word, float(raw[0] - other)) for word, other in zip(distinct, raw[1:], strict=True)]
            found.sort(key=lambda one: -one.raises)
            told.append([one for one in found[:most] if one.raises > 0.0])
        return told

    def shifted(self, by: float) -> TextModel:
        """Return the same model at another base rate."""
        return replace(self, intercept=self.intercept + by)

    def to_bytes(self) -> bytes:
        """Return the model as one npz file; equal models give equal bytes."""
        file = BytesIO()
        np.savez_compressed(
            file,
            grams=np.frombuffer(msgspec.json.encode(self.grams), np.uint8),
            n_texts=np.array(self.n_texts),
            rarity=self.rarity,
            weights=self.weights,
            intercept=np.array(self.intercept),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> TextModel:
        with np.load(BytesIO(data)) as stored:
            return cls(
                grams=msgspec.json.decode(stored["grams"].tobytes(), type=Grams),
                n_texts=int(stored["n_texts"]),
                rarity=stored["rarity"],
                weights=stored["weights"],
                intercept=float(stored["intercept"]),
            )


def train_texts(
    texts: Texts,
    labels: NDArray[np.integer[Any]],
    *,
    grams: Grams = _GRAMS,
    strength: float = STRENGTH,
) -> TextModel:
    """Fit a logistic regression of the texts' n-grams. The same arguments give the same model.

    Parameters
    ----------
    texts : p sequences of n texts, None where an event has none.
    labels : shape (n,), 1 for fraud, 0 for legit.
    strength : inverse of the squared weights' price, > 0; larger fits closer.

    Raises
    ------
    TooFewLabelsError
        Where one of the two classes is absent.
    TooFewEventsError
        If fewer than `LEAST_TEXTS` events have a word.
    """
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    y = np.asarray(labels)
    n_fraud = int(np.count_nonzero(y == 1))
    if not 0 < n_fraud < y.shape[0]:
        raise TooFewLabelsError("train_texts", n_fraud, y.shape[0] - n_fraud)
    written = [Written(column, grams, attribute) for attribute, column in enumerate(texts)]
    counted = [one.count() for one in written]
    has_words = np.any([sizes > 0 for sizes, _ in counted], axis=0)
    if int(has_words.sum()) < LEAST_TEXTS:
        raise TooFewEventsError("events with a text", int(has_words.sum()), LEAST_TEXTS)
    # Attributes share bins: what is in every narrative is common, however rare it is in remarks.
    n_texts = np.sum([one for _, one in counted], axis=0)
    rarity, used = rarity_of(n_texts, y.shape[0] * len(texts)), np.flatnonzero(n_texts)
    matrix = sum(
        (_matrix(one.hashed(sizes, rarity), used) for one, (sizes, _) in zip(written, counted, strict=True)),
        csr_matrix((y.shape[0], used.shape[0]), dtype=np.float32),
    )
    fitted = LogisticRegression(C=strength, max_iter=500).fit(matrix, y)
    weights = np.zeros(grams.n_bins, np.float32)
    weights[used] = fitted.coef_[0]
    return TextModel(
        grams=grams,
        n_texts=len(texts),
        rarity=rarity,
        weights=weights,
        intercept=float(fitted.intercept_[0]),
    )


def _matrix(hashed: Hashed, used: NDArray[np.int64]) -> Any:
    """Return texts by used bins: most bins are empty where texts are few, and each costs an optimiser's step."""
    from scipy.sparse import csr_matrix

    columns = np.searchsorted(used, hashed.bins)
    return csr_matrix((hashed.values, columns, hashed.begins), shape=(hashed.begins.shape[0] - 1, used.shape[0]))
