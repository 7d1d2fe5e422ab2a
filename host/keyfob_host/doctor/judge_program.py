"""A program that ended with an exception, a user's own above all: what the exception comes from.

Programs with `ssl` and an MQTT client from elsewhere tell of nothing but their last line.
What that can mean `keyfob_host.doctor.explain` knows; which of it it is, the tap, the broker's
log, the chain that the broker shows and the forms of the keys on the board decide. What the
program does with its answers is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from keyfob_host.doctor.catalogue import load_catalogue
from keyfob_host.doctor.diagnosis import Confidence, Diagnosis, Evidence
from keyfob_host.doctor.explain import explain
from keyfob_host.doctor.judge_broker import OF_ANYBODY, matching
from keyfob_host.doctor.judge_certificates import server_certificate
from keyfob_host.doctor.sightings import LogLine, Sightings
from keyfob_host.errors import KeyfobHostError

_TRACEBACK = "Traceback (most recent call last):"
_END = re.compile(r"^(MicroPython v?\S+ |>>> |kf \{)")
_OTHERS = 2
# The verdict of mbedTLS in words: the code under which Keyfob's firmware tells the same.
_AS_KEYFOB = {
    "clock.board-never-set": "x509.not-yet-valid",
    "x509.broker-expired": "x509.expired",
    "x509.name-not-in-san": "x509.wrong-name",
    "x509.wrong-anchor": "x509.untrusted",
    "x509.broker-wrong-usage": "x509.wrong-usage",
}
_KEY = "ValueError: invalid key"
# What a connection shows that ended, whatever for; only the other end knows.
_IS_VAGUE = re.compile(
    r"-30592|CONN_LOST|-29312|-256\b|OSError: (\[Errno )?(104|32|103)\b|ECONNRESET|EPIPE|-110\b"
)


def ended_program(seen: Sightings) -> Diagnosis | None:
    """The cause of the exception that the program ended with; None if it did not."""
    text = _last_traceback(seen)
    if not text or text[0].startswith("SystemExit"):
        return None
    error = Evidence("board", " ".join(" ".join(text).split()), seen.board.said_at)
    if text[0].startswith("KeyboardInterrupt"):
        return Diagnosis("firmware.program-stopped", "certain", (error,))
    causes = _causes(text)
    found = (
        _by_wire(seen, error)
        or _by_key(seen, error)
        or _by_chain(seen, error, causes)
        or _by_log(seen, error, causes)
    )
    if found is not None:
        return found
    if not causes:
        return Diagnosis("firmware.program-error", "certain", (error,))
    first, *others = causes
    sure: Confidence = "likely" if others else "certain"
    return Diagnosis(first, sure, (error,), tuple(others[:_OTHERS]))


def unverified_program(seen: Sightings) -> Diagnosis | None:
    """A program that is not Keyfob's, and TLS from a port whose own verifies nobody."""
    kind, tap = seen.board.kind, seen.tap(seen.now)
    if seen.board.events or kind.tls.engine != "keyfob":
        return None
    if tap is not None and tap["is_well"]:
        went = Evidence("wire", tap["meaning"], None, "TLS of the port", "one that verifies")
    else:
        line = _let_in(seen)
        if line is None:
            return None
        went = line.evidence()
    told = Evidence(
        "host", f"the TLS in the firmware of {kind.name} verifies nobody, and no event of Keyfob's "
        "program is on the console", seen.now,
    )  # fmt: skip
    return Diagnosis("tls.not-verified", "certain", (went, told))


def _let_in(seen: Sightings) -> LogLine | None:
    """The broker's line on a client with the board's own name, which is still there."""
    own = re.escape(str(seen.board.files.settings.get("device_id", "")))
    if not own:
        return None
    came = re.compile(rf"New client connected from \S+ as (\S+) \(.*u'{own}'\)")
    for index in range(len(seen.broker.log) - 1, -1, -1):
        found = came.search(seen.broker.log[index].text)
        if found is not None:
            left = re.compile(rf"Client {re.escape(found[1])} (disconnected|closed|has exceeded)")
            after = seen.broker.log[index + 1 :]
            is_gone = any(left.search(one.text) or "terminating" in one.text for one in after)
            return None if is_gone else seen.broker.log[index]
    return None


def _last_traceback(seen: Sightings) -> list[str]:
    """Its lines below the frames; none where the board told of something afterwards."""
    lines = list(seen.board.lines)
    starts = [index for index, line in enumerate(lines) if line.strip() == _TRACEBACK]
    if not starts:
        return []
    rest = [line.rstrip() for line in lines[starts[-1] + 1 :]]
    if any(line.startswith("kf {") for line in rest):
        return []
    end = next((at for at, line in enumerate(rest) if _END.match(line)), len(rest))
    return [line for line in rest[:end] if line.strip() and not line.startswith("  ")]


def _causes(text: list[str]) -> list[str]:
    try:
        return [one.code for one in explain("\n".join(text)).causes]
    except KeyfobHostError:
        return []


def _by_wire(seen: Sightings, error: Evidence) -> Diagnosis | None:
    """What the tap saw of the attempt, where the exception says no more than that it ended."""
    tap = seen.tap(error.at)
    if tap is None or not tap["causes"] or not _IS_VAGUE.search(error.text):
        return None
    wire = Evidence("wire", tap["meaning"])
    lines = seen.around(error.at)
    for pattern, cause in OF_ANYBODY:
        told = matching(lines, pattern)
        if told and cause in tap["causes"]:
            return Diagnosis(cause, "certain", (error, *told[-1:], wire))
    first, *others = tap["causes"]
    return Diagnosis(
        first, "likely" if others else "certain", (error, wire), tuple(others[:_OTHERS])
    )  # fmt: skip


def _by_key(seen: Sightings, error: Evidence) -> Diagnosis | None:
    """A key that was not taken: one of another form, or one of another type."""
    if _KEY not in error.text:
        return None
    for path, form in seen.board.files.keys:
        if form.startswith(("PEM", "no key")):
            told = Evidence("host", f"the key {path}", seen.now, form, "a key in DER")
            return Diagnosis("store.wrong-form", "certain", (error, told))
    if seen.board.kind.tls.engine != "keyfob":
        return None
    for path, form in seen.board.files.keys:
        if form != "PKCS#1":
            what = "an elliptic curve's (SEC 1)" if form == "SEC 1" else form
            told = Evidence("host", f"the key {path}", seen.now, what, "RSA in PKCS#1")
            return Diagnosis("store.key-type", "certain", (error, told))
    return None


def _by_chain(seen: Sightings, error: Evidence, causes: Iterable[str]) -> Diagnosis | None:
    """mbedTLS's verdict, held against the chain that the broker shows and this host's clock."""
    code = next((_AS_KEYFOB[one] for one in causes if one in _AS_KEYFOB), "")
    if not code:
        return None
    found = server_certificate(seen, error, code)
    if found is not None:
        return found
    if code == "x509.not-yet-valid" and seen.served and seen.served.chain:
        told = Evidence("host", "the certificate that the broker shows is valid now", seen.now)
        return Diagnosis("clock.board-never-set", "certain", (error, told))
    return None


def _by_log(seen: Sightings, error: Evidence, causes: list[str]) -> Diagnosis | None:
    """A line of the broker's at that moment which names one of the causes."""
    lines = seen.around(error.at)
    for pattern, cause in OF_ANYBODY:
        told = matching(lines, pattern)
        if told and cause in causes and len(causes) > 1 and cause in load_catalogue():
            return Diagnosis(cause, "likely", (error, *told[-1:]))
    return None
