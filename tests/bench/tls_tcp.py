"""An engine in this process over TCP, and the servers of others to talk to."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import Pair
from tls_rig import CA, Engine, KeyfobError, make_engine

from keyfob_host.listeners import free_port

_LIMIT_S = 20.0


class Connection:
    """One connection of ``engine``, driven by its three calls."""

    def __init__(self, engine: Engine, port: int) -> None:
        self.engine = engine
        self.got = b""
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.settimeout(_LIMIT_S)

    def until(self, is_done: Callable[[], bool]) -> None:
        """Carry bytes until it is so; a failure if it takes too long."""
        engine, buffer = self.engine, bytearray(512)
        end = time.monotonic() + _LIMIT_S
        while True:
            while engine.step():
                pass
            if len(engine.tx()):
                engine.sent(self._sock.send(engine.tx()))
                continue
            if engine.is_open:
                count = engine.read(memoryview(buffer))
                self.got += buffer[:count]
                if count:
                    continue
            if is_done():
                return
            assert time.monotonic() < end, f"waited in vain; got {self.got!r}"
            room = engine.room()
            if len(room) and select.select([self._sock], [], [], 0.05)[0]:
                count = self._sock.recv_into(room)
                engine.received(count) if count else engine.ended()

    def open(self) -> None:
        self.until(lambda: self.engine.is_open)

    def write(self, content: bytes) -> None:
        while content:
            self.until(lambda: not len(self.engine.tx()))
            content = content[self.engine.write(memoryview(content)) :]
        self.until(lambda: not len(self.engine.tx()))

    def expect(self, content: bytes) -> None:
        self.until(lambda: content in self.got)
        self.got = b""

    def close(self) -> None:
        if not self.engine.error:
            self.engine.close()
        with self._sock, contextlib.suppress(OSError):
            self._sock.sendall(self.engine.tx())
            self._sock.shutdown(socket.SHUT_WR)
            while self._sock.recv(1000):  # unread bytes would make a reset of the end
                pass


def write_pair(folder: Path, pair: Pair) -> tuple[Path, Path]:
    """(certificate file, key file) in PEM, and the CA beside them as ca.pem."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(pair.chain_pem())
    key.write_bytes(pair.key_pem())
    (folder / "ca.pem").write_bytes(CA.chain_pem())
    return certificate, key


class SServer:
    """``openssl s_server`` on ``port``; its console is ``said`` and `say`."""

    def __init__(self, folder: Path, pair: Pair, *arguments: str) -> None:
        certificate, key = write_pair(folder, pair)
        self.port = free_port()
        self._log = folder / "s_server.log"
        # -naccept would end it; it is killed instead.
        command = ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}"]
        command += ["-cert", str(certificate), "-cert_chain", str(certificate), "-key", str(key)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *arguments], stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        self.wait_for("ACCEPT")

    @property
    def said(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + _LIMIT_S
        while text not in self.said:
            assert time.monotonic() < end and self._process.poll() is None, self.said
            time.sleep(0.02)

    def say(self, line: str) -> None:
        """A line typed in: sent, or a command of s_server's if it is one."""
        assert self._process.stdin
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin
        self._process.stdin.close()


@contextmanager
def s_server(folder: Path, pair: Pair, *arguments: str) -> Iterator[SServer]:
    server = SServer(folder, pair, *arguments)
    try:
        yield server
    except BaseException:
        print(server.said)  # with a test that failed, pytest shows the other end's story too
        raise
    finally:
        server.stop()


def talk(connection: Connection, server: SServer, lines: int = 90) -> None:
    """Data both ways."""
    connection.write(b"from the board\n" * lines)
    server.wait_for("from the board")
    server.say("from the server " * lines)
    connection.expect(b"from the server " * lines)


def opened(server: SServer, **options: object) -> Engine:
    """An engine whose connection opened, carried data both ways, and was closed."""
    connection = Connection(make_engine(**options), server.port)
    connection.open()
    talk(connection, server)
    connection.close()
    return connection.engine


def full_and_resumed(server: SServer, **options: object) -> None:
    """A full handshake, and one that takes its session up."""
    full = opened(server, **options)
    resumed = opened(server, **options, session=full.session)
    assert (full.is_resumed, resumed.is_resumed) == (False, True)


def refused(server: SServer, **options: object) -> KeyfobError:
    """The error of a handshake that must fail."""
    connection = Connection(make_engine(**options), server.port)
    with pytest.raises(KeyfobError) as caught:
        connection.open()
    connection.close()
    return caught.value


@contextmanager
def python_server(
    folder: Path, pair: Pair, client_ca: Pair | None, version: ssl.TLSVersion, options: int = 0
) -> Iterator[tuple[int, list]]:
    """Python's `ssl`, of one version alone, with OpenSSL's ``options`` on top; echoes on every
    connection. (Port, version, cipher suite and whether it was resumed of each connection; or
    the error it ended with.)"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= options
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(*write_pair(folder, pair))
    context.set_alpn_protocols(["mqtt"])
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_ca.der)
    seen: list = []

    def serve() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(raw, server_side=True) as sock:
                    seen.append((sock.version(), sock.cipher()[0], sock.session_reused))
                    while part := sock.recv(1000):
                        sock.sendall(part)
                        if part.endswith(b"close"):
                            sock.unwrap()
                            break
            except OSError as error:
                seen.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], seen
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
