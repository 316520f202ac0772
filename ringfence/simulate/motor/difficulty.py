# SPDX-License-Identifier: Apache-2.0
"""Every number that makes fraud easy or hard to find. Calibrating the world is an edit of this file.

Change a number and the rows change: bump `WORLD_VERSION`, and measure the difficulty sheet of docs/worlds.md again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one kind of group works: a ring, or an honest circle that looks like one. Shares are of the group's claims.

    A provider is a shop, lawyer or doctor. What a claim leaves open is drawn as for everybody.
    """

    claims: float  # typical number of claims of a group; long-tailed
    life_days: tuple[float, float]  # between the group's first and last claim, shortest and longest
    claims_per_episode: float  # 0: works steadily; else wakes for episodes of so many claims and sleeps between
    episode_days: float  # mean delay of a claim after its episode began
    members: tuple[int, int]  # active at a time, fewest and most (exclusive)
    turnover: tuple[float, float]  # members replaced per claim, slowest and fastest
    belongs: float  # claims whose claimant is a member
    near: float  # members who live in one of the group's two villages
    loyal: float  # claims that go to the group's own providers at all
    shops: int  # the group's own shops, one per episode; 0: none
    lawyers: int
    doctors: int
    hidden: float  # providers are taken from the less busy of their region: the share of the busiest left out
    shop: float  # of loyal claims, those at the group's shop
    lawyer: float
    doctor: float
    witness: float  # chance per seat that a witness is a member
    shared_car: float  # claims with a car that the group passes round
    place: float  # accidents at one of the group's few places
    photo: float  # claims that show a photo of the group's pool
    n_photos: int  # in that pool
    household: float  # members who live at one of the group's two addresses
    story: float  # claims told in one of the group's three ways
    new_policy: float  # members who take out a contract for it
    broker: float  # of those, contracts through the group's broker
    typed: float  # claims of the staged types (rear end, junction, lane change)


# --- How much fraud, and of which kind -----------------------------------------------------------------------------
STAGED_SHARE: Final = 0.56
COLLUSION_SHARE: Final = 0.30
GHOST_SHARE: Final = 0.14

STAGED: Final = Recipe(
    claims=21.0, life_days=(200.0, 640.0), claims_per_episode=6.0, episode_days=12.0, members=(4, 9),
    turnover=(0.70, 1.25), belongs=1.0, near=0.45, loyal=0.96, shops=1, lawyers=1, doctors=1,
    hidden=0.5, shop=0.94, lawyer=0.93, doctor=0.93, witness=0.6, shared_car=0.08, place=0.3, photo=0.15, n_photos=8,
    household=0.12, story=0.25, new_policy=0.25, broker=0.5, typed=0.45,
)  # fmt: skip
COLLUSION: Final = Recipe(
    claims=34.0, life_days=(200.0, 420.0), claims_per_episode=0.0, episode_days=0.0, members=(4, 9),
    turnover=(0.0, 0.0), belongs=0.0, near=0.0, loyal=1.0, shops=1, lawyers=0, doctors=0,
    hidden=0.5, shop=1.0, lawyer=0.0, doctor=0.0, witness=0.0, shared_car=0.0, place=0.0, photo=0.25, n_photos=12,
    household=0.0, story=0.0, new_policy=0.0, broker=0.0, typed=0.0,
)  # fmt: skip
GHOST: Final = Recipe(
    claims=18.0, life_days=(200.0, 640.0), claims_per_episode=7.0, episode_days=20.0, members=(5, 10),
    turnover=(0.60, 1.10), belongs=0.6, near=0.45, loyal=0.95, shops=2, lawyers=1, doctors=1,
    hidden=0.5, shop=0.3, lawyer=0.95, doctor=0.97, witness=0.4, shared_car=0.0, place=0.15, photo=0.1, n_photos=8,
    household=0.12, story=0.3, new_policy=0.2, broker=0.4, typed=0.5,
)  # fmt: skip

