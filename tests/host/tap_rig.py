"""A server behind a tap, and the connections to it."""

from __future__ import annotations

import socket
import threading

from tls_streams import NAME, Pki

from keyfob_host.doctor.tap import Tap, TapConnection

WAIT_S = 20.0
SECRET = b"a password that is nobody's"


class Server:
    """Hands each connection to ``serve`` in a thread."""

    def __init__(self, serve) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self._serve = serve
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        try:
            with client:
                self._serve(client)
        except OSError:
            pass

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def echo(pki: Pki) -> Server:
    """Mutual TLS 1.2; answers with what it got."""

    def serve(client: socket.socket) -> None:
        with pki.server().wrap_socket(client, server_side=True) as stream:
            stream.sendall(stream.recv(1000))
            stream.recv(1)

    return Server(serve)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)


def over(tap: Tap, number: int = 1) -> TapConnection:
    """The connection of that number, once it has ended."""
    assert tap.wait(
        lambda ones: any(one.number == number and not one.alive for one in ones), WAIT_S
    )
    (found,) = [one for one in tap.connections if one.number == number]
    return found


def talk(tap: Tap, pki: Pki, identity: str | None = "device", data: bytes = SECRET) -> bytes:
    context = pki.client(identity=identity)
    with (
        connect(tap.port) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as stream,
    ):
        stream.sendall(data)
        return stream.recv(1000)
