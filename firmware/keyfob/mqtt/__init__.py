"""MQTT 3.1.1 and 5.0 without I/O: `packets` is the wire format, `session` the state.

`session5`, `properties`: what only 5.0 needs; imported when ``broker.version`` is 5.

The surface that stands on it:

`keyfob.client`
    ``Client(config, outbox=None)``, ``async with``, ``is_connected()``, ``connected()``,
    ``publish(topic, payload, qos=1, retain=False, store=False, properties=None,
    limit_ms=0)``, ``subscribe(filter, qos=1, handler=None, …) -> Inbox``,
    ``unsubscribe(filter)``, ``messages(filter, …)``. ``payload`` is bytes, or
    ``(length, reader)`` with ``reader.readinto(view)`` (plain or async).

The outbox that a client takes has
    ``put(topic, payload, qos, retain)``: durable when it returns; raises mqtt.outbox-full.
    ``next()``: the oldest message that it has not handed out since ``rewind()``, as
    ``(token, topic, payload, qos, retain, packet_id, is_released)``, or None.
    ``packet_id`` is 0 for one never sent; ``is_released``: its PUBREC came before.
    ``taken(token, packet_id)``: about to be sent with that identifier for the first
    time; durable when it returns at QoS 2.
    ``released(token)``: PUBREC came; durable when it returns. ``done(token)``:
    PUBACK or PUBCOMP came. ``rewind()``: called once, by the client, when it starts.
    Stored messages go out one at a time, in their order.

The stream that a client takes (`keyfob.stream.connect`) has
    ``read_now(view)``: count, or None if nothing is there; ``write_now(view)``: count,
    or None if it would block; both raise `KeyfobError`. ``poll(limit_ms)``: whether it
    is readable, waiting so long at most; ``await readable()``: return when it may be.
    ``session()``: (TLS version, cipher suite); ``close()``.
"""
