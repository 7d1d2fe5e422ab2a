"""What a person at the prompt is told of an identity that is not used, and of two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from provisioned_rig import DEVICE_ID, Rig, provisioned_board
from virtual_rig import SerialConsole, wait_for_log

from keyfob_host.pki.authority import Authority
from keyfob_host.provision.provisioning import Settings, provision_board

pytestmark = pytest.mark.mosquitto
DAMAGE = """
for slot in "ab":
    with open("/id/%s/cert.der" % slot, "wb") as file:
        file.write(b"damaged")
"""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with provisioned_board(tmp_path) as made:
        wait_for_log(made.virtual, '"ev":"mqtt.up"')
        yield made


def shell(console: SerialConsole, line: str) -> str:
    return console.run(f"from keyfob import shell; shell.start({line!r})").decode()


def test_certs_end_with_what_keeps_the_identity_from_being_used(rig: Rig) -> None:
    server = Authority.ephemeral("Bench CA").issue_device(DEVICE_ID, eku=["serverAuth"])
    provision_board(rig.ref, server, Settings(), checked=False)
    said = wait_for_log(rig.virtual, '"ev":"mqtt.up"', 2)
    # The application goes on with the identity of before, and says so.
    assert '"ev":"store.fallback","code":"store.wrong-usage"' in said
    with SerialConsole(rig.virtual) as console:
        shown = shell(console, "certs")
        assert "not after" in shown and "sha256" in shown
        _, error = shown.split("error: ")
        assert error.startswith("store.wrong-usage: cert.der: for 1.3.6.1.5.5.7.3.1, want")
        assert "then keyfob provision" in error
        console.run(DAMAGE)
        for line in ("certs", "mqtt connect"):
            shown = shell(console, line)
            assert "store.no-identity: b: store.hash-mismatch: /id/b/cert.der" in shown
            assert "; a: store.hash-mismatch: /id/a/cert.der" in shown
            assert "fix: keyfob provision\n" in shown
