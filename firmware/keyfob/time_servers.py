"""Ask the time servers in turn, and set the real-time clock by the first good reply.

RFC 4330. Loaded when the clock is due, and let go of afterwards.
"""

import os
import time

import machine
from micropython import const

from keyfob import sntp
from keyfob.errors import KeyfobError
from keyfob.events import emit, emit_error
from keyfob.floor import BUILT_S

_REPLY_LIMIT_MS = const(3_000)
_RATE_REST_MS = const(1_024_000)
_WINDOW_S = const(20 * 366 * 86_400)


async def ask(clock, exchange=None) -> int:
    """Unix seconds, by which the RTC was set. ``clock``: `keyfob.clock.Clock`.

    ``exchange``: coroutine function (server, packet, limit_ms) -> reply bytes, by
    default `keyfob.datagrams.exchange`. A server that answers with a kiss-of-death is
    asked no more until reboot, or with the code RATE for 17 minutes (RFC 4330 section
    8). If all fail, the last one's error is raised and those before are told as events:
    those of `keyfob.sntp.check_reply`, clock.no-answer, clock.no-server, or
    clock.kiss-of-death when no server may be asked.
    """
    if not exchange:
        from keyfob.datagrams import exchange
    error = None
    _wake(clock)
    for server in list(clock.servers):
        if error:
            emit_error(error)
        try:
            return await _ask_one(clock, server, exchange)
        except KeyfobError as refusal:
            error = KeyfobError(refusal.code, "%s: %s" % (server, refusal.detail))
            if refusal.code == "clock.kiss-of-death":
                clock.servers.remove(server)
                if refusal.detail == "RATE":
                    clock.resting[server] = time.ticks_ms()
    raise error or KeyfobError("clock.kiss-of-death", "no server may be asked")


def _wake(clock) -> None:
    for server in list(clock.resting):
        if time.ticks_diff(time.ticks_ms(), clock.resting[server]) > _RATE_REST_MS:
            del clock.resting[server]
            clock.servers.append(server)


async def _ask_one(clock, server: str, exchange) -> int:
    packet = bytearray(sntp.PACKET_BYTES)
    nonce = os.urandom(8)
    sntp.put_request(packet, nonce)
    started_ms = time.ticks_ms()
    reply = await exchange(server, packet, _REPLY_LIMIT_MS)
    # The reply was written half a round trip ago, about.
    late_ms = time.ticks_diff(time.ticks_ms(), started_ms) // 2
    ceiling_s = clock.least_s + _WINDOW_S
    unix_s, unix_ms = sntp.check_reply(reply, nonce, clock.floor_s(), ceiling_s)
    now_ms = unix_ms + late_ms
    unix_s += now_ms // 1000
    epoch_s = clock.epoch_s
    before_s = int(time.time()) + epoch_s
    # The RTC has whole seconds on some ports (ESP8266: ms, ESP32: us), so round.
    rounded_s = unix_s + (now_ms % 1000 >= 500)
    year, month, day, hour, minute, second, weekday = time.gmtime(rounded_s - epoch_s)[:7]
    machine.RTC().datetime((year, month, day, weekday, hour, minute, second, 0))
    # A clock at its epoch was not off by decades, it was never set.
    offset_ms = None if before_s < BUILT_S else (unix_s - before_s) * 1000
    emit("clock.set", unix_s=unix_s, server=server, offset_ms=offset_ms)
    return unix_s
