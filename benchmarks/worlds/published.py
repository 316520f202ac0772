# SPDX-License-Identifier: Apache-2.0
"""What others have published about such claims and such networks, and the same figure of the simulated worlds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.worlds.sheet import Sheet
from benchmarks.worlds.sightings import Floats, Ints

# Accidents with personal injury in Germany in 2021, Monday first (Federal Statistical Office).
ACCIDENTS_2021: Final = (38_715, 40_941, 40_171, 39_694, 42_186, 31_960, 25_320)
MEAN_CLAIM: Final = ((2015, 3_293.0), (2019, 3_680.0), (2024, 4_900.0))  # EUR, German motor liability, cars

# People and claims of rings that came to court or into a bureau's report; None where the source does not say.
RINGS: Final = (
    ("Dino, in court", 81, 27),
    ("Dino, linked", 150, 60),
    ("Derwentside", 60, 261),
)

_JOURNAL_A: Final = "https://www.versicherungsjournal.de/versicherungen-und-finanzen"
_JOURNAL_B: Final = "https://www.versicherungsjournal.de/markt-und-politik"
_ARGUS: Final = (
    "South Wales Argus (2015)",
    "http://www.southwalesargus.co.uk/news/features/behind_the_headlines/"
    "14163207.crash-for-cash-the-easy-money-scam-thwarted-by-diligence/",
)
_JOURNAL_2016: Final = "hoeherer-schadenbedarf-am-anfang-und-am-ende-der-sf-staffel-127510.php"


@dataclass(frozen=True)
class Fact:
    about: str
    published: str
    sources: tuple[tuple[str, str], ...]  # (what it is, where it is)
    here: Callable[[Sheet], str]


def _quartiles(values: Ints) -> str:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"quartiles {low:.0f}, {middle:.0f}, {high:.0f}; largest {values.max()}"


def _nigrini(deviation: float) -> str:
    words = ("close", "acceptable", "marginally acceptable", "none")
    return words[int(np.searchsorted((0.006, 0.012, 0.015), deviation, side="right"))]


FACTS: Final = (
    Fact(
        "mean amount of a motor claim",
        "German motor liability, cars: 3,293 EUR in 2015, 3,680 in 2019, nearly 4,900 in 2024",
        (
            ("BaFin and GDV statistics, by VersicherungsJournal 2016", f"{_JOURNAL_A}/{_JOURNAL_2016}"),
            ("2020", f"{_JOURNAL_B}/sind-beamte-tatsaechlich-die-besseren-autofahrer-140510.php"),
            ("2025", f"{_JOURNAL_A}/sind-beamte-wirklich-die-besseren-autofahrer-154776.php"),
        ),
        lambda s: f"mean {s.shapes.amounts.mean():,.0f} EUR, median {np.median(s.shapes.amounts):,.0f}",
    ),
    Fact(
        "share of claims worth a second look",
        "about ten percent of the losses reported to German property and casualty insurers are conspicuous",
        (
            (
                "GDV, evaluation of more than 600,000 reports, by cash-online (2024)",
                "https://www.cash-online.de/a/versicherungsbetrug-gdv-schaetzt-schaeden-auf-6-milliarden-euro-pro-jahr-675232/",
            ),
        ),
        lambda s: f"{100 * s.rules['any rule'].flagged:.1f} % are flagged by some hand rule",
    ),
    Fact(
        "accidents at the weekend",
        f"{100 * sum(ACCIDENTS_2021[5:]) / sum(ACCIDENTS_2021):.1f} % of the accidents with injuries in Germany in "
        f"2021, on Fridays {100 * ACCIDENTS_2021[4] / sum(ACCIDENTS_2021):.1f} %",
        (
            (
                "Federal Statistical Office, by op-online (2022)",
                "https://www.op-online.de/leben/auto/freitag-montag-werktag-wochenende-statistik-verkehr-bundesamt-auto-unfall-zr-91872987.html",
            ),
        ),
        lambda s: f"{100 * s.realism.weekdays[5:].sum():.1f} %, on Fridays {100 * s.realism.weekdays[4]:.1f} %",
    ),
    Fact(
        "when staged accidents happen",
        "in late hours, so that fewer people see them (no figure given)",
        (
            (
                "Šubelj, Furlan and Bajec, Expert Systems with Applications (2011)",
                "https://arxiv.org/abs/1104.3904",
            ),
        ),
        lambda s: f"from 20 to 5 o'clock {100 * _late(s.realism.fraud_hours):.0f} % of fraud, "
        f"{100 * _late(s.realism.hours):.0f} % of honest claims",
    ),
    Fact(
        "people in a ring",
        "81 people convicted around one repair shop in Wales, 2009 to 2011",
        (_ARGUS,),
        lambda s: _quartiles(s.shapes.ring_people),
    ),
    Fact(
        "claims of a ring",
        "27 bogus claims on 16 insurers in the same case; 60 incidents with about 150 claimants once all were linked",
        (
            _ARGUS,
            ("Insurance Fraud Bureau, by Wales247 (2018)", "https://wales247.co.uk/?p=9081"),
        ),
        lambda s: _quartiles(s.shapes.ring_claims),
    ),
    Fact(
        "claims of a ring",
        "261 of 1,800 accidents that two firms handled looked suspicious; 60 people convicted",
        (
            (
                "ITV News Tyne Tees (2013)",
                "https://itv.com/news/tyne-tees/update/2013-03-18/60-convicted-over-north-east-cash-for-crash-scam",
            ),
        ),
        lambda s: f"{s.n_fraud:,} frauds in {s.n_rings} rings",
    ),
    Fact(
        "first digits of amounts",
        "mean absolute deviation from Benford's law up to .006 close, up to .012 acceptable, up to .015 marginal",
        (
            (
                "criteria of Nigrini (2012), as the R package benford.analysis has them",
                "https://github.com/carloscinelli/benford.analysis",
            ),
        ),
        lambda s: f"{s.realism.benford:.4f} ({_nigrini(s.realism.benford)}), typed {s.realism.typed_benford:.4f} "
        f"({_nigrini(s.realism.typed_benford)})",
    ),
    Fact(
        "what is known of the truth",
        "few claims are investigated and get a label; most stay without one (no figure given)",
        (
            (
                "Campo and Antonio, An engine to simulate insurance fraud network data (2023)",
                "https://arxiv.org/abs/2308.11659",
            ),
        ),
        lambda s: f"{100 * s.shapes.labelled:.0f} % have a label, {100 * s.shapes.fraud_known:.0f} % of fraud is known",
    ),
)  # fmt: skip


def _late(hours: Floats) -> float:
    return float(hours[20:].sum() + hours[:5].sum())
