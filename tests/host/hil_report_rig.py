"""Reports to test with: of any number of boards, some of whose cases did not simply pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keyfob_host.hil.report.data import (
    Attempt,
    Board,
    Case,
    Measure,
    Report,
    Result,
    Run,
    Text,
    Verdict,
)

MARKUP = '</script><!--<script><img src="http://127.0.0.1:9/x" onerror="document.title=\'owned\'">'
CONSOLE = """kf {"t":312,"ev":"boot","reset":"power-on"}
kf {"t":1204,"ev":"wifi.up","ip":"192.0.2.17"}
kf {"t":2481,"ev":"error","code":"x509.wrong-name","detail":"other.test, wanted broker.test"}"""
EVENTS: tuple[dict[str, Any], ...] = (
    {"t": 312, "ev": "boot", "reset": "power-on"},
    {"t": 1204, "ev": "wifi.up", "ip": "192.0.2.17"},
    {"t": 1391, "ev": "clock.set", "source": "ntp", "offset_ms": -12},
    {"t": 2481, "ev": "error", "code": "x509.wrong-name", "detail": "other.test"},
)
DIAGNOSIS: dict[str, Any] = {
    "code": "x509.name-not-in-san", "cause": "The certificate has another name.",
    "confidence": "certain", "advice": "Issue one with the name that boards are given.",
    "evidence": [{"source": "wire", "at": None, "text": "the broker's certificate",
                  "seen": "other.test", "wanted": "broker.test"}],
    "rungs": [{"name": "tcp", "state": "holds", "text": "connected"},
              {"name": "x509", "state": "broken", "text": "x509.wrong-name"},
              {"name": "mqtt", "state": "not seen", "text": ""}],
    "note": "",
}  # fmt: skip
DELAYS = Measure("waits between attempts", "ms", (512, 893, 2140, 3981, 8790, 16420), "jittered")
HEAP = Measure("free heap", "bytes", tuple(7_920 - 13 * (at % 17) for at in range(120)))
PARTS = {
    "boot": ("board says that it boots", "boot is told with its reason", "no file is left behind"),
    "tls": (
        "verified broker is talked to",
        "expired certificate is refused",
        "another name is refused",
        "unknown CA is refused",
    ),
    "mqtt": ("keep alive is kept", "will is published", "retained message arrives"),
    "recovery": ("link that is cut is found", "waits grow", "broker that restarts is found again"),
}


def report(boards: int = 2, run: str = "20261121T231500Z") -> Report:
    """Every case on every board; which ended badly depends on their numbers alone."""
    cases = tuple(
        Case(f"keyfob/{part}::test_{name.replace(' ', '_')}", "keyfob", part, name,
             "mqtt" if part == "recovery" else part if part != "boot" else "firmware",
             f"The device is seen to do so: {name}, within the time that its criterion gives it.")
        for part, names in PARTS.items()
        for name in names
    )  # fmt: skip
    kinds = ("virtual-esp32", "virtual-esp8266")
    tested = tuple(
        Board(f"board-{at + 1}", kinds[at % 2], f"a {kinds[at % 2]} of the suite's own",
              f"/dev/pts/{at}", kinds[at % 2][8:], "0.1.0", "1.28.0")
        for at in range(boards)
    )  # fmt: skip
    results = tuple(
        _result(board, case, at, number)
        for at, board in enumerate(tested)
        for number, case in enumerate(cases)
    )
    started = f"{run[:4]}-{run[4:6]}-{run[6:8]}T{run[9:11]}:{run[11:13]}:{run[13:15]}Z"
    return Report(
        Run(run, started, 61.5, "keyfob hil run keyfob --boards all", ("keyfob",), "failed"),
        {"keyfob": "0.1.0", "mosquitto": "2.0.11", "labgrid": None, "system": "Linux x86_64"},
        tested, cases, results,
    )  # fmt: skip


def with_result(made: Report, at: int, **changes: Any) -> Report:
    """The same report with its result number ``at`` changed."""
    results = list(made.results)
    results[at] = replace(results[at], **changes)
    return replace(made, results=tuple(results))


def all_passed(made: Report) -> Report:
    """The same, as if nothing had been wrong."""
    fine = tuple(
        replace(one, verdict="pass", reason=None, warnings=(), attempts=(), diagnosis=None)
        for one in made.results
    )
    return replace(made, run=replace(made.run, status="passed"), results=fine)


def _result(board: Board, case: Case, at: int, number: int) -> Result:
    seconds = round(0.4 + (at * 7 + number * 3) % 11 * 0.37, 3)
    verdict: Verdict = "pass"
    if (at, number) in ((0, 5), (1, 10)) or (at * 13 + number) % 97 == 40:
        verdict = "fail"
    elif (at * 5 + number) % 31 == 12:
        verdict = "warn"
    elif (at, number) == (1, 2):
        verdict = "error"
    elif number == 8 and at % 2:
        verdict = "skip"
    attempts = (Attempt(verdict, None, seconds),)
    if (at, number) == (0, 3):
        attempts = (Attempt("fail", "nothing came within 5 s", 5.2), *attempts)
    reasons: dict[Verdict, str] = {
        "fail": "x509.wrong-name was told after 2.5 s, wanted within 2 s",
        "error": "the bench's time server did not start: address in use",
        "skip": "an esp8266 has no such setting",
    }
    bad = verdict in ("fail", "error")
    return Result(
        board.name, case.id, verdict, seconds, reasons.get(verdict),
        ("it came only after 2.1 periods",) if verdict == "warn" else (),
        tuple(replace(one, reason=one.reason or reasons.get(verdict)) for one in attempts),
        (Text("board console", CONSOLE), Text("broker log", "New connection from 127.0.0.1:9")),
        EVENTS,
        (DELAYS, HEAP) if case.name == "waits grow" else (),
        DIAGNOSIS if bad else None,
    )  # fmt: skip
