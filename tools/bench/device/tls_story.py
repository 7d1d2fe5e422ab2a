"""Runs on MicroPython: mutual TLS with a broker, once or twice, and what it took.

    micropython -c "import keyfob.tls_story" PORT FOLDER VERSION PSK_KE HOW COUNT COLLECT

It is put into the package, so that the names it says are replaced as the engine's are.
FOLDER has ca.der, cert.der, key.der and "now"; VERSION is 12 or 13; with PSK_KE 1
the latter is resumed without a key exchange; HOW is "steps" (heap after each step) or
"plain". With COUNT 2 the second handshake resumes the first one's session. Garbage is
collected after each COLLECT bytes, or with -1 when the heap is full.
"""

import gc
import os
import socket
import sys

PORT, FOLDER, VERSION, PSK_KE, HOW, COUNT, COLLECT = sys.argv[-7:]
HOST = "broker.keyfob.test"
CONNECT = b"\x10\x15\0\4MQTT\4\2\0\x3c\0\x09sensor-01"

from keyfob.tls.engine import TLS12, TLS13, Engine  # noqa: E402


def read(name):
    path = FOLDER + "/" + name
    with open(path, "rb") as file:
        return file.read(os.stat(path)[6])  # as the firmware does: without a size, it takes more


class Anchors:
    def __iter__(self):
        yield read("ca.der")


class Client:
    def certificates(self):
        return [read("cert.der")]

    def key(self):
        from keyfob.pki.private_key import load

        return load(read("key.der"))


def drive(engine, sock):
    while not engine.is_open:
        while engine.step():
            if HOW == "steps":
                gc.collect()
                gc.collect()
                print("step", engine._handshake.phase, gc.mem_alloc())
        out = engine.tx()
        if out:
            engine.sent(sock.write(out))
        elif not engine.is_open:
            room = engine.room()
            if room:
                count = sock.readinto(room)
                engine.received(count) if count else engine.ended()


def main(session):
    sock = socket.socket()
    sock.connect(socket.getaddrinfo("127.0.0.1", int(PORT))[0][-1])
    engine = Engine(
        HOST, Anchors(), int(read("now")), client=Client(), session=session,
        versions=(TLS13 if VERSION == "13" else TLS12,), rx_bytes=512, tx_bytes=512,
        has_psk_ke=PSK_KE == "1",
    )  # fmt: skip
    drive(engine, sock)
    gc.collect()
    gc.collect()
    print("open", engine.is_resumed, gc.mem_alloc(), gc.mem_free())
    engine.write(memoryview(CONNECT))
    sock.write(engine.tx())
    engine.sent(len(engine.tx()))
    buffer = bytearray(4)
    while not engine.read(memoryview(buffer)):
        engine.received(sock.readinto(engine.room()))
    engine.close()
    sock.write(engine.tx())
    sock.close()
    return engine.session


gc.threshold(int(COLLECT))
gc.collect()
print("begin", gc.mem_alloc())
kept = None
for _ in range(int(COUNT)):
    kept = main(kept)
print("bench done")
