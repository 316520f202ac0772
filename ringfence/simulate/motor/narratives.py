# SPDX-License-Identifier: Apache-2.0
"""What people write when they report a claim. Sentences are put together from phrases, honest and invented alike."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from ringfence.simulate.traits import Floats, Ints

CLAIM_TYPES: Final = (
    "rear_end",
    "junction",
    "lane_change",
    "parking",
    "glass",
    "hail",
    "theft",
    "animal",
    "single_vehicle",
)
_OPENINGS: Final = (
    (
        "I was hit from behind",
        "The car behind me could not stop",
        "I ran into the car in front",
        "Somebody drove into the back of my car",
    ),
    (
        "The other car took my right of way",
        "We collided at the crossing",
        "I was hit while turning left",
        "He came from the right and I did not see him",
    ),
    (
        "The other car moved into my lane",
        "I was cut off while overtaking",
        "We touched while changing lanes",
        "A van pushed me out of my lane",
    ),
    (
        "My car was scratched while parked",
        "I touched a post while reversing",
        "Somebody dented my door",
        "I hit the car beside me when leaving the space",
    ),
    (
        "A stone broke the windscreen",
        "The windscreen has a crack",
        "The side window was smashed",
        "The glass roof burst",
    ),
    (
        "Hail damaged the roof and the bonnet",
        "There are hail dents all over",
        "After the storm the car was full of dents",
        "The hail broke the rear light",
    ),
    (
        "The car was broken into",
        "My car was stolen",
        "The navigation system was taken out",
        "All four wheels were stolen",
    ),
    ("A deer ran in front of the car", "I hit a wild boar", "A marten bit the cables", "I braked for a dog and slid"),
    ("I came off the road", "I slid on the wet road", "I hit the kerb and the wheel broke", "I lost control in a bend"),
)
_PLACES: Final = (
    "in Bahnhofstrasse",
    "on the motorway",
    "in the town centre",
    "in front of the supermarket",
    "near the school",
    "on the ring road",
    "in Hauptstrasse",
    "at the petrol station",
    "in the underground car park",
    "near my home",
    "on the country road",
    "at the traffic lights",
    "in Gartenstrasse",
    "at the roundabout",
    "by the river",
    "in the industrial estate",
)
_DETAILS: Final = (
    "It was raining.",
    "It was already dark.",
    "The road was wet.",
    "There was a lot of traffic.",
    "I was not fast.",
    "The police came.",
    "The police did not come.",
    "We exchanged addresses.",
    "I took pictures.",
    "The bumper and the headlight are broken.",
    "The car still drives.",
    "The car had to be towed.",
    "My neck hurts since then.",
    "Nobody was hurt.",
    "The door does not close any more.",
    "The sensor shows an error.",
    "The other driver apologised.",
    "The other driver said nothing.",
    "A passer-by saw it.",
    "I was on the way to work.",
)
_CLOSINGS: Final = (
    "Please tell me what to do.",
    "I would like to have it repaired soon.",
    "The shop has an estimate.",
    "I will send the bill.",
    "Thank you.",
    "Kind regards.",
    "Please call me.",
    "I need a rental car.",
)
_OPENING_TABLE: Final = pl.Series([phrase for phrases in _OPENINGS for phrase in phrases])
_PLACE_TABLE: Final = pl.Series(_PLACES)
_DETAIL_TABLE: Final = pl.Series(_DETAILS)
_CLOSING_TABLE: Final = pl.Series(_CLOSINGS)


def narratives(claim_type: Ints, uniforms: Floats) -> pl.Series:
    """Write one narrative per claim.

    Parameters
    ----------
    claim_type : shape (n,), index into CLAIM_TYPES.
    uniforms : shape (6, n), in [0, 1): opening, place, first detail, second detail, closing, house number. Equal
        columns give equal texts, which is how members of a ring come to repeat each other.
    """
    variants = len(_OPENINGS[0])
    opening = _OPENING_TABLE.gather(claim_type * variants + _index(uniforms[0], variants))
    place = _PLACE_TABLE.gather(_index(uniforms[1], len(_PLACES)))
    first = _DETAIL_TABLE.gather(_index(uniforms[2], len(_DETAILS)))
    second = _DETAIL_TABLE.gather(_index(uniforms[3], len(_DETAILS)))
    closing = _CLOSING_TABLE.gather(_index(uniforms[4], len(_CLOSINGS)))
    number = pl.Series(1 + _index(uniforms[5], 180)).cast(pl.String)
    return opening + " " + place + ", near number " + number + ". " + first + " " + second + " " + closing


def _index(uniform: Floats, n: int) -> Ints:
    return (uniform * n).astype(np.int64)
