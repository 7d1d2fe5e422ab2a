"""After a failure: what to tell, whether somebody must act, how long until the next attempt.

Exponential backoff with full jitter: a uniform draw from zero to the ceiling spreads a
fleet that lost its broker at one moment over the whole interval. Imported when
something fails.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit, emit_error, now_ms
from keyfob.mqtt.state import since

_FIRST_MS = const(500)
_CEILING_MS = const(60_000)
_STOP_MS = const(120_000)
# A connection that did is a success, and waits begin anew; so is one over which the broker
# acknowledged something, which the clients see.
_STOOD_MS = const(2_000)
_QUICK_MS = const(5_000)
_MOST_QUICK = const(5)

# Codes of these places mean that files on the board or in the broker must change
# before another attempt can succeed.
_STOP_PLACES = ("config", "store", "x509")
_STOP_CODES = (
    " wifi.wrong-password tls.bad-key tls.cannot-verify tls.failed tls.no-engine"
    " tls.no-randomness tls.not-tls"
    " mqtt.bad-credentials mqtt.bad-topic mqtt.identifier-rejected mqtt.not-authorized"
    " mqtt.subscribe-refused mqtt.unacceptable-protocol mqtt.short-payload"
    " mqtt.handler-failed mqtt.auth-refused mqtt.bad-authentication-method"
    " mqtt.bad-property mqtt.banned mqtt.filter-invalid mqtt.identifiers-not-supported"
    " mqtt.packet-too-large mqtt.payload-format-invalid mqtt.qos-not-supported"
    " mqtt.retain-not-supported mqtt.server-moved mqtt.shared-not-supported mqtt.taken-over"
    " mqtt.topic-name-invalid mqtt.use-another-server mqtt.wildcards-not-supported "
)


def is_stop(code: str) -> bool:
    """Whether ``code`` is of the *stop and tell* class, which is retried slowly.

    The other class, *wait and retry*, is the network's and the clock's. A fatal
    alert is the broker's judgement of this board, so all of those stop.
    """
    if code[: code.find(".")] in _STOP_PLACES or code.startswith("tls.alert"):
        return True
    return " %s " % code in _STOP_CODES


def next_ms(attempt: int, stop: bool, draw) -> int:
    """Milliseconds until the next attempt, after ``attempt`` that failed before this one.

    ``stop``: the failure needs a person, so the retry is slow: half to all of
    two minutes. Otherwise 0 to a ceiling that doubles from 0.5 s to 60 s.
    ``draw``: as `os.urandom`.
    """
    # Not random.random(), which the ESP8266 lacks.
    pair = draw(2)
    share = pair[0] << 8 | pair[1]
    if stop:
        return _STOP_MS // 2 + (share * (_STOP_MS // 2) >> 16)
    return share * min(_FIRST_MS << min(attempt, 16), _CEILING_MS) >> 16


def conclude(client, up_ms: int) -> int:
    """The connection, which stood since ``up_ms`` or never (-1), ended with
    ``client.failure``: close and tell it; milliseconds until the next attempt."""
    _say_why(client)
    client.drop_connection()
    error = client.uplink.ended(client.failure) or client.failure
    lasted_ms = -1
    if up_ms >= 0:
        lasted_ms = since(up_ms, now_ms())
        if lasted_ms >= _STOOD_MS:
            client.attempts = 0  # not for a CONNACK alone, behind which a broker may hang up
        emit("mqtt.down", code=error.code, detail=error.detail)
    # Two boards of one name throw each other out; MQTT 3.1.1 has no word for it.
    is_end = error.code in ("tls.closed", "tls.reset", "tls.truncated")
    is_quick = is_end and 0 <= lasted_ms < _QUICK_MS
    client.quick_ends = client.quick_ends + 1 if is_quick and client.session_present else 0
    if client.quick_ends >= _MOST_QUICK:
        detail = "closed %d times in a row, last after %d ms" % (client.quick_ends, lasted_ms)
        error = KeyfobError("mqtt.closed-again", detail)
        client.attempts = max(client.attempts, client.quick_ends - _MOST_QUICK)
    if client.version > 4 and error.code == "mqtt.unacceptable-protocol":
        emit_error(error)
        client.version = 4
        return 0
    # A trial that ended so is over: the identity of before is not to wait for a person.
    stop = is_stop(error.code) and not client.uplink.on_trial
    delay_ms = next_ms(client.attempts, stop, client.draw)
    if not stop:
        client.attempts += 1
    emit_error(error, delay_ms)
    return delay_ms


def _say_why(client) -> None:
    """Tell a 5.0 broker what it did wrong, if the connection ends for that, and not in the
    middle of a packet."""
    if client.version > 4 and client.session and client.stream:
        if client.blocked or getattr(client, "is_streaming", False):
            return
        words = client.session.farewell(client.failure.code)
        try:
            if words:
                client.stream.write_now(memoryview(words))
        except KeyfobError:
            pass  # it is closed already
