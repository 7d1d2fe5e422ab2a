"""A scripted broker on the loopback, and clients of other makes for it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties

from keyfob_host.hil.evidence import Evidence
from keyfob_host.hil.scripted.broker import ScriptedBroker
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity

HOST = "localhost"
WAIT_S = 10.0
# CONNECT of MQTT 3.1.1 and of 5.0, clean, keep alive 60 s, client identifier "raw": written
# by hand after section 3.1 of each.
CONNECT_4 = bytes.fromhex("100f 00044d515454 04 02 003c 0003726177")
CONNECT_5 = bytes.fromhex("1010 00044d515454 05 02 003c 00 0003726177")


@dataclass
class Rig:
    """``broker`` runs; devices have certificates of ``authority``."""

    broker: ScriptedBroker
    authority: Authority
    folder: Path
    evidence: Evidence
    _undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def context(self, device: Identity | None = None, anchors: Path | None = None) -> Any:
        """A client's that has the certificate of ``device`` and verifies the broker."""
        identity = device or self.authority.issue_device("device-1")
        folder = identity.write(self.folder / identity.name, force=True)
        context = ssl.create_default_context(cafile=anchors or folder / "ca.pem")
        context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
        return context

    def raw(self, first: bytes = b"", version: ssl.TLSVersion | None = None) -> ssl.SSLSocket:
        """A TLS connection on which ``first`` was sent."""
        context = self.context()
        if version:
            context.minimum_version = context.maximum_version = version
        plain = socket.create_connection((HOST, self.broker.port), timeout=WAIT_S)
        self._undo.callback(plain.close)
        wrapped: ssl.SSLSocket = context.wrap_socket(plain, server_hostname=HOST)
        self._undo.callback(wrapped.close)
        wrapped.sendall(first)
        return wrapped

    def paho(self, version: int, *, clean: bool = True, keepalive_s: int = 60) -> Paho:
        """A paho-mqtt client that is connecting."""
        made = Paho(version, self, clean)
        made.client.connect_async(HOST, self.broker.port, keepalive=keepalive_s, **made.options)
        made.client.loop_start()
        self._undo.callback(made.stop)
        return made

    def program(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """mosquitto_pub or mosquitto_sub, with TLS, its output read."""
        folder = self.authority.issue_device("program-1").write(self.folder / "program", force=True)
        files = ["--cafile", "ca.pem", "--cert", "chain.pem", "--key", "key.pem"]
        where = ["-h", HOST, "-p", str(self.broker.port), "-i", "program-1"]
        run = subprocess.Popen(
            [name, *where, *files, *arguments], cwd=folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._undo.callback(run.wait)
        self._undo.callback(run.kill)
        return run

    def close(self) -> None:
        self._undo.close()


class Paho:
    """``messages`` it got, ``reasons`` of its CONNACKs, ``granted`` by SUBACKs."""

    def __init__(self, version: int, rig: Rig, clean: bool) -> None:
        protocol = MQTTProtocolVersion(version)
        self.options: dict[str, Any] = {}
        how: dict[str, Any] = {"clean_session": clean}
        if version == 5:
            how = {}
            self.options["clean_start"] = clean
            if not clean:
                properties = Properties(1)  # type: ignore[no-untyped-call]
                properties.SessionExpiryInterval = 600
                self.options["properties"] = properties
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="device-1", protocol=protocol, **how
        )
        self.client.tls_set_context(rig.context())
        self.changed = threading.Condition()
        self.messages: list[paho.MQTTMessage] = []
        self.reasons: list[int] = []
        self.sessions: list[bool] = []
        self.granted: list[list[int]] = []
        self.client.on_connect = self._connected
        self.client.on_message = lambda *it: self._keep(self.messages, it[2])
        self.client.on_subscribe = lambda *it: self._keep(self.granted, [c.value for c in it[3]])

    def _connected(self, *it: Any) -> None:
        self.sessions.append(bool(it[2].session_present))
        self._keep(self.reasons, it[3].value)

    def _keep(self, where: list[Any], what: Any) -> None:
        with self.changed:
            where.append(what)
            self.changed.notify_all()

    def wait(self, where: list[Any], count: int = 1, timeout_s: float = WAIT_S) -> Any:
        """The ``count``-th of what it has in ``where``."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(where) >= count, timeout_s)
            return where[count - 1]

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def scripted(folder: Path, **how: Any) -> Iterator[Rig]:
    """A rig with a broker for `HOST`."""
    authority, evidence = Authority.ephemeral("Scripted CA"), Evidence()
    with ScriptedBroker(authority.issue_broker(HOST, [HOST]), evidence, **how) as broker:
        evidence.add("scripted broker", broker.text)
        rig = Rig(broker, authority, folder, evidence)
        try:
            yield rig
        finally:
            rig.close()
