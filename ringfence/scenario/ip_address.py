# SPDX-License-Identifier: Apache-2.0
"""IP addresses as they are written in logs and exports: dotted, with colons, or as the number they stand for."""

from __future__ import annotations

import re
import socket
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

_NUMBER: Final = re.compile(r"([0-9]{1,10})(?:\.[0-9]*)?", re.ASCII)
_OCTET: Final = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_DOTTED: Final = rf"^{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}$"
_MAPPED: Final = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96 carries an IPv4 address (RFC 4291, section 2.5.5.2)


class IpAddress(NamedTuple):
    version: int  # 4 or 6
    number: int  # unsigned, 32 or 128 bit


def ip_address(text: str) -> IpAddress | None:
    """Read one address; None where the text is none.

    Spaces around it are passed over. A number below 2^32 is an IPv4 address, a fraction is cut off (some exports have
    one); octets have no leading zeros; an IPv4 address inside IPv6 (::ffff:203.0.113.9) counts as IPv4. Ports, zones
    and brackets make a text no address.
    """
    text = text.strip()
    if ":" in text:
        try:
            packed = socket.inet_pton(socket.AF_INET6, text)
        except (OSError, ValueError):
            return None
        if packed.startswith(_MAPPED):
            return IpAddress(4, int.from_bytes(packed[12:], "big"))
        return IpAddress(6, int.from_bytes(packed, "big"))
    if text.count(".") == 3:
        try:
            return IpAddress(4, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big"))
        except (OSError, ValueError):
            return None
    found = _NUMBER.fullmatch(text)
    return IpAddress(4, int(found[1])) if found is not None and int(found[1]) < 1 << 32 else None


def plain_ipv4(texts: pl.Series) -> NDArray[np.float64]:
    """The numbers of a column of dotted IPv4 addresses, shape (n,); NaN where a text is anything else."""
    parts = texts.str.extract_groups(_DOTTED).struct.unnest().cast(pl.Float64)
    a, b, c, d = (part.fill_null(np.nan).to_numpy() for part in parts.get_columns())
    number: NDArray[np.float64] = ((a * 256 + b) * 256 + c) * 256 + d
    return number


def ip_prefix(text: str, bits: int, bits_v6: int) -> str | None:
    """Name the network of an address, such as `203.0.113.0/24` or `2001:db8::/48`; None where the text is none."""
    address = ip_address(text)
    if address is None:
        return None
    if address.version == 4:
        rest = 32 - bits
        return f"{socket.inet_ntop(socket.AF_INET, (address.number >> rest << rest).to_bytes(4, 'big'))}/{bits}"
    rest = 128 - bits_v6
    return f"{socket.inet_ntop(socket.AF_INET6, (address.number >> rest << rest).to_bytes(16, 'big'))}/{bits_v6}"


def ip_prefixes(texts: pl.Series, bits: int, bits_v6: int) -> list[str | None]:
    """`ip_prefix` of a column of texts without nulls; a network of many addresses is named once."""
    numbers = plain_ipv4(texts)
    found = np.full(len(texts), None, object)
    plain = np.flatnonzero(~np.isnan(numbers))
    networks, codes = np.unique(numbers[plain].astype(np.int64) >> (32 - bits), return_inverse=True)
    names = [ip_prefix(str(number << (32 - bits)), bits, bits_v6) for number in networks.tolist()]
    found[plain] = np.array(names, object)[codes]
    rest = np.flatnonzero(np.isnan(numbers))
    found[rest] = [ip_prefix(text, bits, bits_v6) for text in texts.gather(rest).to_list()]
    prefixes: list[str | None] = found.tolist()
    return prefixes
