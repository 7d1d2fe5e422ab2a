"""A small synchronous MQTT client for the host's side: demo, HIL suite, commands.

Verified TLS with a client certificate, over paho-mqtt. The name that is verified may
differ from the address that is dialled, because a bench's broker sits on the loopback
under the name that boards know. It does not reconnect: on a bench, a lost broker is a
result.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error

_Value = TypeVar("_Value")


class Message(NamedTuple):
    """One message received. ``retain``: kept by the broker from before the subscription."""

    topic: str
    payload: bytes
    retain: bool


class HostClient:
    """A connected client; a context manager, or `connect` and `close`.

    ``identity_dir`` holds ``chain.pem`` and ``key.pem``, ``ca`` is the PEM file of the
    trust anchors, ``server_name`` what the broker's certificate must be for (default:
    ``host``). Errors of `connect`: ``broker.not-trusted``, ``broker.unreachable``,
    ``broker.refused``.
    """

    def __init__(
        self,
        host: str,
        port: int,
        identity_dir: Path,
        ca: Path,
        server_name: str | None = None,
        *,
        client_id: str | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._address = (host, port)
        self._server_name = server_name or host
        self._timeout_s = timeout_s
        self._changed = threading.Condition()
        self._messages: list[Message] = []
        self._refusal: str | None = None  # "" once accepted, else why not
        self._lost: str | None = None
        self._granted: dict[int, list[Any]] = {}
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id or f"keyfob-host-{uuid.uuid4().hex[:8]}",
            reconnect_on_failure=False,
        )
        self._client.connect_timeout = timeout_s
        self._client.tls_set_context(_context(identity_dir, ca, self._server_name))
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe

    def connect(self) -> HostClient:
        """Connect and wait for the CONNACK."""
        host, port = self._address
        try:
            self._client.connect(host, port, keepalive=30)
        except ssl.SSLCertVerificationError as error:
            raise KeyfobHostError(
                "broker.not-trusted",
                "the broker's certificate does not stand up to verification",
                evidence=f"{host}:{port} as {self._server_name}: {error.verify_message}",
                fix=f"keyfob cert show {self._server_name}",
                status=ExitStatus.IDENTITY,
            ) from error
        except OSError as error:
            raise self._unreachable(str(error)) from error
        self._client.loop_start()
        try:
            why = self._answer(lambda: self._refusal, "CONNACK")
        except BaseException:
            self.close()
            raise
        if why:
            self.close()
            raise KeyfobHostError(
                "broker.refused",
                "the broker refuses the session",
                evidence=f"{host}:{port}: {why}",
                fix="keyfob broker log",
                status=ExitStatus.NETWORK,
            )
        return self

    def close(self) -> None:
        """Disconnect and end the thread; a second call does nothing."""
        with contextlib.suppress(OSError, ValueError):
            self._client.disconnect()
        self._client.loop_stop()

    def __enter__(self) -> HostClient:
        return self.connect()

    def __exit__(self, *_: object) -> None:
        self.close()

    def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Subscribe, and wait until the broker has granted it."""
        error, packet_id = self._client.subscribe(topic_filter, qos)
        if error != paho.MQTT_ERR_SUCCESS or packet_id is None:
            raise self._unreachable(paho.error_string(error))
        granted = self._answer(lambda: self._granted.pop(packet_id, None), "SUBACK")
        if any(code.is_failure for code in granted):
            raise KeyfobHostError(
                "broker.refused",
                "the broker refuses the subscription",
                evidence=f"{topic_filter}: {', '.join(map(str, granted))}",
                fix="keyfob broker log",
                status=ExitStatus.NETWORK,
            )

    def publish(self, topic: str, payload: bytes | str, qos: int = 1, retain: bool = False) -> None:
        """Publish, and wait until it is on its way (QoS 0) or acknowledged (QoS 1, 2)."""
        info = self._client.publish(topic, payload, qos, retain)
        try:
            info.wait_for_publish(self._timeout_s)
            done = info.is_published()
        except (RuntimeError, ValueError) as error:
            raise self._unreachable(str(error)) from error
        if not done:
            raise self._unreachable(f"no PUBACK for {topic} within {self._timeout_s:g} s")

    def wait_message(
        self,
        topic_filter: str,
        predicate: Callable[[Message], bool] | None = None,
        timeout_s: float = 10.0,
    ) -> Message:
        """The oldest message not yet taken that matches, removed; error ``broker.no-message``.

        ``predicate`` further chooses among those whose topic matches the filter.
        """

        def take() -> Message | None:
            for index, message in enumerate(self._messages):
                if paho.topic_matches_sub(topic_filter, message.topic) and (
                    predicate is None or predicate(message)
                ):
                    return self._messages.pop(index)
            return None

        found = self._wait(take, timeout_s)
        if found is None:
            with self._changed:
                others = [f"{one.topic} ({len(one.payload)} bytes)" for one in self._messages]
            seen = f"received meanwhile: {', '.join(others[-5:]) or 'nothing'}"
            raise KeyfobHostError(
                "broker.no-message",
                f"no message on {topic_filter} that was waited for came within {timeout_s:g} s",
                evidence=f"{seen}; {self._lost}" if self._lost else seen,
                fix="keyfob broker log; keyfob monitor",
                status=ExitStatus.NETWORK,
            )
        return found

    def _wait(self, get: Callable[[], _Value | None], timeout_s: float) -> _Value | None:
        """What ``get`` returns as soon as it is not None; None on time-out or a lost link."""
        box: list[_Value] = []

        def ready() -> bool:
            value = get()
            if value is not None:
                box.append(value)
            return bool(box) or self._lost is not None

        with self._changed:
            self._changed.wait_for(ready, timeout_s)
        return box[0] if box else None

    def _answer(self, get: Callable[[], _Value | None], what: str) -> _Value:
        """`_wait` for the broker's answer ``what``, which must come."""
        value = self._wait(get, self._timeout_s)
        if value is None:
            raise self._unreachable(self._lost or f"no {what} within {self._timeout_s:g} s")
        return value

    def _unreachable(self, why: str) -> KeyfobHostError:
        host, port = self._address
        return KeyfobHostError(
            "broker.unreachable",
            "the broker cannot be reached, or closed the connection",
            evidence=f"{host}:{port}: {why}",
            fix="keyfob broker status; keyfob broker log",
            status=ExitStatus.NETWORK,
        )

    # Called by paho on its own thread.

    def _on_connect(self, _c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        with self._changed:
            self._refusal = str(reason) if reason.is_failure else ""
            self._changed.notify_all()

    def _on_disconnect(self, _c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        with self._changed:
            self._lost = f"the connection ended: {reason}"
            self._changed.notify_all()

    def _on_subscribe(self, _c: Any, _u: Any, packet_id: int, codes: list[Any], _p: Any) -> None:
        with self._changed:
            self._granted[packet_id] = codes
            self._changed.notify_all()

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        with self._changed:
            self._messages.append(Message(message.topic, bytes(message.payload), message.retain))
            self._changed.notify_all()


class _NamedContext(ssl.SSLContext):
    """Verifies one name, whatever address the connection goes to."""

    server_name: str

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        options["server_hostname"] = self.server_name
        return super().wrap_socket(*args, **options)


def _context(identity_dir: Path, ca: Path, server_name: str) -> ssl.SSLContext:
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)  # CERT_REQUIRED, name checked
    context.server_name = server_name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with explain_os_error(identity_dir, "load the host's identity"):
        context.load_verify_locations(ca)
        context.load_cert_chain(identity_dir / "chain.pem", identity_dir / "key.pem")
    return context
