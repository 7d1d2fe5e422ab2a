"""What tests of several files begin with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from keyfob_rig import Keyfob
from unix_board import UnixBoard


@pytest.fixture
def keyfob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Keyfob]:
    monkeypatch.setenv("KEYFOB_HOME", str(tmp_path / "home"))
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        yield Keyfob(tmp_path / "home", capsys)


@pytest.fixture
def with_ca(keyfob: Keyfob) -> Keyfob:
    keyfob.json("ca", "init", "--no-passphrase")
    return keyfob


@pytest.fixture
def unix_board(tmp_path: Path) -> Iterator[UnixBoard]:
    with UnixBoard(tmp_path) as board:
        yield board


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYFOB_CACHE", str(tmp_path / "cache"))