# --- Honest groups with the degrees of a ring ----------------------------------------------------------------------
CIRCLE_SHARE: Final = 0.015  # of all claims: car clubs, football teams, two streets of a village
CIRCLE: Final = Recipe(
    claims=24.0, life_days=(200.0, 640.0), claims_per_episode=5.0, episode_days=14.0, members=(5, 10),
    turnover=(0.0, 0.12), belongs=1.0, near=0.9, loyal=0.8, shops=1, lawyers=1, doctors=1,
    hidden=0.5, shop=0.8, lawyer=0.85, doctor=0.85, witness=0.6, shared_car=0.08, place=0.25, photo=0.15, n_photos=8,
    household=0.10, story=0.05, new_policy=0.15, broker=0.5, typed=0.2,
)  # fmt: skip
CAMOUFLAGE: Final = 0.35  # honest claims of ring members beyond everybody's, per claim of the ring
STORM_SHARE: Final = 0.03  # of all claims: hailstorms
STORMS: Final = 30.0  # in a world's time
STORM_SPECIALIST: Final = 0.6  # of a storm's claims, those at one of three dent specialists
FLEET_SHARE: Final = 0.05  # of all claims: taxi and delivery drivers, two in a hundred persons
FLEET_OTHER_CAR: Final = 0.06  # of a fleet's claims, those in a car that is usually another's
FLEET_SHOP: Final = 0.8  # of a fleet's claims, those at its own shop, lawyer and doctor
FLEET_LAWYER: Final = 0.6
FLEET_DOCTOR: Final = 0.4
FLEET_WITNESS: Final = 0.3  # chance per seat that a witness drives for the same fleet
FAMILY_CAR: Final = 0.05  # of private claims, those in a car of the family that may be another's
TOWED: Final = 0.10  # of all claims, those whose shop is the one with the towing contract of the place
VILLAGE: Final = 0.25  # of all claims, those that go to the village's shop, lawyer and doctor, all three
HABIT: Final = 0.25  # of the rest, per role, those that go to the village's one by habit
REFERRED: Final = 0.35  # of the claims with a lawyer, those whose doctor is the one the lawyer recommends
NATIONWIDE: Final = 0.05  # of the claims with a lawyer, those with one of a few that advertise everywhere
AWAY: Final = 0.08  # of all claims, a ring's as well, those with the accident in some other region, at a place there
BACK_HOME: Final = 0.75  # of those, the claims whose shop, lawyer and doctor are those at home
FAR_PROVIDER: Final = 0.02  # per role, of all claims, those that go to some other region for it
FAR_SHOP: Final = 0.08  # the same for shops
CHANGES_BROKER_A_YEAR: Final = 0.04  # of persons: one change at most, on any day
NEW_CONTRACT_NEW_BROKER: Final = 0.12  # of new contracts, those through another broker than the one before
FAMILY_WITNESS: Final = 0.35  # chance per seat
NEIGHBOUR_WITNESS: Final = 0.25
STOCK_PHOTO: Final = 0.02  # of the claims with a shop, those with a picture that the shop attaches to everything
REGISTRATION_PHOTO: Final = 0.03  # of all claims, those with the one picture of the car that the owner always sends
RESENT: Final = 0.003  # of all claims, those sent a second time days later, photos, words and all

# --- What the missing parties say: nothing -------------------------------------------------------------------------
# Chance of (lawyer and doctor, lawyer alone, doctor alone); honest, collusion, ghost. Staged accidents get what makes
# fraud as a whole look like honest claims.
PARTIES_HONEST: Final = (0.18, 0.18, 0.16)
PARTIES_COLLUSION: Final = (0.06, 0.18, 0.10)
PARTIES_GHOST: Final = (0.60, 0.15, 0.20)
SHOP_HONEST: Final = 0.88  # chance that a claim names a shop
SHOP_COLLUSION: Final = 0.97

# --- Money: honest, staged, collusion, ghost -----------------------------------------------------------------------
COST: Final = (1.0, 1.15, 1.45, 1.15)  # what a claim costs, times an honest one
LARGE: Final = (1.0, 1.8, 1.65, 1.95)  # the chance of a large loss, times an honest one's

# --- Who finds out -------------------------------------------------------------------------------------------------
LOOK_LARGE: Final = 0.35  # chance of a look above 25,000, beside the look by chance
LOOK_MIDDLE: Final = 0.10  # above 10,000
LOOK_YOUNG_CONTRACT: Final = 0.20  # hand rule: contract under 90 days, amount above 4,000
LOOK_YOUNG_WITH_LAWYER: Final = 0.08  # hand rule: contract under a year, and a lawyer
LOOK_AT_MOST: Final = 0.95
FOUND: Final = 0.88  # chance that a look at a fraudulent claim finds it
WRONGLY_ACCUSED: Final = 0.0015  # chance that a look at an honest claim ends in "fraud"
UNCOVERED: Final = 0.55  # share of rings that investigators see through at some point
REOPENED: Final = 0.65  # share of such a ring's claims, earlier and later, that they then learn of
CONFESSED: Final = 0.08  # share of fraud that comes out months later by itself
