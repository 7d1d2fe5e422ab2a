"""The doctor's opinion of the board on the bench, beside a story that failed.

The parts are at hand: the console as far as it was read, the broker's log, the tap before it.
Nothing is done to them. The fix is left out, for the bench is the suite's own and gone when
it ends; what a person mends is the firmware, or the story.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keyfob_host.doctor.after_failure import Opinion, opinion
from keyfob_host.doctor.board_look import look_at_hand
from keyfob_host.doctor.broker_look import look_at_broker, said_something
from keyfob_host.doctor.ladder import Rung
from keyfob_host.doctor.look import look_around
from keyfob_host.doctor.sightings import Sightings
from keyfob_host.home import Home

if TYPE_CHECKING:
    from keyfob_host.hil.bench_board import BenchBoard
    from keyfob_host.hil.bench_broker import BenchBroker

_MARKS = {"holds": "ok", "broken": "BROKEN", "not seen": "-"}


def diagnosis(home: Home, board: BenchBoard, broker: BenchBroker) -> tuple[str, dict[str, object]]:
    """The ladder and what is broken in it, in words and as data; bounded as `opinion` is.

    ``home``: whose ``broker`` folder is the suite's.
    """
    found = opinion(lambda: sightings(home, board, broker))
    text = "\n".join([*_rungs(found), *found.lines(), *_advice(found)])
    return text, {key: value for key, value in found.as_dict().items() if key != "fix"}


def sightings(home: Home, board: BenchBoard, broker: BenchBroker) -> Sightings:
    """All that the bench has of board and broker."""
    heard = board.log.everything().splitlines()
    sight = look_at_hand(board.ref, heard, board.log.last_at)
    told = [
        event.as_dict()
        for connection in list(broker.tap.connections)
        for event in list(connection.events)
        if event.what == "summary"
    ]
    seen = look_around(
        home,
        sight,
        replace(
            look_at_broker(home),
            name=broker.host,
            port=broker.port,
            taps=tuple(one for one in told if said_something(one)),
        ),
    )
    return replace(seen, own=seen.own or board.identity.cert)


def _rungs(found: Opinion) -> list[str]:
    rungs: tuple[Rung, ...] = found.ladder.rungs if found.ladder else ()
    rows = [f"{_MARKS[one.state]:<8}{one.name:<20}{one.text}".rstrip() for one in rungs]
    return [*rows, ""] if rows else []


def _advice(found: Opinion) -> list[str]:
    return [f"mend: {found.diagnosis.cause.advice}"] if found.diagnosis else []
