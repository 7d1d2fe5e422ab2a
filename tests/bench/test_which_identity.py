"""`keyfob provision` without ``--identity``: the board stays who it is, and nobody is guessed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from provision_bench import powered_board

from keyfob_host.boards import BoardRef
from keyfob_host.errors import KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.names import HOST_ID
from keyfob_host.provision.which_identity import which_identity
from keyfob_host.transport import open_transport

WAIT_S = 30.0


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardRef]:
    with powered_board(tmp_path_factory.mktemp("which")) as made:
        yield made


def home_with(folder: Path, *devices: str) -> Home:
    authority, home = Authority.ephemeral(), Home(folder / "bench")
    authority.issue_host().write(home.certs_dir / "device" / HOST_ID)
    for name in devices:
        authority.issue_device(name).write(home.certs_dir / "device" / name)
    return home


def called(ref: BoardRef, content: bytes) -> None:
    with open_transport(ref) as board:
        board.write("/keyfob.json", content)


def test_the_only_device_of_the_bench_needs_no_name_and_the_board_no_question(
    tmp_path: Path, ref: BoardRef
) -> None:
    before = ref.virtual.info()["boots"] if ref.virtual else None
    assert which_identity(home_with(tmp_path, "sensor-01"), ref) == "sensor-01"
    assert ref.virtual is not None and ref.virtual.info()["boots"] == before


def test_the_hosts_own_identity_is_no_boards(tmp_path: Path, ref: BoardRef) -> None:
    with pytest.raises(KeyfobHostError) as caught:
        which_identity(home_with(tmp_path), ref)
    assert caught.value.code == "provision.no-identity"
    assert caught.value.fix.startswith("keyfob cert device sensor-01")


def test_of_several_it_is_the_one_that_the_board_has(tmp_path: Path, ref: BoardRef) -> None:
    called(ref, json.dumps({"device_id": "sensor-02"}).encode())
    assert which_identity(home_with(tmp_path, "sensor-01", "sensor-02"), ref) == "sensor-02"


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b'{"device_id": 1', b'{"device_id": "sensor-09"}', b"{}"]
)
def test_a_board_of_nobody_known_is_asked_for_and_its_program_runs_again(
    tmp_path: Path, ref: BoardRef, content: bytes
) -> None:
    called(ref, content)
    assert ref.virtual is not None
    boots = ref.virtual.info()["boots"]
    with pytest.raises(KeyfobHostError) as caught:
        which_identity(home_with(tmp_path, "sensor-01", "sensor-02"), ref)
    assert caught.value.code == "provision.which-identity"
    assert "this bench has: sensor-01, sensor-02" in caught.value.evidence
    assert caught.value.fix == "keyfob provision --identity sensor-01"
    end = time.monotonic() + WAIT_S
    while ref.virtual.info()["boots"] == boots:
        assert time.monotonic() < end, "its program was interrupted, and that is all"
        time.sleep(0.02)
