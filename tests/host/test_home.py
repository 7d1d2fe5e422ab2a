"""The bench's folder for sockets, in a place where everybody may write."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from keyfob_host.errors import KeyfobHostError
from keyfob_host.home import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return Home(tmp_path / "bench")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_for_sockets_is_private_whatever_the_umask(home: Home) -> None:
    before = os.umask(0)
    try:
        assert mode(home.ensure_runtime()) == 0o700
    finally:
        os.umask(before)
    assert mode(home.runtime_dir.parent) == 0o700


def test_a_folder_of_ours_that_was_opened_is_closed_again(home: Home) -> None:
    home.ensure_runtime()
    home.runtime_dir.parent.chmod(0o777)
    assert mode(home.ensure_runtime().parent) == 0o700


def test_a_link_in_its_place_is_refused(home: Home, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    home.runtime_dir.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyfobHostError) as refused:
        home.ensure_runtime()
    assert refused.value.code == "home.not-ours"
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_somebody_else_is_refused(home: Home) -> None:
    home.runtime_dir.parent.mkdir()
    os.chown(home.runtime_dir.parent, 65534, 65534)
    with pytest.raises(KeyfobHostError) as refused:
        home.ensure_runtime()
    assert refused.value.code == "home.not-ours"
    assert "owner 65534" in refused.value.evidence
