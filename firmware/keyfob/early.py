"""Messages that come before their inbox: held for a while, then acknowledged and told.

Of QoS 1 and 2, in a session that the broker had kept. ``client._hold_ticks`` says how long
they are held still, in ticks of `keyfob.keeping`, or that it was told already; ``client._early``
has them, until an inbox takes them over (`keyfob.inbox.Inbox.offer`) or `let_go`.

Imported when one is met, and dropped when nothing is held.
"""

from micropython import const

from keyfob.errors import KeyfobError
from keyfob.events import emit_error
from keyfob.inbox import Inbox, Message

_TOLD = const(-1)


def hold(client, message: Message) -> None:
    """No inbox wants it yet, or any more."""
    if client.session_present and client._hold_ticks > 0:
        if not client._early:
            client._early = Inbox(client, "", 0, client.config["limits"]["inbox"])
        client._early.put(message)
    elif client._hold_ticks != _TOLD:
        client._hold_ticks = _TOLD
        emit_error(KeyfobError("mqtt.unexpected", "no inbox wants " + message.topic))


def let_go(client) -> None:
    """Acknowledge those that no inbox wanted: what is behind them waits for that."""
    early, client._early = client._early, None
    client._hold_ticks = 0
    if not client.unwanted:
        for message in early._messages:
            hold(client, message)  # tells it
    early.close()
