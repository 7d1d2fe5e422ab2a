"""Users' own programs for a virtual board, in plain MicroPython, and a stand-in for a cloud.

The programs are what is found in forums: a socket, `ssl`, an MQTT CONNECT. None of them uses
anything of Keyfob's.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from pathlib import Path

# The two lines that all have; then what each does with the socket.
_CONNECTED = """\
import network, socket, ssl, time
w = network.WLAN(0)
w.active(True)
w.connect("keyfob-bench", "keyfob-bench-password")
while not w.isconnected():
    time.sleep_ms(20)
a = socket.getaddrinfo("broker.keyfob.test", {port})[0][-1]
s = socket.socket()
s.connect(a)
"""
_VERIFIED = """\
c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
c.verify_mode = ssl.CERT_REQUIRED
with open("/{slot}/ca.der", "rb") as f:
    c.load_verify_locations(cadata=f.read())
"""
_CONNECT = r"""
s.write(b"\x10\x15\x00\x04MQTT\x04\x02\x00\x3c\x00\x09sensor-01")
print(s.read(4))
"""
_PAIR = """\
with open("/key.der", "rb") as f:
    key = f.read()
with open("/cert.der", "rb") as f:
    cert = f.read()
"""

WITHOUT_NAME = _CONNECTED + _VERIFIED + "s = c.wrap_socket(s)\n" + _CONNECT
WITHOUT_CLOCK = (
    _CONNECTED + _VERIFIED + 's = c.wrap_socket(s, server_hostname="broker.keyfob.test")\n'
    + _CONNECT
)  # fmt: skip
BARE = _CONNECTED + "s = ssl.wrap_socket(s)\n" + _CONNECT
WITHOUT_CERTIFICATE = (
    _CONNECTED + 's = ssl.wrap_socket(s, server_hostname="broker.keyfob.test")\n' + _CONNECT
)
WITH_PAIR = _CONNECTED + _PAIR + "s = ssl.wrap_socket(s, key=key, cert=cert)\n" + _CONNECT
# Connects, publishes, is gone again: what a program that sleeps in between does.
NOBODY_VERIFIED = (
    WITH_PAIR
    + r"""
s.write(b"\x30\x0d\x00\x0bdevices/s/t")
s.write(b"\xe0\x00")
s.close()
print("published")
"""
)
STAYS = (
    WITH_PAIR
    + r"""
print("connected")
while True:
    s.write(b"\x30\x0d\x00\x0bdevices/s/t")
    time.sleep(1)
"""
)


class Cloud:
    """TLS with client certificates as a cloud has it: it closes without a word.

    ``wants_name``: a connection without a server name in its ClientHello is reset, before
    anything else. Who comes further is let in by TLS, and closed upon after its CONNECT, as AWS
    IoT Core does with a certificate that is not active or that no policy lets connect.
    """

    def __init__(self, folder: Path, port: int, name: str) -> None:
        self._name = name.encode()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
        context.load_verify_locations(folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            link.settimeout(5)
            try:
                self._attend(link)
            except OSError:
                link.close()

    def _attend(self, link: socket.socket) -> None:
        if self._name not in link.recv(2048, socket.MSG_PEEK):
            # Zero seconds to linger: a reset instead of an end.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            link.close()
            return
        with self._context.wrap_socket(link, server_side=True) as stream:
            stream.recv(2048)
