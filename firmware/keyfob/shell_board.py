"""The shell's commands about the board itself: time, date, certs, wifi.

``certs`` shows what is public of the identity, and why it is not used if it is not. The
key is only proven by its hash.
"""

import hashlib
import os
import time

import network

from keyfob import config, store
from keyfob.clock import Clock
from keyfob.errors import KeyfobError
from keyfob.events import now_ms
from keyfob.pki.certificate import Certificate, date_text
from keyfob.wifi import Wifi

_STATES = (
    "STAT_GOT_IP",
    "STAT_CONNECTING",
    "STAT_IDLE",
    "STAT_WRONG_PASSWORD",
    "STAT_NO_AP_FOUND",
    "STAT_ASSOC_FAIL",
    "STAT_CONNECT_FAIL",
)


async def run_time(shell, rest: str) -> None:
    """``time`` or ``time set``."""
    if rest == "set":
        settings = config.load()
        await Wifi(settings["wifi"]).join()
        await Clock(settings["ntp"]).set()
    elif rest:
        shell.refuse("time knows %r not." % rest, "time, or: time set")
        return
    seconds, is_set = _now()
    print("unix_s  %d%s" % (seconds, "" if is_set else "  (the clock was never set)"))
    print("up      %d s" % (now_ms() // 1000))


async def run_date(shell, rest: str) -> None:
    """``date``."""
    if rest:
        shell.refuse("date takes nothing more.", "date, or: time set")
        return
    seconds, is_set = _now()
    print("date    " + date_text(seconds))
    if is_set:
        print("clock   set")
    else:
        shell.refuse("The clock was never set since the board has power.", "time set")


def _now() -> tuple:
    """(Unix seconds by the chip's clock, whether they are plausible).

    A chip starts at its epoch, decades before the floor that `keyfob.clock` keeps.
    """
    epoch_s = 946_684_800 if time.gmtime(0)[0] == 2000 else 0
    seconds = int(time.time()) + epoch_s
    return seconds, seconds >= Clock({"servers": [], "min_s": 0}).floor_s()


async def run_certs(shell, rest: str) -> None:
    """``certs``."""
    if rest:
        shell.refuse("certs takes nothing more.", "certs")
        return
    identity = store.load(config.load()["device_id"])
    now_s, is_set = _now()
    print("slot      %s, device %s" % (identity.slot, identity.device_id))
    for stem in ("ca", "cert"):
        for name in identity.names(stem):
            _show_certificate(name, identity.read(name), now_s if is_set else 0)
    print("key.der   whole by its SHA-256; never shown")
    other = "b" if identity.slot == "a" else "a"
    try:
        os.stat("%s/%s/manifest.json" % (store.ROOT, other))
        print("slot      %s holds an identity that is not active" % other)
    except OSError:
        pass  # never provisioned twice
    if not is_set:
        shell.refuse("Without a clock no validity can be judged.", "time set")
    # Last, and told by the shell as any error: what keeps the identity from being used.
    from keyfob.store_checks import check

    check(identity, now_s if is_set else 0)


def _show_certificate(name: str, der: bytes, now_s: int) -> None:
    print(name)
    digest = hashlib.sha256(der).digest()
    try:
        certificate = Certificate(der)
    except KeyfobError as error:
        print("  unreadable   %s" % error)
        return
    print("  subject      %s" % (certificate.subject or "(no common name)"))
    print("  issuer       %s" % (certificate.issuer or "(no common name)"))
    if certificate.names:
        print("  names        %s" % " ".join(certificate.names))
    print("  not before   " + date_text(certificate.not_before_s))
    print("  not after    " + date_text(certificate.not_after_s))
    if now_s:
        print("  days left    " + _days_left(certificate, now_s))
    print("  sha256       " + "".join("%02x" % byte for byte in digest))


def _days_left(certificate: Certificate, now_s: int) -> str:
    if now_s < certificate.not_before_s:
        return "not valid yet"
    if now_s > certificate.not_after_s:
        return "expired %d days ago" % ((now_s - certificate.not_after_s) // 86_400)
    return str((certificate.not_after_s - now_s) // 86_400)


async def run_wifi(shell, rest: str) -> None:
    """``wifi``."""
    if rest:
        shell.refuse("wifi takes nothing more.", "wifi, or: mqtt connect")
        return
    wlan = network.WLAN(network.STA_IF)
    print("ssid      %s" % config.load()["wifi"]["ssid"])
    print("state     %s" % _state(wlan.status()))
    if not wlan.isconnected():
        shell.refuse("The board has not joined the access point.", "mqtt connect")
        return
    address, mask, gateway, dns = wlan.ifconfig()
    print("address   %s, mask %s" % (address, mask))
    print("gateway   %s, DNS %s" % (gateway, dns))
    try:
        print("signal    %d dBm" % wlan.status("rssi"))
    except (OSError, TypeError, ValueError):
        pass  # a port that does not tell


def _state(status: int) -> str:
    # Ports number them differently, and not all have each one.
    for name in _STATES:
        if getattr(network, name, None) == status:
            return "%s (%d)" % (name[5:].lower().replace("_", " "), status)
    return str(status)
