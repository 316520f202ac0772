# SPDX-License-Identifier: Apache-2.0
"""Tables that are odd and load all the same: with a warning that names the oddity, and with the values they mean."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from ringfence.cli.exits import Exit
from tests.broken_tables.walk import N, Walk, payments, replaced, text

AMOUNTS = [float(amount) for amount in payments()["amount"]]
MOMENTS = [datetime.fromisoformat(moment) for moment in payments()["paid_at"]]


class Odd(NamedTuple):
    """A table, what is said of it, and what has to be in the ledger."""

    content: bytes | str | pl.DataFrame
    init: tuple[str, ...] = ()  # on stderr, or in the scenario that is drafted
    check: tuple[str, ...] = ()
    load: tuple[str, ...] = ()
    rejects: tuple[str, ...] = ()  # beginnings of lines of the rejects file: line, column, what was found
    n_events: int = N
    n_labels: int | None = None  # None: one for each event
    amounts: list[float] | None = AMOUNTS
    name: str = "t.csv"


def swapped(texts: list[str]) -> list[str]:
    """1,234.5 as 1.234,5."""
    return [one.translate(str.maketrans(",.", ".,")) for one in texts]


def table(separator: str = ",", end: str = "\n", **columns: Any) -> str:
    return text(payments(**columns), separator, end)


def cells(name: str, at: list[int], values: list[Any], separator: str = ",") -> str:
    return text(payments(**replaced(name, at, values)), separator)


def frame(**columns: Any) -> pl.DataFrame:
    given = {"amount": AMOUNTS, "paid_at": MOMENTS, "is_fraud": [int(value) for value in payments()["is_fraud"]]}
    return pl.DataFrame(payments(**{**given, **columns}))


GROUPED = [f"{1000.0 * amount:,.2f}" for amount in AMOUNTS]
THOUSANDS = [f"{1000 + int(50 * amount):,}" for amount in AMOUNTS]
WHOLE = [float(amount.replace(",", "")) for amount in THOUSANDS]
LINES = text().splitlines()

CASES: dict[str, Odd] = {
    "nothing odd": Odd(text()),
    # --- how the file is written
    "a byte order mark": Odd(text().encode("utf-8-sig")),
    "JSON lines": Odd(pl.DataFrame(payments()).write_ndjson(), name="t.jsonl"),
    "JSON lines with one cut off": Odd(
        "\n".join([*pl.DataFrame(payments()).write_ndjson().splitlines(), '{"payment_id": "p9']),
        ("1 lines of t.jsonl are no objects, such as line 121",),
        load=("1 rejected",),
        rejects=(f"{N + 1},",),
        name="t.jsonl",
    ),
    "a title above the header": Odd(
        "Export of payments\n\n" + text(), ("t.csv names its columns on line 3", "header: 3")
    ),
    "titles above groups of columns": Odd(
        "Payment,,,Parties,,,,Result\n" + text(), ("t.csv names its columns on line 2", "header: 2")
    ),
    "the time of day in a column of its own": Odd(
        table(paid_at=[f"{moment:%d.%m.%Y}" for moment in MOMENTS], hour=[f"{moment:%H:%M}" for moment in MOMENTS]),
        ("times: {paid_at: day_first}", "clocks: {paid_at: hour}"),
    ),
    "Latin-1": Odd(
        table(channel=["téléphone"] * 60 + ["web"] * 60).encode("latin-1"),
        ("t.csv is not UTF-8 and is read as cp1252, which is a guess", "encoding: cp1252"),
    ),
    "UTF-16": Odd(text().encode("utf-16"), ("encoding: utf-16  ",)),
    "UTF-16 without a byte order mark": Odd(text().encode("utf-16-le"), ("encoding: utf-16-le",)),
    "UTF-32": Odd(text().encode("utf-32"), ("encoding: utf-32  ",)),
    "CRLF": Odd(text(end="\r\n")),
    "CR": Odd(text(end="\r")),
    "semicolons": Odd(text(separator=";"), ('separator: ";"',)),
    "tabs under the name .csv": Odd(text(separator="\t"), (r'separator: "\t"',)),
    "bars": Odd(text(separator="|"), ('separator: "|"',)),
    "commas under the name .tsv": Odd(text(), ('separator: ","',), name="t.tsv"),
    "no name that says what it is": Odd(text(), name="table"),
    "a column without a name, of row numbers": Odd(
        text({"": list(range(N)), **payments()}),
        ("a column without a name, called column_1 here after its place", "leak? column_1: it orders the"),
    ),
    "a comma at the end of every line": Odd(
        "".join(line + ",\n" for line in LINES), ("called column_9 here after its place", "column_9: it is empty")
    ),
    "names that differ in case": Odd(
        text({**payments(), "Kind": payments()["channel"], "kind": payments()["channel"]}),
        ("Kind: category", "kind_2: {type: category, column: kind}"),
    ),
    "empty lines": Odd("\n".join([*LINES[:7], "", *LINES[7:], "", ""]) + "\n"),
    "ragged rows": Odd(
        "\n".join([*LINES[:7], LINES[7] + ",more", "", LINES[8].rsplit(",", 3)[0], *LINES[9:]]) + "\n",
        ("2 of 120 lines of t.csv do not fit the first one, such as line 8, which has 9 fields, the header has 8",),
        ("1 of 120 rows would be rejected, the row is ",),
        ("rejected 2 of 120 rows",),
        ("8,,", "10,,"),
        N - 2,
        amounts=None,
    ),
    "line breaks within cells": Odd(
        text(
            {**payments(), "note": [f"first\nsecond, {row}" for row in range(N)], **replaced("paid_at", [5], ["soon"])}
        ),
        ("note: text",),
        ("paid_at is null: every event needs a time",),
        ("rejected 1 of 120 rows",),
        ("12,paid_at,null",),  # five records of two lines each, and the header, come before it
        N - 1,
        amounts=[*AMOUNTS[:5], *AMOUNTS[6:]],
    ),
    "a quotation mark within a cell": Odd(text().replace(",m21,", ',5" m,', 1)),
    "a line of totals": Odd(
        text() + "Total,,,,12345.67,,,\n",
        (),
        ("paid_at is null: every event needs a time",),
        ("rejected 1 of 121 rows",),
        ("122,paid_at,null",),
    ),
    # --- what its cells say
    "a word among numbers": Odd(
        cells("hour", [5], ["noon"]), ("hour: its numbers stand beside 'noon', taken for nothing given",)
    ),
    "a word among numbers that is an answer elsewhere": Odd(
        cells("hour", [5], ["web"]),
        (),
        ("1 of 120 rows would be rejected, hour is 'web'",),
        ("rejected 1 of 120 rows",),
        ("7,hour,'web'",),
        N - 1,
        amounts=[*AMOUNTS[:5], *AMOUNTS[6:]],
    ),
    "numbers and words, half and half": Odd(
        table(amount=[amount if row % 4 else "about " + amount for row, amount in enumerate(payments()["amount"])]),
        ("amount: 75 % of its cells are numbers, others are not, such as 'about ",),
        amounts=None,
    ),
    "one decimal comma among points": Odd(
        cells("amount", [7], ["1,5"]),
        (),
        ("amount is '1,5'",),
        ("rejected 1 of 120",),
        ("9,amount,\"'1,5'\"",),
        N - 1,
        amounts=[*AMOUNTS[:7], *AMOUNTS[8:]],
    ),
    "one decimal point among commas": Odd(
        text(payments(amount=[*swapped(payments()["amount"][:7]), "12.50", *swapped(payments()["amount"][8:])]), ";"),
        ('decimal: ","',),
        ("amount is 'not with decimal ,: 12.50'",),
        ("rejected 1 of 120",),
        ("9,amount,",),
        N - 1,
        amounts=[*AMOUNTS[:7], *AMOUNTS[8:]],
    ),
    "decimal commas": Odd(table(";", amount=swapped(payments()["amount"])), ('decimal: ","',)),
    "decimal commas between commas": Odd(table(amount=swapped(payments()["amount"])), ('decimal: ","',)),
    "points and commas, half and half": Odd(
        table(amount=[a if row % 2 else swapped([a])[0] for row, a in enumerate(payments()["amount"])]),
        ("amount: 50 % of its cells are numbers, others are not",),
        amounts=None,
    ),
    "thousands": Odd(table(amount=GROUPED), ('decimal: "."',), amounts=[round(1000.0 * a, 2) for a in AMOUNTS]),
    "thousands with points": Odd(
        table(";", amount=swapped(GROUPED)), ('decimal: ","',), amounts=[round(1000.0 * a, 2) for a in AMOUNTS]
    ),
    "thousands and no decimals": Odd(
        table(amount=THOUSANDS),
        ("nothing tells thousands from decimals, and ',' is taken for thousands",),
        amounts=WHOLE,
    ),
    "points with three digits behind": Odd(
        table(amount=swapped(THOUSANDS)),
        ("nothing tells thousands from decimals, and '.' is taken for decimals", 'write `decimal: ","` beside `files`'),
        amounts=[value / 1000.0 for value in WHOLE],
    ),
    "points with three digits behind, beside decimal commas": Odd(
        table(";", amount=swapped(THOUSANDS), hour=[f"{7 * row % N},5" for row in range(N)]),
        ('decimal: ","',),
        amounts=WHOLE,
    ),
    "lakhs": Odd(
        cells("amount", [0, 1, 2], ["12,34,567.50"] * 3),
        ('decimal: "."',),
        amounts=[1_234_567.5] * 3 + AMOUNTS[3:],
    ),
    "dollars": Odd(table(amount=["$" + a for a in payments()["amount"]]), ("currency: USD",)),
    "euros behind": Odd(table(";", amount=[a + " €" for a in swapped(payments()["amount"])]), ("currency: EUR",)),
    "two currencies": Odd(
        table(amount=["$€"[row % 2] + a for row, a in enumerate(payments()["amount"])]),
        ("amount names $, € in its cells: convert them into one",),
        amounts=None,
    ),
    "one amount in another currency": Odd(
        table(amount=["$" + a for a in payments()["amount"][:-1]] + ["GBP 5.00"]),
        ("names $, GBP in its cells",),
        amounts=None,
    ),
    "negative amounts": Odd(
        table(amount=["-" + a if row % 5 == 0 else a for row, a in enumerate(payments()["amount"])]),
        ("negative: allow",),
        amounts=[-a if row % 5 == 0 else a for row, a in enumerate(AMOUNTS)],
    ),
    "negative amounts in brackets": Odd(
        table(amount=[f"({a})" if row % 5 == 0 else a for row, a in enumerate(payments()["amount"])]),
        ("amount: 80 % of its cells are numbers, others are not, such as '(",),
        amounts=None,
    ),
    "infinite amounts": Odd(
        cells("amount", [3], ["inf"]),
        (),
        ("amount is 'inf'",),
        ("rejected 1 of 120",),
        ("5,amount,'inf'",),
        N - 1,
        amounts=[*AMOUNTS[:3], *AMOUNTS[4:]],
    ),
    "an amount beyond counting": Odd(
        cells("amount", [3], ["1e300"]),
        (),
        ("amount is '1e300'",),
        ("rejected 1 of 120",),
        ("5,amount,",),
        N - 1,
        amounts=[*AMOUNTS[:3], *AMOUNTS[4:]],
    ),
    "an empty column": Odd(table(hour=[""] * N), ("hour: it is empty",)),
    "a column of blanks": Odd(table(hour=["  "] * N), ("hour: it is empty",)),
    "blanks among numbers": Odd(cells("hour", [1, 2], ["  ", " "]), ("hour: number", "missing: [")),
    "the same in every row": Odd(table(hour=["5"] * N), ("hour: it says the same in every row",)),
    "truths as t and f": Odd(table(hour=["tf"[row % 2] for row in range(N)]), ("hour: category",)),
    "truths as 0 and 1": Odd(table(hour=["01"[row % 2] for row in range(N)]), ("hour: boolean",)),
    "an id of 2,000 characters": Odd(
        cells("card_no", [3], ["x" * 2_000]),
        (),
        ("card_no is 'xxx",),
        ("rejected 1 of 120",),
        ("5,card_no,'xxx",),
        N - 1,
        amounts=[*AMOUNTS[:3], *AMOUNTS[4:]],
    ),
    "a text of 200,000 characters": Odd(
        cells("channel", [3], ["x" * 200_000]),
        (),
        ("channel is 'xxx",),
        ("rejected 1 of 120",),
        ("5,channel,'xxx",),
        N - 1,
        amounts=[*AMOUNTS[:3], *AMOUNTS[4:]],
    ),
    # --- ids
    "an id twice": Odd(
        cells("payment_id", [9], [payments()["payment_id"][4]]),
        ("payment_id would fit, but names 1 row twice", "event_id: row"),
    ),
    "rows twice": Odd(
        text() + "\n".join(LINES[5:8]) + "\n",
        ("payment_id would fit, but names 3 rows twice",),
        n_events=N + 3,
        amounts=None,
    ),
    "ids with spaces": Odd(
        table(card_no=[f" {c} " if row % 2 else c for row, c in enumerate(payments()["card_no"])]),
        ("card_no: ", "have spaces around them, such as ' c", "with and without are two; take the spaces out"),
    ),
    "ids in scientific notation": Odd(
        table(card_no=[f"{4.5e15 + 1e10 * int(c[1:]):.5E}" for c in payments()["card_no"]]),
        ("card_no: 24 of the ids looked at are written like '4.50", "a spreadsheet has cut off digits"),
    ),
    "ids with .0": Odd(
        table(card_no=[c[1:] + ".0" for c in payments()["card_no"]]),
        ("card_no: 24 of the ids looked at end in .0, such as '",),
    ),
    "ids with leading zeros": Odd(
        table(card_no=["00" + c[1:] for c in payments()["card_no"]]), ("card: {column: card_no",)
    ),
    "ids with leading zeros and without": Odd(
        table(card_no=["00" + c[1:] if row % 2 else c[1:] for row, c in enumerate(payments()["card_no"])]),
        ("of the ids looked at occur with leading zeros and without, such as '00",),
    ),
    # --- times
    "events in the future": Odd(
        cells("paid_at", [118, 119], ["2090-01-01T00:00:00", "2199-12-31T00:00:00"]),
        (),
        ("lie in the future",),
        ("rejected 2 of 120",),
        ("120,paid_at,3786912000000 ms", "121,paid_at,"),
        N - 2,
        amounts=AMOUNTS[:118],
    ),
    "the year 2200": Odd(
        cells("paid_at", [119], ["2200-01-01T00:00:00"]),
        (),
        ("a time lies in the years 1970 to 2199",),
        ("rejected 1 of 120",),
        ("121,paid_at,'2200-01-01T00:00:00'",),
        N - 1,
        amounts=AMOUNTS[:119],
    ),
    "the year 1900": Odd(
        cells("paid_at", [0], ["1900-01-01T00:00:00"]),
        (),
        ("a time lies in the years 1970 to 2199",),
        ("rejected 1 of 120",),
        ("2,paid_at,'1900-01-01T00:00:00'",),
        N - 1,
        amounts=AMOUNTS[1:],
    ),
    "30 February": Odd(
        cells("paid_at", [60], ["2024-02-30T10:00:00"]),
        (),
        ("paid_at is '2024-02-30T10:00:00'",),
        ("rejected 1 of 120",),
        ("62,paid_at,'2024-02-30T10:00:00'",),
        N - 1,
        amounts=[*AMOUNTS[:60], *AMOUNTS[61:]],
    ),
    "no time": Odd(
        cells("paid_at", [60], [""]),
        (),
        ("paid_at is null: every event needs a time",),
        ("rejected 1 of 120",),
        ("62,paid_at,null",),
        N - 1,
        amounts=[*AMOUNTS[:60], *AMOUNTS[61:]],
    ),
    "a time zone by its name": Odd(
        table(paid_at=[moment.replace("T", " ") + " CET" for moment in payments()["paid_at"]]),
        ("paid_at: named like a time, and none is read from cells such as '2024-01-01 10:00:00 CET'",),
    ),
    "offsets on some moments": Odd(
        table(paid_at=[m + "Z" if row % 2 else m for row, m in enumerate(payments()["paid_at"])]),
        ("paid_at: 60 of 120 moments carry an offset, the others take `time_zone`",),
    ),
    "days that could be months": Odd(
        table(paid_at=[f"{m.month % 12 + 1:02d}/{m.day % 12 + 1:02d}/2024" for m in MOMENTS]),
        ("paid_at is read day first, which is a guess",),
        amounts=None,
    ),
    "days as spreadsheets count them": Odd(
        table(paid_at=[str(45_292 + row // 2) for row in range(N)]),
        ("paid_at is read in steps of 1d, which is a guess", "{unit: 1d, since: 1899-12-30}"),
    ),
    "microseconds": Odd(
        table(paid_at=[str((1_704_100_000 + 70_000 * row) * 1_000_000) for row in range(N)]),
        ("paid_at: it looks like microseconds since 1970, which are not read: divide it by 1,000",),
    ),
    # --- labels
    "labels as yes and no": Odd(
        table(is_fraud=[["no", "yes"][int(f)] for f in payments()["is_fraud"]]), ('fraud: ["yes"], legit: ["no"]',)
    ),
    "labels in several cases, with spaces": Odd(
        table(
            is_fraud=[
                ["no ", "YES", " No", "yes"][int(f) + 2 * (row % 2)] for row, f in enumerate(payments()["is_fraud"])
            ]
        ),
        ("legit: [", '"YES"'),
    ),
    "labels that are NaN": Odd(cells("is_fraud", [0, 1, 2], ["NaN", "nan", ""]), ("is_fraud",), n_labels=N - 3),
    "labels that are unknown": Odd(
        cells("is_fraud", [0, 1, 2], ["unknown"] * 3), ('unlabelled: ["unknown"]',), n_labels=N - 3
    ),
    "labels that are neither": Odd(
        cells("is_fraud", [0, 1, 2], ["2", "2", "maybe"]),
        ("neither fraud nor legit: they are not learned from",),
        n_labels=N - 3,
    ),
    "no label anywhere": Odd(
        table(is_fraud=[""] * N),
        ("is_fraud says nothing in every row: a model needs frauds and legitimate events",),
        n_labels=0,
    ),
    "one class only": Odd(
        table(is_fraud=["0"] * N),
        ("is_fraud says '0' in every row: a model needs frauds and legitimate events",),
        n_labels=0,
    ),
    # --- Parquet
    "nested columns": Odd(
        frame(device=[{"os": "x", "n": row} for row in range(N)], tags=[["a", "b"]] * N),
        ("device: a column of lists or structures", "tags: a column of lists or structures"),
    ),
    "categories": Odd(
        frame(
            channel=pl.Series(payments()["channel"], dtype=pl.Categorical),
            merchant=pl.Series(payments()["merchant"], dtype=pl.Categorical),
        ),
        ("channel: category", "merchant: merchant"),
    ),
    "decimals": Odd(
        frame(
            amount=pl.Series([Decimal(a) for a in payments()["amount"]], dtype=pl.Decimal(18, 2)),
            payment_id=pl.Series([Decimal(row) for row in range(N)], dtype=pl.Decimal(38, 0)),
        ),
        ("event_id: payment_id",),
    ),
    "moments of another time zone": Odd(
        frame(paid_at=pl.Series(MOMENTS).dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York"))
    ),
    "moments in nanoseconds": Odd(frame(paid_at=pl.Series(MOMENTS).cast(pl.Datetime("ns")))),
    "labels that are null": Odd(
        frame(is_fraud=[None if row < 3 else f == "1" for row, f in enumerate(payments()["is_fraud"])]), n_labels=N - 3
    ),
    "a column of nulls": Odd(frame(hour=pl.Series([None] * N)), ("hour: it is empty",)),
    "an infinite number": Odd(
        frame(amount=[*AMOUNTS[:3], float("inf"), *AMOUNTS[4:]]),
        (),
        ("amount is inf",),
        ("rejected 1 of 120",),
        ("4,amount,inf",),
        N - 1,
        amounts=[*AMOUNTS[:3], *AMOUNTS[4:]],
    ),
    "ids as bytes": Odd(
        frame(card_no=[c.encode() for c in payments()["card_no"]]), ("card_no: a column of lists or structures",)
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_odd_table_loads_with_a_warning_and_with_what_it_means(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = CASES[case]
    walk = Walk(tmp_path, capsys)
    file = walk.frame(odd.content) if isinstance(odd.content, pl.DataFrame) else walk.file(odd.content, odd.name)
    said = walk.init(file)
    assert said.code == Exit.OK, said.err
    for piece in odd.init:
        assert piece in said.err or piece in walk.scenario, (piece, said.err)
    said = walk.check()
    assert said.code == Exit.OK, said.err
    for piece in odd.check:
        assert piece in said.err
    said = walk.load()
    assert said.code == Exit.OK, said.err
    for piece in odd.load:
        assert piece in said.out + said.err
    found = walk.rejects()
    assert len(found) == len(odd.rejects)
    for line, begin in zip(found, odd.rejects, strict=True):
        assert line.startswith(begin)
    events = walk.events()
    assert events.height == odd.n_events
    n_labels = odd.n_events if odd.n_labels is None else odd.n_labels
    assert f"{n_labels:,} labels imported" in said.out
    if odd.amounts is not None:
        assert sorted(events["amount_minor"]) == sorted(round(100.0 * amount) for amount in odd.amounts)
