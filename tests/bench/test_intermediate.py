"""A board and a broker below an intermediate: made by the commands, connected for real.

mosquitto judges the board's chain and the board, a virtual ESP32 with MicroPython's
mbedTLS, judges the broker's.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from provision_bench import powered_board
from virtual_rig import log, wait_until

from keyfob_host.boards import BoardRef
from keyfob_host.broker import MosquittoBroker
from keyfob_host.cli import cli
from keyfob_host.console import parse_event
from keyfob_host.home import Home
from keyfob_host.ntp import NtpServer
from keyfob_host.pki import bench
from keyfob_host.pki.ca_folder import CERT_FILE, KEY_FILE, clients_ca_path
from keyfob_host.pki.identity import Identity
from keyfob_host.provision.provisioning import provision_board
from keyfob_host.provision.settings import Settings
from keyfob_host.sync import sync_board

NAME = "broker.keyfob.test"
pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]


@dataclass
class Rig:
    ref: BoardRef
    home: Home
    ntp: NtpServer

    def outcome(self, broker: MosquittoBroker) -> dict[str, Any]:
        """Provision the board for ``broker``: its first event that says how that went."""
        assert self.ref.virtual is not None
        board = self.ref.virtual
        start = len(log(board))
        settings = Settings(
            broker=f"{NAME}:{broker.port}", ntp=[f"ntp.keyfob.test:{self.ntp.port}"]
        )
        provision_board(self.ref, Identity.read(bench.device_dir(self.home, "sensor-01")), settings)
        found: list[dict[str, Any]] = []

        def settled() -> bool:
            events = filter(None, map(parse_event, log(board)[start:].splitlines()))
            found[:] = [one for one in events if one["ev"] in ("mqtt.up", "error")]
            return bool(found)

        wait_until(settled, lambda: log(board)[start:])
        return found[0]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("intermediate")
    home = Home(folder / "home")
    for line in (
        "ca init --intermediate --no-passphrase",
        f"cert broker {NAME} --san IP:127.0.0.1",
        "cert device sensor-01",
    ):
        ran = CliRunner().invoke(
            cli, ["--json", *line.split()], env={"KEYFOB_HOME": str(home.root)}
        )
        assert ran.exit_code == 0 and json.loads(ran.stdout), ran.output
    (home.ca_dir / KEY_FILE).unlink()  # taken away: nothing below needs it
    with NtpServer() as ntp, powered_board(folder) as ref:
        sync_board(ref, reset=False)
        yield Rig(ref, home, ntp)


@pytest.mark.parametrize("known", ["the root alone", "root and intermediate"])
def test_board_and_broker_below_an_intermediate_verify_each_other(
    rig: Rig, tmp_path: Path, known: str
) -> None:
    folder = rig.home.ca_dir
    ca = folder / CERT_FILE if known == "the root alone" else clients_ca_path(folder)
    with MosquittoBroker(
        tmp_path / "run", identity_dir=bench.broker_dir(rig.home, NAME), ca_pem_path=ca,
        host_identity_dir=bench.host_dir(rig.home),
    ) as broker:  # fmt: skip
        assert rig.outcome(broker)["ev"] == "mqtt.up"


def test_broker_that_does_not_send_its_intermediate_is_told(rig: Rig, tmp_path: Path) -> None:
    """FAILURES row 6. OpenSSL would take a missing intermediate from the file of CAs."""
    whole = Identity.read(bench.broker_dir(rig.home, NAME))
    alone = replace(whole, intermediates=()).write(tmp_path / NAME)
    ca = rig.home.ca_dir / CERT_FILE
    with MosquittoBroker(tmp_path / "run", identity_dir=alone, ca_pem_path=ca) as broker:
        told = rig.outcome(broker)
        assert told["code"] == "x509.untrusted"
        assert "Keyfob issuing CA" in told["detail"] and "Keyfob root CA" in told["detail"]
        assert "unknown ca" in broker.log()
