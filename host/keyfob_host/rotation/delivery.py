"""An offer on its way to one board: which message is next, and what came of it.

Without any network: states of the board in, messages out, so that one connection can
serve many boards. A board tells its state after each chunk, and whenever it connects; that
is what an interrupted delivery goes on by. Not decided here: how long to wait.
"""

from __future__ import annotations

import hashlib

from keyfob_host.device_errors import load_device_errors
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.rotation.offer import Offer
from keyfob_host.rotation.state import BoardState

# Answers to a message that came at the wrong moment: the next one may do better.
_PASSING = frozenset({"rotate.no-offer", "rotate.busy", "rotate.no-memory"})
_MOST_OFFERS = 8
_OFFER_AGAIN_S = 20.0  # states that are told meanwhile may be of before


class Delivery:
    """``is_committed``: the board connected with it. ``last``: the message sent last."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.is_committed = False
        self.last: bytes | None = None
        self.sent_bytes = 0  # of the files, as the board tells it
        self._offers = 0
        self._offered_s = 0.0

    @property
    def total_bytes(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.offer.files.values()))

    def next(self, state: BoardState, now_s: float) -> bytes | None:
        """The message to be sent now; None: wait, or `is_committed`. ``now_s``: of any clock
        that only goes forward.

        Errors: ``rotate.refused``, ``rotate.rolled-back``, ``rotate.board-damaged``,
        ``rotate.offer-too-large``, ``rotate.not-taken``.
        """
        offer = self.offer
        if state.damaged:
            raise self._damaged(state)
        if state.created_s == offer.created_s and self._shows_certificate(state):
            self.is_committed = True
            return None
        if state.outcome_s == offer.created_s and state.code not in _PASSING:
            raise self._failed(state)
        if state.todo == "finish":
            self.sent_bytes = self.total_bytes
            return None
        if state.offer_s == offer.created_s:
            self.sent_bytes = sum(state.had.values())
            for name, content in offer.files.items():
                had = state.had.get(name, 0)
                if had < len(content):
                    return self._send(offer.chunk(name, had, state.chunk))
        if len(offer.payload) > state.message:
            raise self._too_large(state)
        if self._offers and now_s - self._offered_s < _OFFER_AGAIN_S:
            return None
        self._offered_s = now_s
        self._offers += 1
        if self._offers > _MOST_OFFERS:
            raise KeyfobHostError(
                "rotate.not-taken",
                "the board answers, but does not take the offer",
                evidence=f"{offer.device_id}: offered {_MOST_OFFERS} times; it says: "
                f"{state.code or 'nothing'} {state.detail}".strip(),
                fix=f"keyfob monitor, then: keyfob rotate {offer.device_id}",
                status=ExitStatus.BOARD,
            )
        return self._send(offer.payload)

    def _send(self, payload: bytes) -> bytes:
        self.last = payload
        return payload

    def _shows_certificate(self, state: BoardState) -> bool:
        content = self.offer.files.get("cert.der")
        return content is None or state.cert == hashlib.sha256(content).hexdigest()[:16]

    def _failed(self, state: BoardState) -> KeyfobHostError:
        device_id = self.offer.device_id
        known = load_device_errors().get(state.code)
        fix = known.fix.replace(" ID", f" {device_id}") if known is not None else "keyfob monitor"
        if state.code == "store.key-mismatch":
            fix = f"keyfob provision --identity {device_id}  # a new key goes over the serial port"
        why = f"{state.code}: {state.detail}" if state.detail else state.code
        if known is not None:
            why += f"\n{known.cause}"
        rolled_back = state.outcome == "rolled-back"
        return KeyfobHostError(
            "rotate.rolled-back" if rolled_back else "rotate.refused",
            "the board tried the new identity, could not connect with it, and has its old one again"
            if rolled_back
            else "the board refuses the offer, and keeps its identity",
            evidence=f"{device_id}: {why}",
            fix=fix,
            status=ExitStatus.IDENTITY,
        )

    def _damaged(self, state: BoardState) -> KeyfobHostError:
        device_id = self.offer.device_id
        return KeyfobHostError(
            "rotate.board-damaged",
            "the board's active identity is damaged; it takes a new one over the serial port only",
            evidence=f"{device_id}: {state.damaged}",
            fix=f"keyfob provision --identity {device_id}",
            status=ExitStatus.BOARD,
        )

    def _too_large(self, state: BoardState) -> KeyfobHostError:
        return KeyfobHostError(
            "rotate.offer-too-large",
            "the offer is larger than a message that the board takes",
            evidence=f"{len(self.offer.payload)} bytes for {len(self.offer.files)} files, "
            f"the board takes {state.message}",
            fix="send trust anchors and certificate one after the other, or fewer anchors",
            status=ExitStatus.INPUT,
        )
