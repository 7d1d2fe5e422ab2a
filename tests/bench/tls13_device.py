"""Runs on MicroPython: connections to a port of this machine, all but the first resumed.

    micropython tls13_device.py PORT HOST FOLDER CONNECTIONS [client]

FOLDER has ca.der, now (Unix seconds), and with "client" cert.der and key.der. On each
connection it sends 2,000 bytes and reads until they are back. A line of JSON for each.
"""

import gc
import json
import socket
import sys

from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS13, Engine

CONTENT = b"there and back again" * 100


def read(name):
    with open(FOLDER + "/" + name, "rb") as file:  # noqa: PTH123 - MicroPython
        return file.read()


class Client:
    def certificates(self):
        return [read("cert.der")]

    def key(self):
        from keyfob.pki import private_key

        return private_key.load(read("key.der"))


class Anchors:
    """Read when they are asked for."""

    def __iter__(self):
        yield read("ca.der")


def drive(engine, sock, is_done):
    while not is_done():
        if engine.step():
            continue
        out = engine.tx()
        if len(out):
            engine.sent(sock.write(out))
            continue
        room = engine.room()
        if len(room):
            count = sock.readinto(room)
            if count:
                engine.received(count)
            else:
                engine.ended()


def connect(session):
    sock = socket.socket()
    sock.connect(socket.getaddrinfo("127.0.0.1", PORT)[0][-1])
    client = Client() if "client" in sys.argv else None
    now_s = int(read("now").decode())
    engine = Engine(HOST, Anchors(), now_s, client=client, session=session, versions=(TLS13,))
    drive(engine, sock, lambda: engine.is_open)
    gc.collect()
    free = gc.mem_free()
    written = came = 0
    buffer = bytearray(100)
    while came < len(CONTENT):
        drive(engine, sock, lambda: not len(engine.tx()))
        if written < len(CONTENT):
            written += engine.write(memoryview(CONTENT)[written : written + 400])
            continue
        count = engine.read(memoryview(buffer))
        if buffer[:count] != CONTENT[came : came + count]:
            raise ValueError(came)
        came += count
        room = engine.room()
        if not count and len(room):
            engine.received(sock.readinto(room))
    engine.close()
    sock.write(engine.tx())
    sock.close()
    print(json.dumps({"resumed": engine.is_resumed, "free": free}))
    return engine.session


PORT, HOST, FOLDER = int(sys.argv[1]), sys.argv[2], sys.argv[3]
session = None
try:
    for _ in range(int(sys.argv[4])):
        session = connect(session)
except KeyfobError as error:
    print(json.dumps({"code": error.code, "detail": error.detail}))
