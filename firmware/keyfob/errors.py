"""The one device exception, and which of its codes are worth an early retry.

Cause, fix and source of every code stand in ``errors.txt``; a code is
``place.what``. The detail is the evidence: what was seen, against what was expected.
"""

import sys

# Codes of these places mean that files on the board or in the broker must change
# before another attempt can succeed.
_STOP_PLACES = ("config", "store", "x509")
_STOP_CODES = (
    "wifi.wrong-password",
    "tls.bad-key",
    "tls.cannot-verify",
    "tls.failed",
    "tls.no-randomness",
    "tls.not-tls",
    "mqtt.bad-credentials",
    "mqtt.bad-topic",
    "mqtt.identifier-rejected",
    "mqtt.not-authorized",
    "mqtt.subscribe-refused",
    "mqtt.unacceptable-protocol",
    "mqtt.short-payload",
    "mqtt.handler-failed",
)


class KeyfobError(Exception):
    """A failure with a stable ``code`` (slug) and its ``detail`` (evidence)."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return self.code + ": " + self.detail if self.detail else self.code


def is_stop(code: str) -> bool:
    """Whether ``code`` is of the *stop and tell* class, which is retried slowly.

    The other class, *wait and retry*, is the network's and the clock's. A fatal
    alert is the broker's judgement of this board, so all of those stop.
    """
    if code[: code.find(".")] in _STOP_PLACES or code in _STOP_CODES:
        return True
    # Those of MQTT 5.0 are kept where they are raised; not loaded, not raised.
    reasons = sys.modules.get("keyfob.mqtt.reasons")
    return code.startswith("tls.alert") or bool(reasons and code in reasons.STOP_CODES)
