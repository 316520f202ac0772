# SPDX-License-Identifier: Apache-2.0
"""Hashes of the photos sent with a claim: mostly new ones, some seen before for good reasons, some for bad ones."""

from __future__ import annotations

from typing import Final

import numpy as np

from ringfence.simulate.motor import difficulty
from ringfence.simulate.traits import Ints

MAX_PHOTOS: Final = 3
_COUNT_SHARES: Final = np.array([0.08, 0.27, 0.37, 0.28])
_STOCK: Final = 1 << 28  # first index of the pictures that shops attach
_REGISTRATION: Final = 1 << 29  # of the one picture of each car
POOL: Final = 1 << 31  # of the pools that groups share
N_POOL: Final = 16  # photos in a group's pool, at most


def photos(rng: np.random.Generator, number: Ints, vehicle: Ints, shop: Ints, shown: Ints) -> Ints:
    """Draw the photos of k claims.

    Parameters
    ----------
    number : shape (k,), the claims' own numbers: their new photos are nobody else's.
    shop : shape (k,), -1 where there is none.
    shown : shape (k,), a photo that the claim shows if it shows any; -1 for none.

    Returns
    -------
    shape (k, MAX_PHOTOS), -1 where there is none.
    """
    k = len(number)
    photo = number[:, None] * MAX_PHOTOS + np.arange(MAX_PHOTOS)
    stock = (rng.random(k) < difficulty.STOCK_PHOTO) & (shop >= 0)
    photo[:, 0] = np.where(stock, _STOCK + shop * 4 + rng.integers(0, 3, k), photo[:, 0])
    registration = rng.random(k) < difficulty.REGISTRATION_PHOTO
    photo[:, 1] = np.where(registration, _REGISTRATION + vehicle, photo[:, 1])
    photo[:, 0] = np.where(shown >= 0, shown, photo[:, 0])
    count = rng.choice(MAX_PHOTOS + 1, k, p=_COUNT_SHARES)
    return np.where(np.arange(MAX_PHOTOS) < count[:, None], photo, -1)
