"""Which causes of the catalogue a plain alert can have, by who sent it and what was shown.

The number comes from the catalogue (`catalogue.toml`, field ``alert``); which side sends it
for a cause follows from its field ``broker``: the broker logs the alerts that it receives as
"alert", and what it refuses itself in other words. Certificates and names that were seen on
the wire put the likely one first; the dates are held against this host's clock.
"""

from __future__ import annotations

from typing import Any

from keyfob_host.doctor.catalogue import Cause, load_catalogue
from keyfob_host.doctor.conversation import Alert, Conversation
from keyfob_host.doctor.tls_certificates import is_for

_REFUSED_BY_BROKER = "verify failed"


def causes_of(conversation: Conversation, alert: Alert) -> tuple[str, ...]:
    """Codes of the catalogue, the most likely first; none for an alert that it does not have."""
    found = [
        one.code
        for one in load_catalogue().values()
        if alert.number in one.alert and _may_be_sent_by(one, alert.sender)
    ]
    first = _shown_to_be(conversation, alert)
    found.sort(key=lambda code: code != first)
    # With a name that does not fit, or no certificate at all, nothing is left to guess.
    is_sure = first in ("x509.name-not-in-san", "client-certificate.not-sent")
    return tuple(found[:1] if is_sure and first in found else found)


def fix_of(code: str, conversation: Conversation) -> str:
    """What mends it, with the name that the board asked for where it goes."""
    name = conversation.client_hello.get("server_name", "")
    fix = load_catalogue()[code].fix
    return fix.replace("HOST", name) if name else fix


def _may_be_sent_by(cause: Cause, sender: str) -> bool:
    if cause.place == "tls":
        return True
    is_boards = "alert" in cause.broker
    return is_boards if sender == "board" else not is_boards or _REFUSED_BY_BROKER in cause.broker


def _shown_to_be(conversation: Conversation, alert: Alert) -> str:
    """The cause that what was seen speaks for, "" without one."""
    own = (conversation.sides["board"].chain or [{}])[0]
    served = (conversation.sides["broker"].chain or [{}])[0]
    name = conversation.client_hello.get("server_name", "")
    if alert.sender == "board":
        if alert.number == 42 and name and served and not is_for(served, name):
            return "x509.name-not-in-san"
        if alert.number == 45:
            return "x509.broker-expired" if _is(served, "expired") else "clock.board-ahead"
        return ""
    if alert.number == 40 and conversation.sides["board"].chain != []:
        return "tls.no-shared-cipher"
    if alert.number in (40, 116):
        return "client-certificate.not-sent"
    if alert.number == 45 and own:
        is_expired = _is(own, "expired")
        return "client-certificate.expired" if is_expired else "client-certificate.crl-overdue"
    if alert.number == 48 and own.get("subject") and own["subject"] == own.get("issuer"):
        return "x509.same-subject-twice"
    return {42: "clock.broker-behind", 48: "client-certificate.unknown-ca"}.get(alert.number, "")


def _is(facts: dict[str, Any], state: str) -> bool:
    return facts.get("state") == state
