"""Join the access point, or tell why not; loaded while the station is down.

Ports number their status codes differently and not all have each one (the ESP8266 has
no STAT_ASSOC_FAIL), so they are read from the port by name.
"""

import time

import network
from micropython import const

from keyfob.errors import KeyfobError
from keyfob.waiting import pause

_JOIN_LIMIT_MS = const(20_000)
_POLL_MS = const(50)
# An ESP32 reports "no access point" while it is still scanning for the second
# time; only a status that lasts is believed.
_SETTLE_MS = const(2_000)

_FAILURES = (
    ("STAT_WRONG_PASSWORD", "wifi.wrong-password"),
    ("STAT_NO_AP_FOUND", "wifi.no-ap"),
    ("STAT_NO_AP_FOUND_W_COMPATIBLE_SECURITY", "wifi.no-ap"),
    ("STAT_NO_AP_FOUND_IN_AUTHMODE_THRESHOLD", "wifi.no-ap"),
    ("STAT_NO_AP_FOUND_IN_RSSI_THRESHOLD", "wifi.no-ap"),
    ("STAT_ASSOC_FAIL", "wifi.join-failed"),
    ("STAT_CONNECT_FAIL", "wifi.join-failed"),
)


async def join(wlan, ssid: str, password: str) -> None:
    """Return once ``wlan`` has an address. Errors: those of `keyfob.wifi.Wifi.join`."""
    try:
        wlan.active(True)
        # Ends an attempt that may still be under way: ESP32 answers a second
        # connect() with "Wifi Internal Error" otherwise.
        wlan.disconnect()
        wlan.connect(ssid, password)
    except OSError as error:
        raise KeyfobError("wifi.driver", str(error))
    started_ms = time.ticks_ms()
    seen, seen_ms = None, started_ms
    while not wlan.isconnected():
        now_ms = time.ticks_ms()
        status = wlan.status()
        if status != seen:
            seen, seen_ms = status, now_ms
        code = _failure(status)
        if code and time.ticks_diff(now_ms, seen_ms) >= _SETTLE_MS:
            raise KeyfobError(code, "ssid %s, status %s" % (ssid, status))
        if time.ticks_diff(now_ms, started_ms) > _JOIN_LIMIT_MS:
            detail = "ssid %s, status %s after %d ms" % (ssid, status, _JOIN_LIMIT_MS)
            raise KeyfobError(code or "wifi.timeout", detail)
        await pause(_POLL_MS)


def _failure(status: int):
    for name, code in _FAILURES:
        if getattr(network, name, None) == status:
            return code
    return None
