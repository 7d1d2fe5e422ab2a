"""The settings in ``/keyfob.json``: read, and every key, type and bound checked.

There is no setting about verification, and a key that is not in the table below
is refused, so none can be smuggled in. What is not checked here: whether the
names resolve and whether the access point exists.
"""

import json
import os

from micropython import const

from keyfob.errors import KeyfobError

PATH = "/keyfob.json"
_ID = "/id"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"
_MAX_BYTES = const(2048)
_MAX_S = const(0xFFFFFFFF)

# Each setting: (type or types, least, most, default). For a string and a list the bounds
# are those of its length. A default of `_REQUIRED` means that there is none.
_REQUIRED = object()


def _schema() -> dict:
    return {
        "device_id": (str, 1, 64, _REQUIRED),
        "wifi": {
            "ssid": (str, 1, 32, _REQUIRED),
            "password": (str, 0, 64, ""),
        },
        "ntp": {
            "servers": (list, 1, 4, _REQUIRED),
            "min_s": (int, 0, _MAX_S, 0),
        },
        "broker": {
            "host": (str, 1, 253, _REQUIRED),
            "port": (int, 1, 65535, 8883),
            "keepalive_s": (int, 5, 3600, 30),
            "version": (int, 4, 5, 4),  # protocol level: 4 is MQTT 3.1.1
            "username": (str, 0, 64, ""),
            "password": (str, 0, 128, ""),
            "session_expiry_s": (int, 0, _MAX_S, 86_400),
            "will_delay_s": (int, 0, _MAX_S, 0),
        },
        "limits": {
            "rx_bytes": (int, 128, 65536, 4096),
            "tx_bytes": (int, 128, 65536, 4096),
            "payload_bytes": (int, 16, 65536, 2048),
            "inflight": (int, 1, 64, 4),
            "inbox": (int, 1, 64, 8),
            "packet_bytes": (int, 0, 268_435_460, 0),  # 0: as much as rx_bytes
            "topic_aliases": (int, 0, 64, 4),
        },
        "outbox": {
            "messages": (int, 1, 1000, 100),
            "bytes": (int, 256, 0x10_0000, 16_384),
            "when_full": (str, 1, 16, "refuse"),
        },
        "tls": {
            "engine": (str, 1, 16, "mbedtls"),
            "rsa_exchange": (int, 0, 1, 0),  # without forward secrecy
            # The rest is for Keyfob's own engine.
            "versions": (list, 1, 2, ["1.2", "1.3"]),
            "alpn": (list, 0, 4, []),
            "pins": (list, 0, 4, []),  # SHA-256 of a SubjectPublicKeyInfo each
            "psk_ke": (int, 0, 1, 0),  # resumption without forward secrecy of its own
        },
    }


def load(path: str = PATH) -> dict:
    """The checked settings, defaults filled in, as nested dictionaries.

    ``app`` is handed on as it stands: it belongs to the application, which checks
    it with `check_section`. Settings that wait in the active slot become the board's
    first. Errors: config.missing, config.too-large, config.not-json and those of `check`.
    """
    if path == PATH:
        _take_waiting()
    try:
        # Asked first, because read(limit) takes a buffer of that size from the heap.
        size = os.stat(path)[6]
        if size > _MAX_BYTES:
            detail = "%s: %d bytes, limit %d" % (path, size, _MAX_BYTES)
            raise KeyfobError("config.too-large", detail)
        with open(path, "rb") as file:
            text = file.read(size)
    except OSError as error:
        raise KeyfobError("config.missing", "%s: %s" % (path, error))
    try:
        # MicroPython before 1.26 takes a text that breaks off for one that is whole.
        if text.rstrip()[-1:] != b"}":
            raise ValueError("does not end with }")
        settings = json.loads(text.decode())
    except (ValueError, UnicodeError) as error:
        raise KeyfobError("config.not-json", "%s: %s" % (path, error))
    return check(settings)


def _take_waiting() -> None:
    """Finish what provisioning began.

    The settings that came with an identity lie in its slot until that is active, so that
    one rename makes both the board's; power lost behind it is made up for here.
    """
    try:
        with open(_ID + "/active") as file:
            path = "%s/%s/keyfob.json" % (_ID, file.read(1))
        with open(path) as file:
            text = file.read()
        # Not by a rename out of the folder: cut short, it would leave LittleFS 2.11 hiding
        # another file there until something is written.
        with open(PATH + ".new", "w") as file:
            file.write(text)
        os.rename(PATH + ".new", PATH)
        os.remove(path)
    except (OSError, UnicodeError):
        pass  # none are waiting, as nearly always


