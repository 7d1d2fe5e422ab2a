"""Mistakes for the demonstration to make on purpose; `BREAKAGES` has them by name.

Each is made while the board is connected, with the parts that the demonstration made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from keyfob_host.ntp import Mode
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity

if TYPE_CHECKING:
    from keyfob_host.demo import Demo


@dataclass(frozen=True)
class Breakage:
    """A mistake made on purpose: what it is, how to make it, the codes a board may say."""

    title: str
    make: Callable[[Demo], None]
    codes: tuple[str, ...]


def _serve(run: Demo, identity: Identity) -> None:
    """Restart the broker with another certificate, which the board meets as it reconnects."""
    identity.write(run.broker_identity, force=True)
    run.broker.stop()
    run.broker.host_identity_dir = None  # the host's own client would refuse it as well
    run.broker.start()


def _wrong_name(run: Demo) -> None:
    _serve(run, run.authority.issue_broker("other.keyfob.test"))


def _wrong_ca(run: Demo) -> None:
    _serve(run, Authority.ephemeral("Somebody else's CA").issue_broker(run.broker_identity.name))


def _expired(run: Demo) -> None:
    now = datetime.now(timezone.utc)
    _serve(
        run,
        run.authority.issue_broker(
            run.broker_identity.name,
            not_before=now - timedelta(days=30),
            not_after=now - timedelta(days=1),
        ),
    )


def _no_time(run: Demo) -> None:
    run.ntp.mode = Mode.SILENT
    run.board.power(False)
    run.board.power(True)


def _no_wifi(run: Demo) -> None:
    run.board.wifi(False)


BREAKAGES = {
    "wrong-name": Breakage(
        "the broker's certificate is for another name", _wrong_name, ("x509.wrong-name",)
    ),
    "wrong-ca": Breakage(
        "the broker's certificate is from another CA", _wrong_ca, ("x509.untrusted",)
    ),
    "expired": Breakage("the broker's certificate expired yesterday", _expired, ("x509.expired",)),
    "no-time": Breakage(
        "the NTP server is silent, and the power was cut",
        _no_time,
        ("clock.no-answer", "clock.never-set"),
    ),
    "no-wifi": Breakage("the Wi-Fi is gone", _no_wifi, ("wifi.lost", "wifi.no-ap", "wifi.timeout")),
}
