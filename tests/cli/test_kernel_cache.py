# SPDX-License-Identifier: Apache-2.0
"""Old machine code must never answer for new sources."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ringfence.steps import kernel_cache


def test_cache_is_named_after_the_sources_of_every_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "ringfence"
    shutil.copytree(kernel_cache.PACKAGE / "engine", copy / "engine")
    monkeypatch.setattr(kernel_cache, "PACKAGE", copy)
    before = kernel_cache.kernel_digest()
    called = copy / "engine" / "_kernels_log.py"
    called.write_text(called.read_text() + "\n# another word\n")
    edited = kernel_cache.kernel_digest()
    constants = copy / "engine" / "layout.py"
    constants.write_text(constants.read_text().replace("RECENT: Final = 32", "RECENT: Final = 64"))
    assert len({before, edited, kernel_cache.kernel_digest()}) == 3


def test_an_explicit_cache_directory_stays(tmp_path: Path) -> None:
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    kernel_cache.use_kernel_cache(environment)
    assert environment == {"NUMBA_CACHE_DIR": str(tmp_path)}


def test_cache_lies_in_the_users_cache_folder(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    kernel_cache.use_kernel_cache(environment)
    assert Path(environment["NUMBA_CACHE_DIR"]).parent == tmp_path / "ringfence"
