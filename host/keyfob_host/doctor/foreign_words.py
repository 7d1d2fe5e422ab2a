"""What another program's words in an error's evidence mean, as `explain` knows them.

One place for all commands: an error is raised with the words as they came (esptool's,
mosquitto's, OpenSSL's, a traceback or a code of the board's), and gets their meaning where it
is shown. Which errors carry such words is told here; those whose cause is found by the words
already (`flash.failures`, `transport.failures`) are left as they are. Nothing is proved: the
error's own fix stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keyfob_host.errors import KeyfobHostError, Remark

if TYPE_CHECKING:
    from keyfob_host.doctor.explain import Explanation

_SHOWN = 3
# Of a tool that talked to a board, or of the board's ROM: the catalogue's causes apply.
FROM_A_BOARD = frozenset((
    "board.no-prompt", "board.not-running", "console.no-event", "console.no-line",
    "flash.esptool-failed", "flash.stuck",
))  # fmt: skip
# Of a program or an engine on the board, whose cause is in what was sent to it.
FROM_ITS_PROGRAM = frozenset((
    "board.exec-failed", "provision.settings-refused", "rotate.board-damaged", "rotate.not-taken",
))  # fmt: skip
# Of the broker, or of a session with it in which this host is what a board is elsewhere.
FROM_THE_BROKER = frozenset((
    "broker.died", "broker.no-answer", "broker.not-reloaded", "broker.not-trusted",
    "broker.refused", "broker.refuses-host", "broker.unreachable",
))  # fmt: skip
CODES = FROM_A_BOARD | FROM_ITS_PROGRAM | FROM_THE_BROKER


def with_meaning(error: KeyfobHostError) -> KeyfobHostError:
    """``error`` with a remark on what its evidence means, where that is known; never raises."""
    if error.remarks or error.code not in CODES:
        return error
    from keyfob_host.doctor.explain import explain

    try:
        explanation = explain(error.evidence)
    except Exception:  # not known, or a defect of the doctor: the error stands as it is
        return error
    lines = _words(explanation, "this host" if error.code in FROM_THE_BROKER else "the board")
    if error.code in FROM_A_BOARD and explanation.causes:
        cause = explanation.causes[0]
        lines.append(f"likely {cause.code}: {cause.cause}")
    error.remarks.append(Remark("means", tuple(lines), "explanation", explanation.as_dict()))
    return error


def _words(explanation: Explanation, client: str) -> list[str]:
    """Each meaning once: a number and its name beside it say the same."""
    rows: dict[str, str] = {}
    for finding in explanation.findings:
        reading = finding.readings[0]
        words = reading.words.replace("the board", client)
        rows.setdefault(words, f"{reading.name}: {words}")
    return list(rows.values())[:_SHOWN]
