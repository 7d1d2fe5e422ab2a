"""Wi-Fi's numbers: ``WLAN.status()`` of MicroPython, and the reasons of a disconnection.

Status and reasons of ESP32 are ``esp_wifi_types_generic.h``'s and ``ports/esp32``'s, the status
of ESP8266 its SDK's ``STATION_…``, of Pico W ``cyw43.h``'s. Reasons below 200 are IEEE
802.11's.
"""

from __future__ import annotations

from keyfob_host.doctor.meaning import Entry, Meaning, meaning

ESP32_SOURCE = "WLAN.status() of MicroPython on ESP32"
ESP8266_SOURCE = "WLAN.status() of MicroPython on ESP8266"
PICO_SOURCE = "WLAN.status() of MicroPython on Pico W"
REASON_SOURCE = "Wi-Fi disconnection, reason (ESP-IDF, IEEE 802.11)"

_ESP32: dict[int, Entry] = {
    1000: ("STAT_IDLE", "the radio is not connecting", ""),
    1001: ("STAT_CONNECTING", "joining, or waiting for an address",
           "wifi.no-address wifi.weak-signal"),
    1010: ("STAT_GOT_IP", "joined, with an address; the Wi-Fi is not the fault", ""),
}  # fmt: skip
_REASONS: dict[int, Entry] = {
    1: ("UNSPECIFIED", "the access point gave no reason", "wifi.refused wifi.weak-signal"),
    2: ("AUTH_EXPIRE", "authentication ended: wrong password or weak signal",
        "wifi.password wifi.weak-signal"),
    3: ("AUTH_LEAVE", "the access point ended the authentication", "wifi.refused"),
    4: ("DISASSOC_DUE_TO_INACTIVITY", "the access point heard nothing for too long",
        "wifi.weak-signal"),
    5: ("ASSOC_TOOMANY", "the access point has as many clients as it takes", "wifi.refused"),
    6: ("NOT_AUTHED", "a frame before the authentication", "wifi.weak-signal"),
    7: ("NOT_ASSOCED", "a frame before the association", "wifi.weak-signal"),
    8: ("ASSOC_LEAVE", "the board left by itself", ""),
    13: ("IE_INVALID", "the access point sent something unreadable", "wifi.security-mode"),
    14: ("MIC_FAILURE", "a frame's check failed", "wifi.password"),
    15: ("4WAY_HANDSHAKE_TIMEOUT", "the key exchange did not end: most often a wrong password",
         "wifi.password wifi.weak-signal"),
    16: ("GROUP_KEY_UPDATE_TIMEOUT", "the new group key did not come", "wifi.weak-signal"),
    17: ("IE_IN_4WAY_DIFFERS", "the access point contradicts itself", "wifi.security-mode"),
    18: ("GROUP_CIPHER_INVALID", "the access point's cipher is not known", "wifi.security-mode"),
    19: ("PAIRWISE_CIPHER_INVALID", "the access point's cipher is not known",
         "wifi.security-mode"),
    20: ("AKMP_INVALID", "the access point's key management is not known", "wifi.security-mode"),
    23: ("802_1X_AUTH_FAILED", "the company network's authentication failed", "wifi.password"),
    24: ("CIPHER_SUITE_REJECTED", "the cipher was refused", "wifi.security-mode"),
    39: ("TIMEOUT", "the access point did not answer in time", "wifi.weak-signal"),
    200: ("BEACON_TIMEOUT", "the access point is no longer heard", "wifi.weak-signal"),
    201: ("NO_AP_FOUND", "no access point of this name answers", "wifi.no-access-point"),
    202: ("AUTH_FAIL", "the access point refuses the password",
          "wifi.password wifi.weak-signal"),
    203: ("ASSOC_FAIL", "the access point does not let the board in", "wifi.refused"),
    204: ("HANDSHAKE_TIMEOUT", "the key exchange did not end: most often a wrong password",
          "wifi.password wifi.weak-signal"),
    205: ("CONNECTION_FAIL", "joining failed", "wifi.refused wifi.password wifi.weak-signal"),
    206: ("AP_TSF_RESET", "the access point restarted", "wifi.weak-signal"),
    207: ("ROAMING", "the board goes over to another access point", ""),
    208: ("ASSOC_COMEBACK_TIME_TOO_LONG", "the access point asks to come back much later",
          "wifi.refused"),
    209: ("SA_QUERY_TIMEOUT", "a protected query was not answered", "wifi.weak-signal"),
    210: ("NO_AP_FOUND_W_COMPATIBLE_SECURITY", "the access point is there, with a security that "
          "does not fit", "wifi.security-mode"),
    211: ("NO_AP_FOUND_IN_AUTHMODE_THRESHOLD", "the access point's security is below the least "
          "that is allowed", "wifi.security-mode"),
    212: ("NO_AP_FOUND_IN_RSSI_THRESHOLD", "the access point is heard too faintly",
          "wifi.weak-signal"),
}  # fmt: skip
_ESP8266: dict[int, Entry] = {
    0: ("STAT_IDLE", "the radio is not connecting", ""),
    1: ("STAT_CONNECTING", "joining, or waiting for an address",
        "wifi.no-address wifi.weak-signal"),
    2: ("STAT_WRONG_PASSWORD", "the access point refuses the password", "wifi.password"),
    3: ("STAT_NO_AP_FOUND", "no access point of this name answers", "wifi.no-access-point"),
    4: ("STAT_CONNECT_FAIL", "joining failed", "wifi.refused wifi.security-mode wifi.weak-signal"),
    5: ("STAT_GOT_IP", "joined, with an address; the Wi-Fi is not the fault", ""),
}  # fmt: skip
_PICO: dict[int, Entry] = {
    -3: ("CYW43_LINK_BADAUTH", "the access point refuses the password", "wifi.password"),
    -2: ("CYW43_LINK_NONET", "no access point of this name answers", "wifi.no-access-point"),
    -1: ("CYW43_LINK_FAIL", "joining failed", "wifi.refused wifi.weak-signal"),
}


def status(number: int) -> list[Meaning]:
    """What ``WLAN.status()`` means by ``number``: one answer a port that has it."""
    found = []
    if number in _ESP32 or (200 <= number <= 212 and number in _REASONS):
        entry = _ESP32.get(number) or _REASONS[number]
        found.append(meaning(entry, ESP32_SOURCE, number=str(number)))
    for table, source in ((_ESP8266, ESP8266_SOURCE), (_PICO, PICO_SOURCE)):
        if number in table:
            found.append(meaning(table[number], source, number=str(number)))
    return found


def by_name(name: str) -> list[Meaning]:
    """The meaning of a name: ``STAT_…`` of MicroPython, ``WIFI_REASON_…``, ``CYW43_…``."""
    for table, read in (
        (_ESP32, status), (_ESP8266, status), (_PICO, status), (_REASONS, reason)
    ):  # fmt: skip
        for number, entry in table.items():
            if name in (entry[0], f"WIFI_REASON_{entry[0]}") and "_" in name:
                return [one for one in read(number) if entry[0] in one.name]
    return []


def reason(number: int) -> list[Meaning]:
    """What the reason ``number`` of a disconnection means."""
    if number not in _REASONS:
        return []
    return [meaning(_REASONS[number], REASON_SOURCE, prefix="WIFI_REASON_", number=str(number))]
