# SPDX-License-Identifier: Apache-2.0
"""TLS from a certificate and a key file, taken up anew when they are renewed."""

from __future__ import annotations

import ssl
from pathlib import Path

from ringfence.serving.errors import TlsFileError
from ringfence.serving.file_stamp import Stamp, stamp


class Tls:
    """A certificate with its key, as files that a renewal replaces. TLS 1.2 and later.

    Parameters
    ----------
    certificate : PEM: the certificate, then those that vouch for it.
    key : PEM. Nobody but owner and group may read it.
    password : of the key; None where it has none. It is never asked for on the terminal.

    Raises
    ------
    TlsFileError
        If a file cannot be read, is no PEM, or key and certificate do not belong together.
    """

    def __init__(self, certificate: Path, key: Path, password: str | None = None) -> None:
        self._certificate, self._key, self._password = certificate, key, password
        self._seen = self._stamps()
        self.context = self._loaded()

    def look(self) -> bool:
        """Take up the files if they are others than before; True where they were.

        Connections that stand keep what they began with.

        Raises
        ------
        TlsFileError
            If they cannot be used: once for each state that they are found in, such as that between the renewal of one
            and of the other. The certificate from before stays.
        """
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        self._seen = stamps
        self._loaded()  # first in a context of its own: a pair that does not fit would spoil the one in use
        self._load_into(self.context)
        return True

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load_into(context)
        return context

    def _load_into(self, context: ssl.SSLContext) -> None:
        for file in (self._certificate, self._key):
            if not file.is_file():
                raise TlsFileError(file, "no such file", "name a file in PEM")
        if self._key.stat().st_mode & 0o007:
            raise TlsFileError(self._key, "a key that everyone can read or write", f"run: chmod 600 {self._key}")
        try:
            context.load_cert_chain(self._certificate, self._key, lambda: self._password or "")
        except ssl.SSLError as error:
            if "KEY_VALUES_MISMATCH" in str(error):
                found, do = (
                    f"a key that is not that of {self._certificate}",
                    "name the key that the certificate was made with",
                )
            elif b"ENCRYPTED" in self._key.read_bytes():  # OpenSSL's word for a wrong password is that of any bad file
                found, do = "a key with a password, which is not that given", "say it as RINGFENCE_TLS_KEY_PASSWORD"
            else:
                found, do = (
                    f"no certificate and key in PEM ({error.reason or error})",
                    f"look at {self._certificate} too",
                )
            raise TlsFileError(self._key, found, do) from error
        except OSError as error:
            raise TlsFileError(self._key, error.strerror or str(error), "let the service read both files") from error

    def _stamps(self) -> tuple[Stamp, Stamp]:
        return stamp(self._certificate), stamp(self._key)
