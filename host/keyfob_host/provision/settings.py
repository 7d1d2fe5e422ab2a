"""``/keyfob.json``: what was there, what the command line says, what the board kind says.

Values given win over the board's present ones; limits always come from the board kind.
Bounds are checked by the board itself, with the code that will read the file (see
`keyfob_host.provision.provisioning`). No setting here is about verification.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from keyfob_host.boards import BoardKind
from keyfob_host.errors import ExitStatus, KeyfobHostError

MAX_BYTES = 2048  # firmware/keyfob/config.py reads no more

# The access point of the virtual network; every virtual board is in its range.
BENCH_SSID = "keyfob-bench"
BENCH_PASSWORD = "keyfob-bench-password"  # noqa: S105 - the bench's own, known to everybody

_PUBLIC_NTP = ("pool.ntp.org", "time.cloudflare.com")
# The board takes no time before the day of its provisioning; a day for this clock's error.
_CLOCK_SLACK_S = 86_400

_SECTIONS: dict[str, frozenset[str]] = {
    "wifi": frozenset({"ssid"}),
    "ntp": frozenset({"servers", "min_s"}),
    "broker": frozenset(
        {"host", "port", "keepalive_s", "version", "session_expiry_s", "will_delay_s"}
    ),
    "limits": frozenset(
        {"rx_bytes", "tx_bytes", "payload_bytes", "inflight"}
        | {"inbox", "packet_bytes", "topic_aliases"}
    ),
    "outbox": frozenset({"messages", "bytes", "when_full"}),
    "tls": frozenset({"engine", "versions", "alpn", "pins", "rsa_exchange", "psk_ke"}),
}


@dataclass(frozen=True)
class Settings:
    """What a person gives; None and empty mean "as it is on the board, or the default".

    ``broker``: ``HOST[:PORT]``; ``ntp``: ``HOST[:PORT]`` each; ``app``: merged into the
    application's settings; ``extra``: ``{"broker.keepalive_s": 60}``, by dotted key.
    """

    broker: str | None = None
    ntp: Sequence[str] = ()
    wifi_ssid: str | None = None
    wifi_password: str | None = field(default=None, repr=False)
    app: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


def settings_text(
    given: Settings, kind: BoardKind, device_id: str, present: dict[str, Any]
) -> bytes:
    """The bytes of ``/keyfob.json``; ``present`` is what the board has now.

    Errors: ``provision.no-broker``, ``provision.no-wifi``, ``provision.bad-value``,
    ``provision.unknown-setting``, ``provision.verifies-nobody``,
    ``provision.settings-too-large``.
    """
    made: dict[str, Any] = {
        "device_id": device_id,
        "wifi": _wifi(given, kind, _section(present, "wifi")),
        "ntp": {"min_s": int(time.time()) - _CLOCK_SLACK_S, "servers": _ntp(given, present)},
        "broker": _broker(given, _section(present, "broker")),
        "limits": kind.limits.as_dict(),
        "tls": _tls(kind, _section(present, "tls")),
        "app": {"name": kind.app, **_section(present, "app"), **given.app},
    }
    if outbox := _section(present, "outbox"):
        made["outbox"] = outbox
    for key, value in given.extra.items():
        _set(made, key, value)
    _check_engine(made["tls"]["engine"], kind)
    if made["tls"]["engine"] == "mbedtls":
        asked = {key for key in given.extra if key.startswith("tls.")}
        made["tls"] = {
            name: value
            for name, value in made["tls"].items()
            if name == "engine" or f"tls.{name}" in asked
        }
    text = json.dumps(made, separators=(",", ":"), ensure_ascii=False).encode()
    if len(text) > MAX_BYTES:
        raise KeyfobHostError(
            "provision.settings-too-large", "the settings are larger than a board reads",
            evidence=f"{len(text)} bytes, at most {MAX_BYTES}", fix="shorten what --set gives",
        )  # fmt: skip
    return text


def split_host_port(text: str, default_port: int, option: str) -> tuple[str, int]:
    """``HOST``, ``HOST:PORT`` or ``[IPv6]:PORT``; error ``provision.bad-value``."""
    host, port = text, str(default_port)
    if text.startswith("[") and "]" in text:
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, port = text.split(":")
    if not host or any(c.isspace() or c == "/" for c in host) or len(host) > 253:
        raise _bad_value(option, text, "HOST or HOST:PORT, without a scheme or a path")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise _bad_value(option, text, "a port from 1 to 65535")
    return host, int(port)


def parse_set(items: Sequence[str]) -> dict[str, Any]:
    """``["app.period_s=1"]`` -> ``{"app.period_s": 1}``; values are JSON, else text."""
    found: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or "." not in key:
            raise _bad_value("--set", item if not equals else key, "SECTION.KEY=VALUE")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def _set(made: dict[str, Any], key: str, value: Any) -> None:
    section, _, name = key.partition(".")
    if key == "wifi.password":
        raise KeyfobHostError(
            "provision.secret-in-argv", "a password on a command line is seen by every user here",
            fix="--wifi-password-file FILE or --wifi-password-env VARIABLE",
            status=ExitStatus.USAGE,
        )  # fmt: skip
    if section != "app" and name not in _SECTIONS.get(section, frozenset()):
        known = [f"{part}.{one}" for part, names in _SECTIONS.items() for one in sorted(names)]
        raise KeyfobHostError(
            "provision.unknown-setting", f"there is no setting {key!r}",
            evidence=f"settings: {', '.join(known)}, app.*", fix="keyfob provision --help",
            status=ExitStatus.USAGE,
        )  # fmt: skip
    made.setdefault(section, {})[name] = value


def _wifi(given: Settings, kind: BoardKind, present: dict[str, Any]) -> dict[str, Any]:
    if given.wifi_ssid is not None:
        wifi = {"ssid": given.wifi_ssid, "password": given.wifi_password or ""}
    elif present.get("ssid") and not kind.virtual:
        wifi = {"ssid": present["ssid"], "password": present.get("password", "")}
        if given.wifi_password is not None:
            wifi["password"] = given.wifi_password
    elif kind.virtual:
        wifi = {"ssid": BENCH_SSID, "password": BENCH_PASSWORD}
    else:
        raise KeyfobHostError(
            "provision.no-wifi", "the board does not know a Wi-Fi network yet, and none was given",
            fix="--wifi-ssid NAME (the password is asked for), or with --wifi-password-file FILE",
            status=ExitStatus.USAGE,
        )  # fmt: skip
    if not 1 <= len(wifi["ssid"].encode()) <= 32:
        raise _bad_value("--wifi-ssid", wifi["ssid"], "1 to 32 bytes")
    # IEEE 802.11i: a passphrase has 8 to 63 characters; 64 are a key in hexadecimal.
    if wifi["password"] and not 8 <= len(wifi["password"].encode()) <= 64:
        seen = f"{len(wifi['password'].encode())} characters"
        raise _bad_value(
            "the Wi-Fi password", seen, "8 to 63 characters, or none for an open network"
        )
    return wifi


def _ntp(given: Settings, present: dict[str, Any]) -> list[str]:
    if given.ntp:
        pairs = [(text, split_host_port(text, 123, "--ntp")) for text in given.ntp]
        return [host if port == 123 else f"{host}:{port}" for _, (host, port) in pairs]
    there = _section(present, "ntp").get("servers")
    return list(there) if isinstance(there, list) and there else list(_PUBLIC_NTP)


def _broker(given: Settings, present: dict[str, Any]) -> dict[str, Any]:
    broker = {"keepalive_s": 30, "port": 8883, **present}
    if given.broker is not None:
        broker["host"], broker["port"] = split_host_port(given.broker, 8883, "--broker")
    if not broker.get("host"):
        raise KeyfobHostError(
            "provision.no-broker", "the board does not know a broker yet, and none was given",
            fix="--broker HOST:PORT, a name or address that stands in the broker's certificate",
            status=ExitStatus.USAGE,
        )  # fmt: skip
    return broker


def _tls(kind: BoardKind, present: dict[str, Any]) -> dict[str, Any]:
    """An ESP32 may have been given Keyfob's engine; an ESP8266 has no other that verifies."""
    tls = {"versions": list(kind.tls.versions), **present}
    if kind.tls.engine == "keyfob" or "engine" not in tls:
        tls["engine"] = kind.tls.engine
    return tls


def _check_engine(engine: Any, kind: BoardKind) -> None:
    """The board would refuse to connect with it, and say so on its console only."""
    if kind.tls.engine == "keyfob" and engine != "keyfob":
        raise KeyfobHostError(
            "provision.verifies-nobody",
            f"the TLS in the firmware of {kind.name} verifies nobody, so Keyfob's own is the only "
            "engine there",
            evidence=f"seen: tls.engine={engine}; wanted: keyfob",
            fix=f"keyfob provision --board {kind.name} --set tls.engine=keyfob",
            status=ExitStatus.USAGE,
        )  # fmt: skip


def _section(settings: dict[str, Any], name: str) -> dict[str, Any]:
    found = settings.get(name)
    return dict(found) if isinstance(found, dict) else {}


def _bad_value(option: str, seen: str, wanted: str) -> KeyfobHostError:
    return KeyfobHostError(
        "provision.bad-value", f"{option} cannot be used as given",
        evidence=f"seen: {seen}; wanted: {wanted}", fix="keyfob provision --help",
        status=ExitStatus.USAGE,
    )  # fmt: skip
