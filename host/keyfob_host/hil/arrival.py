"""The first connection of a device that nobody here can start: waited for, and explained.

What a person sees while it does not come is what was seen on the wire: nothing at all, a
port scan, an alert. Judged is by mosquitto's own log, as only a CONNECT that it took is a
device that is there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from shlex import quote

from keyfob_host.doctor.tap import TapConnection
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.hil.bench_broker import BenchBroker
from keyfob_host.hil.evidence import tail
from keyfob_host.printable import printable

_POLL_S = 0.1
_SUBSCRIBES_S = 5.0  # behind its CONNACK
_TOLD_LINES = 20  # of what went wrong so far; a device that tries again would say more
_EVIDENCE_LINES = 4
# What the tap's verdict advises is for a board of Keyfob's.
_FIXES = {"x509.wrong-anchor": "keyfob cert export ca --format pem  # and that onto the device"}
_JOINED = re.compile(r"^\S+ New client connected from \S+ as (.+) \(p\d+, ", re.MULTILINE)
_SUBSCRIBE = re.compile(
    r"^\S+ Received SUBSCRIBE from (.+)\n((?:\S+ \t.+ \(QoS \d\)\n)+)", re.MULTILINE
)
_FILTER = re.compile(r"^\S+ \t(.+) \(QoS \d\)$", re.MULTILINE)


class Arrival:
    """``client_id``: the device's, None for any. ``tell`` is given what goes wrong, once each."""

    def __init__(
        self, broker: BenchBroker, client_id: str | None, tell: Callable[[str], None]
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._tell = tell
        self._told: list[str] = []
        self._judged = 0  # connections whose end was looked at

    def wait(self, limit_s: float) -> str:
        """The device's client identifier, as soon as the broker took it; error
        ``hil.no-device`` after ``limit_s``."""
        end = time.monotonic() + limit_s
        while True:
            for name in _JOINED.findall(self._broker.log()):
                if self._client_id in (None, name):
                    return str(name)
                self._say(f"another client came: {name}; waiting for {self._client_id}")
            self._say_what_failed()
            if time.monotonic() > end:
                raise self._did_not_come(limit_s)
            time.sleep(_POLL_S)

    def wait_filters(self, client_id: str) -> list[str]:
        """The topic filters that ``client_id`` subscribes to; none if it does not soon."""
        end = time.monotonic() + _SUBSCRIBES_S
        while not (found := _filters(self._broker.log(), client_id)) and time.monotonic() < end:
            time.sleep(_POLL_S)
        return found

    def _say_what_failed(self) -> None:
        for one in list(self._broker.tap.connections):
            if one.number > self._judged and one.verdict is not None:
                self._judged = one.number
                if not one.verdict.is_well:
                    self._say(f"{_host(one)} came and went: {one.verdict.meaning}")

    def _say(self, text: str) -> None:
        if text not in self._told and len(self._told) < _TOLD_LINES:
            self._told.append(text)
            self._tell(printable(text))

    def _did_not_come(self, limit_s: float) -> KeyfobHostError:
        broker, seen = self._broker, self._broker.tap.connections
        where = f"{broker.host}:{broker.port}"
        if not seen:
            return KeyfobHostError(
                "hil.no-device",
                f"no device connected to the bench's broker within {limit_s:g} s",
                evidence=f"nothing came to {where} at all: another address or port in its "
                "settings, another network, or a firewall on this machine",
                fix=f"nc -vz {quote(broker.host)} {broker.port}  # on the device's network",
                status=ExitStatus.NETWORK,
            )
        others = [name for name in _JOINED.findall(broker.log()) if name != self._client_id]
        verdicts = [one.verdict for one in seen if one.verdict and not one.verdict.is_well]
        mend, named = "", ""
        if others:
            what = [f"clients that came: {', '.join(dict.fromkeys(others))}"]
            named = f" --client-id {quote(others[-1])}"
        elif verdicts:
            last = verdicts[-1]
            what = [f"the last: {last.text}"]
            mend = _FIXES.get(last.causes[0] if last.causes else "", last.fix)
        else:
            what = [tail(broker.log(), _EVIDENCE_LINES)]
        count = f"{len(seen)} connection{'s' if len(seen) > 1 else ''} to {where}"
        told = "\n".join([count, *what])
        if mend:
            return _no_session(limit_s, told, mend)
        return _no_session(
            limit_s,
            told,
            f"keyfob hil run advisor --device external --bench-address {quote(broker.host)} "
            f"--bench-port {broker.port}{named}",
        )


def _no_session(limit_s: float, evidence: str, fix: str) -> KeyfobHostError:
    return KeyfobHostError(
        "hil.no-device",
        f"the device got no session at the bench's broker within {limit_s:g} s",
        evidence=evidence,
        fix=fix,
        status=ExitStatus.NETWORK,
    )


def _host(connection: TapConnection) -> str:
    return connection.peer.rpartition(":")[0] or connection.peer


def _filters(log: str, client_id: str) -> list[str]:
    asked = [text for name, text in _SUBSCRIBE.findall(log) if name == client_id]
    return list(dict.fromkeys(_FILTER.findall("".join(asked))))
