"""What a subscription can have beside filter and QoS; imported when one has any of it."""

import asyncio


def configure(
    inbox,
    handler=None,
    stream: bool = False,
    no_local: bool = False,
    retain_as_published: bool = False,
    retain_handling: int = 0,
    identifier: int = 0,
    properties=None,
) -> None:
    """See `keyfob.client.Client.messages`; ``retain_handling`` and the options beside it
    are those of MQTT 5.0 section 3.8.3.1, and mean nothing to a 3.1.1 broker."""
    inbox.options |= no_local << 2 | retain_as_published << 3 | retain_handling << 4
    inbox.takes_streams = stream
    if identifier:
        inbox.identifier = identifier
        properties = dict(properties or {})
        properties["subscription_identifier"] = [identifier]
    if properties:
        inbox.properties = properties
    if handler:
        inbox.task = asyncio.create_task(inbox.run(handler))