def check(settings: object) -> dict:
    """Judge ``settings`` and return them with defaults.

    Errors: config.wrong-type, config.unknown-key, config.missing-key,
    config.out-of-range, config.bad-value; the detail names the key and the value seen.
    """
    if not isinstance(settings, dict):
        raise KeyfobError("config.wrong-type", "settings: not an object")
    schema = _schema()
    app = settings.get("app", {})
    if not isinstance(app, dict):
        raise KeyfobError("config.wrong-type", "app: not an object")
    rest = {}
    for key in settings:
        if key != "app":
            rest[key] = settings[key]
    checked = check_section("", rest, schema)
    checked["app"] = app
    _check_id(checked["device_id"])
    _check_tls(checked["tls"], settings.get("tls", {}))
    when_full = checked["outbox"]["when_full"]
    if when_full not in ("refuse", "drop-oldest"):
        detail = "outbox.when_full: %r, want refuse or drop-oldest" % when_full
        raise KeyfobError("config.bad-value", detail)
    for server in checked["ntp"]["servers"]:
        split_server(server)
    if checked["limits"]["payload_bytes"] + 64 > checked["limits"]["tx_bytes"]:
        raise KeyfobError("config.out-of-range", "limits.payload_bytes: no room in tx_bytes")
    return checked


def check_section(name: str, section: object, schema: dict) -> dict:
    """Judge one object of the settings by ``schema``; ``name`` is its path for errors."""
    if not isinstance(section, dict):
        raise KeyfobError("config.wrong-type", "%s: not an object" % name)
    dot = name + "." if name else ""
    for key in section:
        if key not in schema:
            raise KeyfobError("config.unknown-key", dot + str(key))
    checked: dict = {}
    for key in schema:
        rule = schema[key]
        if isinstance(rule, dict):
            checked[key] = check_section(dot + key, section.get(key, {}), rule)
        elif key in section:
            checked[key] = _check_value(dot + key, section[key], rule)
        elif rule[3] is _REQUIRED:
            raise KeyfobError("config.missing-key", dot + key)
        else:
            checked[key] = rule[3]
    return checked


def _check_value(name: str, value: object, rule: tuple) -> object:
    kind, least, most, _ = rule
    # bool is an int to Python, and never what a number here may be.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise KeyfobError("config.wrong-type", "%s: %r" % (name, value))
    size = len(value) if isinstance(value, (str, list, dict)) else value
    if not least <= size <= most:
        detail = "%s: %s, want %s to %s" % (name, size, least, most)
        raise KeyfobError("config.out-of-range", detail)
    return value


def _check_tls(tls: dict, given: dict) -> None:
    if tls["engine"] not in ("mbedtls", "keyfob"):
        detail = "tls.engine: %r, want mbedtls or keyfob" % tls["engine"]
        raise KeyfobError("config.bad-value", detail)
    if tls["engine"] == "mbedtls":
        for name in ("versions", "alpn", "pins", "psk_ke"):
            if name in given:
                # What mbedTLS has no way to do must not be believed done.
                raise KeyfobError("config.bad-value", "tls.%s: takes tls.engine keyfob" % name)
            del tls[name]
        return
    for version in tls["versions"]:
        if version not in ("1.2", "1.3"):
            raise KeyfobError("config.bad-value", "tls.versions: %r" % version)
    for name in tls["alpn"]:
        if not isinstance(name, str) or not 0 < len(name) < 64:
            raise KeyfobError("config.bad-value", "tls.alpn: %r" % name)
    for pin in tls["pins"]:
        if not isinstance(pin, str) or len(pin) != 64 or pin.strip("0123456789abcdef"):
            raise KeyfobError("config.bad-value", "tls.pins: %r" % pin)


def _check_id(device_id: str) -> None:
    # It becomes a level of topics and an MQTT client identifier.
    if device_id.strip(_LETTERS + _LETTERS.upper() + "-."):
        raise KeyfobError("config.bad-value", "device_id: %r" % device_id)


def check_app_name(name: object) -> str:
    """The module below ``apps`` that ``app.name`` chooses: lower case, digits, _."""
    if not isinstance(name, str) or not 1 <= len(name) <= 32:
        raise KeyfobError("config.wrong-type", "app.name: %r" % name)
    if name.strip(_LETTERS):
        raise KeyfobError("config.bad-value", "app.name: %r" % name)
    return name


def split_server(server: object) -> tuple:
    """(host, port) of ``host`` or ``host:port``; the port is 123 by default."""
    if not isinstance(server, str):
        raise KeyfobError("config.wrong-type", "ntp.servers: %r" % server)
    host, port = server, "123"
    if ":" in server:
        host, port = server.rsplit(":", 1)
    port_is_bad = not port.isdigit() or len(port) > 5 or not 0 < int(port) < 65536
    if port_is_bad or not 0 < len(host) < 254 or ":" in host:
        raise KeyfobError("config.bad-value", "ntp.servers: %r" % server)
    return host, int(port)
