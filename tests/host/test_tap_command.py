"""``keyfob tap``, and the tap that ``keyfob broker up`` starts before the broker."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from keyfob_rig import KeyfobProcesses
from tap_rig import Server, connect, echo
from tls_streams import NAME, Pki

has_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin") is None,
    reason="mosquitto is not installed",
)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def tls_server(pki: Pki) -> Iterator[Server]:
    with echo(pki) as server:
        yield server


@pytest.fixture
def keyfob(tmp_path: Path) -> Iterator[KeyfobProcesses]:
    made = KeyfobProcesses(tmp_path / "home")
    yield made
    if (made.home / "broker").is_dir():
        made.run("broker", "down")


def port_of(process: subprocess.Popen[str]) -> int:
    """Where a `keyfob tap --listen 0` listens, as it says."""
    assert process.stderr
    line = process.stderr.readline()
    return int(line.split(":")[1].split(",")[0])


def test_the_command_prints_a_line_a_fact_and_ends_with_ctrl_c(
    keyfob: KeyfobProcesses, tls_server: Server, pki: Pki
) -> None:
    process = keyfob.start("tap", "--listen", "0", "--to", f"127.0.0.1:{tls_server.address[1]}")
    with process:
        port = port_of(process)
        with (
            connect(port) as plain,
            pki.client().wrap_socket(plain, server_hostname=NAME) as stream,
        ):
            stream.sendall(b"x")
            stream.recv(1)
        assert process.stdout
        lines = []
        while not lines or "carried data both ways" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert any(f"server name {NAME}" in line and " board " in line for line in lines)
    assert all(line[8] == "." and "#1" in line for line in lines)


def test_json_is_one_event_a_line_and_once_ends_by_itself(
    keyfob: KeyfobProcesses, tls_server: Server, pki: Pki, tmp_path: Path
) -> None:
    # With --json nothing is said but events, so the port must be one that is known.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    save = tmp_path / "e.jsonl"
    process = keyfob.start(
        "tap", "--json", "--once", "--listen", str(port), "--save", str(save),
        "--to", f"127.0.0.1:{tls_server.address[1]}",
    )  # fmt: skip
    with process:
        while True:
            try:
                plain = connect(port)
                break
            except ConnectionRefusedError:
                assert process.poll() is None
        with plain, pki.client().wrap_socket(plain, server_hostname=NAME) as stream:
            stream.sendall(b"x")
            stream.recv(1)
        out, _ = process.communicate(timeout=20)
    events = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0
    assert [json.loads(line) for line in save.read_text().splitlines()] == events
    assert events[0]["what"] == "opened" and events[-1]["is_well"]
    hello = next(one for one in events if one["what"] == "client-hello")
    assert (hello["from"], hello["connection"], hello["server_name"]) == ("board", 1, NAME)


def test_wrong_inputs_are_told_with_what_mends_them(keyfob: KeyfobProcesses) -> None:
    assert keyfob.error("tap")["code"] == "tap.no-target"
    assert keyfob.error("tap", "--to", "no.such.name.invalid")["code"] == "tap.unknown-host"
    assert keyfob.error("tap", "--listen", "9", "--to", "127.0.0.1:9")["code"] == "tap.loop"
    bad = keyfob.error("tap", "--listen", "0", "--bind", "192.0.2.1", "--to", "127.0.0.1:9")
    assert bad["code"] == "tap.bad-address"
    assert keyfob.run("tap", "--to", "broker:99999").returncode == 2
    missing = keyfob.error("tap", "--to", "127.0.0.1:9", "--save", "/nowhere/e.jsonl")
    assert missing["code"] == "file.missing"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = keyfob.error("tap", "--listen", str(port), "--to", "127.0.0.1:9")
    assert error["code"] == "tap.port-taken" and str(os.getpid()) in error["evidence"]


# -- before the bench's broker


@has_mosquitto
@pytest.mark.mosquitto
def test_broker_up_with_a_tap_keeps_the_port_and_down_ends_both(keyfob: KeyfobProcesses) -> None:
    keyfob.run("ca", "init", "--no-passphrase")
    keyfob.run("cert", "broker", NAME, "--san", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ("--port", str(port))
    up = keyfob.json("broker", "up", "--tap", *options)
    assert up["port"] == port and up["tap"]["broker_port"] != port and up["accepting"]
    host = keyfob.home / "certs" / "device" / "keyfob-host"
    context = ssl.create_default_context(cafile=str(keyfob.home / "ca" / "ca.cert.pem"))
    context.load_cert_chain(host / "chain.pem", host / "key.pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect(port) as plain, context.wrap_socket(plain, server_hostname=NAME) as stream:
        stream.sendall(b"\xc0\0")  # PINGREQ before CONNECT: mosquitto ends it
        with contextlib.suppress(OSError):
            stream.recv(1)
    lines = (keyfob.home / "broker" / "tap.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    chain = next(one for one in events if (one["from"], one["what"]) == ("board", "certificate"))
    assert chain["certificates"][0]["subject"] == "CN=keyfob-host"

    assert not keyfob.json("broker", "up", "--tap", *options)["started"]
    other = keyfob.error("broker", "up", *options)
    assert other["code"] == "broker.already-up" and "with a tap; asked" in other["evidence"]
    os.kill(up["tap"]["pid"], signal.SIGKILL)
    while (status := keyfob.json("broker", "status"))["tap"]["pid"]:
        pass
    assert not status["accepting"] and "--tap --port" in status["trouble"]
    again = keyfob.json("broker", "up", "--tap", *options)
    assert again["accepting"] and again["tap"]["pid"] not in (None, up["tap"]["pid"])
    assert keyfob.json("broker", "down")["pid"] == up["pid"]
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    assert keyfob.json("broker", "up", *options)["tap"] is None


@has_mosquitto
@pytest.mark.mosquitto
def test_a_taken_port_leaves_neither_tap_nor_broker(keyfob: KeyfobProcesses) -> None:
    keyfob.run("ca", "init", "--no-passphrase")
    keyfob.run("cert", "broker", NAME, "--san", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = keyfob.error("broker", "up", "--tap", "--port", str(port))
    assert error["code"] == "tap.port-taken"
    assert error["fix"] == f"keyfob broker up --tap --port {port + 1}"
    assert keyfob.error("broker", "status")["code"] == "broker.down"
