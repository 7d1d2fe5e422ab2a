"""The messages that a `keyfob.blocking.BlockingClient` receives, and the room for them.

It is here while a connection stands: a handshake wants the room.
"""

from keyfob.errors import KeyfobError
from keyfob.events import emit_error


class Message:
    """A received message: ``topic``, ``payload`` (bytes), ``qos``, ``retain``.

    ``properties``: a dict of what an MQTT 5.0 broker sent with it, or None.
    """

    def __init__(self, state) -> None:
        self.topic = state.topic
        self.payload = state.payload
        self.qos = state.qos
        self.retain = state.retain
        self.properties = state.properties
        self.receipt = state.receipt


def take(client) -> None:
    """The PUBLISH that the session of ``client`` has read: kept in ``client.messages``, left
    for the broker to send again, or told and skipped."""
    state, receipt = client.session, client.session.receipt
    is_taken = False
    for message in client.messages:
        is_taken = is_taken or state.topic == client.single == message.topic
    is_full = _is_full(client, state.size)
    if is_full and receipt and not is_taken:
        _make_room(client)
        is_full = _is_full(client, state.size)
    if receipt and (client.deferred or is_full) and not is_taken:
        # And all behind it, so that they keep their order (section 4.6).
        client.deferred += 1
        client.kept.forget(receipt)
        return
    if not (state.left or is_full or is_taken):
        client.messages.append(Message(state))
        return
    if not is_taken:
        from keyfob.mqtt.violations import skipped

        emit_error(skipped(state, is_full))
    if receipt:
        client.kept.handled(receipt)


def _is_full(client, size: int) -> bool:
    """Whether there is no room for a message of so many bytes."""
    for message in client.messages:
        size += len(message.payload)
    count, limits = len(client.messages), client.config["limits"]
    return count > 0 and (count >= limits["inbox"] or size > limits["rx_bytes"])


def _make_room(client) -> None:
    """Messages of QoS 0 give way, as no connection has to end for them."""
    waiting, client.messages = client.messages, []
    for message in waiting:
        if message.qos:
            client.messages.append(message)
            continue
        detail = "%d bytes of %s" % (len(message.payload), message.topic)
        emit_error(KeyfobError("mqtt.inbox-full", detail))


def put_back(client) -> None:
    """The connection is over. What the program was not done with, which its next `receive`
    would acknowledge, or has not got, the broker sends again."""
    receipt, client.receipt = client.receipt, None
    if receipt:
        client.kept.forget(receipt)
    waiting, client.messages = client.messages, []
    for message in waiting:
        if message.receipt:
            client.kept.forget(message.receipt)
        else:
            client.messages.append(message)
