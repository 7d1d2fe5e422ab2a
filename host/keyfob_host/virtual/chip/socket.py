"""The socket module: the host's sockets, behind the bench's link to the network.

``getaddrinfo`` gives the address of a relay, so that the link can fail on command
and nothing but the bench is reached without it.
"""

import usocket
from usocket import (  # noqa
    AF_INET,
    AF_INET6,
    SO_BROADCAST,
    SO_KEEPALIVE,
    SO_REUSEADDR,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)

import _wire

IPPROTO_IP = 0
IPPROTO_TCP = 6
IPPROTO_UDP = 17
IP_ADD_MEMBERSHIP = getattr(usocket, "IP_ADD_MEMBERSHIP", 35)  # (older unix ports lack it)
TCP_NODELAY = 1


def getaddrinfo(host, port, af=0, type=0, proto=0, flags=0):
    if isinstance(host, (bytes, bytearray)):
        host = host.decode()
    answer = _wire.call("resolve", host=host, port=int(port), type=type)
    if "error" in answer:
        raise OSError(answer["error"])
    found = usocket.getaddrinfo(answer["host"], answer["port"], AF_INET, type or SOCK_STREAM)
    return [(AF_INET, type or SOCK_STREAM, 0, "", found[0][4])]
