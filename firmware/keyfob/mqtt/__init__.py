"""MQTT 3.1.1 and 5.0 without I/O: `packets` is the wire format, `session` the state.

`session5`, `properties`: what only 5.0 needs; imported when ``broker.version`` is 5.

The surface that stands on it:

`keyfob.client`
    ``Client(config, outbox=None)``, ``async with``, ``is_connected()``, ``connected()``,
    ``publish(topic, payload, qos=1, retain=False, store=False, properties=None,
    limit_ms=0)``, ``subscribe(filter, qos=1, handler=None, …) -> Inbox``,
    ``unsubscribe(filter)``, ``messages(filter, …)``. ``payload`` is bytes, or
    ``(length, reader)`` with ``reader.readinto(view)`` (plain or async).

The outbox that a client takes (`keyfob.outbox`) has
    ``put(topic, payload, qos, retain)``: durable when it returns; raises mqtt.outbox-full.
    ``next()``: the oldest message, once until ``done`` or ``rewind()``, as ``(token,
    topic, payload, qos, retain, packet_id, was_sent, is_released)``, or None.
    ``packet_id`` is the outbox's own, 0xFF00 and above, where a session takes none: so
    it needs no second write, is the same after a power cut, and meets nothing that the
    broker remembers of messages that were not stored. ``was_sent``: it may have been
    (DUP); ``is_released``: its PUBREC came before, so PUBREL is what is to be sent.
    ``released(token)``: PUBREC came; durable when it returns. ``done(token)``:
    PUBACK or PUBCOMP came. ``rewind()``: called once, by the client, when it starts.
    Stored messages go out one at a time, in their order.

The stream that a client takes (`keyfob.stream.connect`) has
    ``read_now(view)``: count, or None if nothing is there; ``write_now(view)``: count,
    or None if it would block; both raise `KeyfobError`. ``poll(limit_ms)``: whether it
    is readable, waiting so long at most; ``await readable()``: return when it may be.
    ``session()``: (TLS version, cipher suite); ``close()``.
"""
