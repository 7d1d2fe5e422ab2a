"""What a person is told where labgrid is not there: package, coordinator, address."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from keyfob_host.bench.file import bench_coordinator, load_bench
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.hil.labgrid import words
from keyfob_host.hil.labgrid.coordinator import Coordinator, full_address, own_name
from keyfob_host.hil.labgrid.place import coordinator_address, look
from keyfob_host.home import Home

needs_labgrid = pytest.mark.skipif(
    importlib.util.find_spec("labgrid") is None,
    reason="labgrid is not installed (pip install 'keyfob[labgrid]')",
)


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("lab.example.org", "lab.example.org:20408"),
        ("lab.example.org:4711", "lab.example.org:4711"),
        ("192.0.2.7", "192.0.2.7:20408"),
        ("[2001:db8::7]", "[2001:db8::7]:20408"),
        ("[2001:db8::7]:4711", "[2001:db8::7]:4711"),
    ],
)
def test_port_of_the_coordinator_is_labgrids_own_if_none_is_given(given: str, full: str) -> None:
    assert full_address(given) == full


@pytest.mark.parametrize("given", ["lab:port", ":20408", "lab:99999", "lab:-1"])
def test_address_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(KeyfobHostError) as caught:
        full_address(given)
    assert caught.value.code == "labgrid.bad-address"
    assert given in caught.value.evidence


def test_environment_goes_before_the_bench_file_and_that_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bench.toml").write_text(
        '[bench]\ncoordinator = "lab.example.org"\n[board.a]\nkind = "esp32"\nplace = "board-1"\n'
    )
    named = bench_coordinator(Home(tmp_path))
    assert named == "lab.example.org"
    assert load_bench(tmp_path / "bench.toml").boards[0].coordinator == named
    assert bench_coordinator(Home(tmp_path / "elsewhere")) is None
    monkeypatch.delenv("LG_COORDINATOR", raising=False)
    assert coordinator_address(named) == "lab.example.org:20408"
    assert coordinator_address(None) == "127.0.0.1:20408"
    monkeypatch.setenv("LG_COORDINATOR", "other.example.org:1")
    assert coordinator_address(named) == "other.example.org:1"


def test_user_is_called_as_labgrids_own_client_calls_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LG_HOSTNAME", "bench-7")
    monkeypatch.setenv("LG_USERNAME", "alice")
    assert own_name() == "bench-7/alice"


def test_missing_package_is_told_with_the_command_that_brings_it(tmp_path: Path) -> None:
    # A package that cannot be imported, found before any that can.
    (tmp_path / "labgrid.py").write_text("raise ImportError('no labgrid here')\n")
    (tmp_path / "grpc.py").write_text("")
    for command in (["monitor", "--board", "esp32"], ["doctor", "esp32"]):
        done = subprocess.run(
            [sys.executable, "-m", "keyfob_host", *command, "--port", "labgrid://board-1"],
            env={**os.environ, "PYTHONPATH": str(tmp_path), "KEYFOB_HOME": str(tmp_path / "home")},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == ExitStatus.HOST, done.stderr
        assert "error  labgrid.not-installed" in done.stderr
        assert "seen   no labgrid here" in done.stderr
        assert "fix    pip install 'keyfob[labgrid]'" in done.stderr


@needs_labgrid
def test_coordinator_that_does_not_run_is_told_with_how_to_start_it() -> None:
    with pytest.raises(KeyfobHostError) as caught:
        Coordinator("127.0.0.1:1")
    assert caught.value.code == "labgrid.no-coordinator"
    assert "127.0.0.1:1: [Errno 111]" in caught.value.evidence
    assert "labgrid-coordinator -l 127.0.0.1:1" in caught.value.fix
    assert caught.value.status is ExitStatus.NETWORK


@needs_labgrid
def test_server_that_is_no_coordinator_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LG_COORDINATOR", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    connection.close()
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(KeyfobHostError) as caught:
            look("board-1", address)
    assert caught.value.code == "labgrid.no-answer"
    assert f"labgrid-client -x {address} places" in caught.value.fix


@needs_labgrid
def test_labgrid_itself_takes_our_words_for_its_client() -> None:
    """Fixes are pasted: each ``labgrid-client`` in them must be one that parses."""
    errors = [
        words.no_answer("127.0.0.1:1", "x"),
        words.unknown_place("a", ["b"], "127.0.0.1:1"),
        words.held("a", "h/u", "now", "127.0.0.1:1"),
        words.not_acquired("a", "x", "127.0.0.1:1"),
        words.no_resource("a", [], [], "127.0.0.1:1"),
        words.not_available("a", "x", "x", "127.0.0.1:1"),
    ]
    from labgrid.remote.client import get_parser

    for error in errors:
        commands = [
            "labgrid-client" + part.partition("labgrid-client")[2].partition("#")[0]
            for part in error.fix.split(";")
            if "labgrid-client" in part
        ]
        assert commands, error.fix
        for command in commands:
            get_parser().parse_args(command.split()[1:])  # exits where it does not


def test_isolated_exporter_is_told_with_the_tunnel_to_dig() -> None:
    error = words.needs_proxy("a", "shelf/a/NetworkSerialPort", "lab", "rfc2217://10.0.0.9:4000")
    assert error.code == "labgrid.needs-proxy"
    assert "ssh -N -L 2217:10.0.0.9:4000 lab" in error.fix
