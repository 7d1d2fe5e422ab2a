"""MQTT 3.1.1 and 5.0 without I/O: `state` is what survives connections, `session` the
engine of one, `publish` the wire format of what it carries all the time.

Imported when they are needed: `connect`, `connack`, `subscribe`, `acks` (QoS 2), `violations` and
`reasons` (what is wrong, by name), `text` (beyond ASCII), `session5`, `properties` and `granted`
(what only 5.0 needs).

The surface that stands on it:

`keyfob.client`
    ``Client(config, outbox=None)``, ``async with``, ``is_connected()``, ``connected()``,
    ``publish(topic, payload, qos=1, retain=False, store=False, properties=None,
    limit_ms=0)``, ``messages(filter, qos=1, **how) -> Inbox`` for ``async for``,
    ``subscribe`` (the same, to be awaited), ``unsubscribe(filter)``. ``payload`` is
    bytes, or ``(length, reader)`` with ``reader.readinto(view)`` (plain or async).
`keyfob.blocking`
    The same without asyncio: ``connect``, ``publish``, ``subscribe``, ``receive``, ….
`keyfob.outbox`
    What ``publish(…, store=True)`` keeps; `keyfob.stored` empties it through the client.

The stream that a client takes (`keyfob.stream.connect`) has
    ``read_now(view)``: count, or None if nothing is there; ``write_now(view)``: count,
    or None if it would block; both raise `KeyfobError`. ``poll(limit_ms)``: whether it
    is readable, waiting so long at most; ``await readable()``: return when it may be.
    ``facts()``: TLS version, cipher suite; ``close()``.
"""
