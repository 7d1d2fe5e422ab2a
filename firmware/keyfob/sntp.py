"""SNTP without I/O: the request packet, and the checks a reply must pass.

RFC 4330 sections 4 and 5. Checked: the reply echoes our 64-bit nonce as its
originate timestamp, mode, version, leap indicator, stratum, kiss-of-death, and
that its transmit timestamp lies in the caller's window. Not checked: who sent it
(SNTP has no authentication; the nonce only stops those who cannot read the
request) and how long it was under way (the caller bounds that by a time limit).
"""

import struct

from micropython import const

from keyfob.errors import KeyfobError

PACKET_BYTES = const(48)
_MODE_CLIENT = const(3)
_MODE_SERVER = const(4)
_VERSION = const(4)
_LEAP_UNSYNCHRONIZED = const(3)
_STRATUM_MOST = const(15)
# Seconds from 1900-01-01 (NTP era 0) to 1970-01-01.
_UNIX_IN_ERA_0 = const(2_208_988_800)
_ERA_S = const(0x1_0000_0000)


def put_request(packet: bytearray, nonce: bytes) -> None:
    """Make ``packet`` (48 bytes) a client request.

    ``nonce``: 8 random bytes, sent as the transmit timestamp. The server copies it
    to the originate timestamp, and our real clock, which nobody else need know, is
    not told (RFC 4330 section 3 allows any value that the client can recognise).
    """
    for index in range(PACKET_BYTES):
        packet[index] = 0
    packet[0] = _VERSION << 3 | _MODE_CLIENT
    packet[40:48] = nonce


def check_reply(packet: bytes, nonce: bytes, floor_s: int, ceiling_s: int) -> tuple:
    """Judge a reply; returns its transmit timestamp as (Unix seconds, milliseconds).

    ``floor_s`` and ``ceiling_s``: Unix seconds between which the time is plausible.
    The checks that prove the reply to be an answer to us come first, so a forged
    kiss-of-death cannot stop a board from asking. Errors: clock.short-packet,
    clock.wrong-originate, clock.wrong-mode, clock.wrong-version,
    clock.kiss-of-death, clock.unsynchronized, clock.wrong-stratum,
    clock.implausible.
    """
    if len(packet) < PACKET_BYTES:
        raise KeyfobError("clock.short-packet", "%d bytes, want %d" % (len(packet), PACKET_BYTES))
    if bytes(packet[24:32]) != nonce:
        raise KeyfobError("clock.wrong-originate", _hex(packet[24:32]) + ", want " + _hex(nonce))
    mode = packet[0] & 7
    if mode != _MODE_SERVER:
        raise KeyfobError("clock.wrong-mode", "%d, want %d" % (mode, _MODE_SERVER))
    version = packet[0] >> 3 & 7
    if version != _VERSION:
        # RFC 4330 section 5: the server copies the version of the request.
        raise KeyfobError("clock.wrong-version", "%d, want %d" % (version, _VERSION))
    stratum = packet[1]
    if stratum == 0 and _is_kiss_code(packet[12:16]):
        raise KeyfobError("clock.kiss-of-death", bytes(packet[12:16]).decode())
    if packet[0] >> 6 == _LEAP_UNSYNCHRONIZED:
        raise KeyfobError("clock.unsynchronized", "leap indicator 3, stratum %d" % stratum)
    if not 1 <= stratum <= _STRATUM_MOST:
        raise KeyfobError("clock.wrong-stratum", "%d, want 1 to %d" % (stratum, _STRATUM_MOST))
    seconds, fraction = struct.unpack_from(">II", packet, 40)
    unix_s = to_unix_s(seconds, floor_s)
    if seconds == 0:
        raise KeyfobError("clock.implausible", "transmit timestamp 0")
    if not floor_s <= unix_s <= ceiling_s:
        raise KeyfobError("clock.implausible", "%d, want %d to %d" % (unix_s, floor_s, ceiling_s))
    return unix_s, fraction * 1000 >> 32


def to_unix_s(ntp_s: int, floor_s: int) -> int:
    """Unix seconds of an NTP timestamp's 32-bit seconds, which wrap in 2036.

    RFC 4330 section 3 tells the era by the top bit, which fails again in 2104; here
    it is the era that lies nearest to ``floor_s``, which moves on with time.
    """
    half_era = _ERA_S >> 1
    ahead_s = (ntp_s - _UNIX_IN_ERA_0 - floor_s + half_era) % _ERA_S - half_era
    return floor_s + ahead_s


def _is_kiss_code(field: bytes) -> bool:
    """Four capital letters (RFC 4330 section 8); a stratum 0 without them is just wrong."""
    return all(0x41 <= byte <= 0x5A for byte in field)


def _hex(field: bytes) -> str:
    return "".join("%02x" % byte for byte in field)
