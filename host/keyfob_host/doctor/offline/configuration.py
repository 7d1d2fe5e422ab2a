"""What a mosquitto.conf says of who is let in and how much may pass: facts that explain signs.

Only where nobody could ever be let in is a setting wrong by itself. Files that it names are
`certificates`'. Not read: plugins, bridges, ``include_dir``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keyfob_host.doctor.diagnosis import Evidence
from keyfob_host.doctor.offline.signs import Fact, shortened
from keyfob_host.errors import KeyfobHostError
from keyfob_host.files import read_bounded

_USERS = ("use_identity_as_username", "use_subject_as_username")
_LOGINS = ("password_file", "psk_file", "plugin", "auth_plugin", "global_plugin")
# A setting that explains a cause: what it does.
_EXPLAINS = (
    ("max_connections", "mqtt.too-many-connections", "more than the connections that boards open"),
    ("max_packet_size", "traffic.packet-too-large", "the largest packet that boards send"),
    ("message_size_limit", "authorization.denied-topic", "the largest payload that boards send"),
    ("message_size_limit", "traffic.packet-too-large", "the largest payload that boards send"),
    ("ciphers", "tls.no-shared-cipher", "suites of the boards, or no such line"),
    ("clientid_prefixes", "mqtt.client-id-refused", "a prefix of the boards' identifiers"),
    ("max_keepalive", "traffic.keep-alive", "at least the boards' keep alive"),
)
_MOST_LINES = 5000


@dataclass(frozen=True)
class Setting:
    """One line of it. ``listener``: what the last ``listener`` line before it says."""

    name: str
    value: str
    line: int
    listener: str


@dataclass(frozen=True)
class Configuration:
    """One file's settings."""

    path: Path
    settings: tuple[Setting, ...]

    def find(self, name: str) -> Setting | None:
        """The last of that name."""
        return next((one for one in reversed(self.settings) if one.name == name), None)

    def is_on(self, name: str) -> bool:
        found = self.find(name)
        return found is not None and found.value.lower() == "true"

    def evidence(self, setting: Setting, wanted: str) -> Evidence:
        """``setting`` against what it should be."""
        text = shortened(f"{self.path}:{setting.line}")
        return Evidence("broker", text, None, f"{setting.name} {setting.value}", wanted)


def read_configuration(path: Path) -> Configuration | str:
    """The file, or why it cannot be read."""
    try:
        content = read_bounded(path, "read the broker's configuration")
    except KeyfobHostError as error:
        return error.evidence or error.cause
    found: list[Setting] = []
    listener = ""
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        name, _, value = line.strip().partition(" ")
        if not name or name.startswith("#") or len(found) >= _MOST_LINES:
            continue
        if name == "listener":
            listener = value.strip()
        found.append(Setting(name, value.strip(), number, listener))
    return Configuration(path, tuple(found))


def facts(conf: Configuration) -> Iterator[Fact]:
    """What it explains."""
    yield from _of_users(conf)
    for name, code, wanted in _EXPLAINS:
        setting = conf.find(name)
        if setting is not None and setting.value not in ("-1", "0"):
            yield Fact(code, conf.evidence(setting, wanted), is_wrong=False)
    acl = conf.find("acl_file")
    if acl is not None:
        yield Fact(
            "authorization.denied-topic",
            conf.evidence(acl, "lines in it for the topic that was denied"), is_wrong=False,
        )  # fmt: skip
    version = conf.find("tls_version")
    if version is not None and version.value == "tlsv1.3":
        wanted = "tlsv1.2, which is the least it then takes"
        yield Fact("tls.version", conf.evidence(version, wanted), is_wrong=False)
    yield from _of_plain_listeners(conf)


def _of_users(conf: Configuration) -> Iterator[Fact]:
    if not conf.is_on("require_certificate") or any(conf.is_on(one) for one in _USERS):
        return
    anonymous = conf.find("allow_anonymous")
    if anonymous is not None and anonymous.value.lower() == "true":
        return
    has_logins = any(conf.find(name) for name in _LOGINS)
    shown = conf.find("require_certificate")
    if shown is not None:
        evidence = Evidence(
            "broker", shortened(str(conf.path)), None,
            f"require_certificate true (line {shown.line}) without use_identity_as_username",
            "use_identity_as_username true",
        )  # fmt: skip
        yield Fact("authorization.not-mapped", evidence, is_wrong=not has_logins)


def _of_plain_listeners(conf: Configuration) -> Iterator[Fact]:
    for setting in conf.settings:
        if setting.name not in ("listener", "port"):
            continue
        own = [one.name for one in conf.settings if one.listener == setting.value]
        if "certfile" not in own:
            wanted = "certfile and keyfile, where boards come with TLS"
            yield Fact("tcp.wrong-port", conf.evidence(setting, wanted), is_wrong=False)
