"""mosquitto as the bench runs it: comes up, stays apart, says why when it does not."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from judges import needs_mosquitto

from keyfob_host import broker as broker_module
from keyfob_host import broker_failures, daemon
from keyfob_host.broker import MosquittoBroker
from keyfob_host.errors import KeyfobHostError
from keyfob_host.listeners import free_port
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.template import Signer, build_end_entity

pytestmark = needs_mosquitto


class Bench:
    """A CA, a broker's identity and the host's, and a broker that may run on them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.authority = Authority.create(root / "ca")
        self.ca = root / "ca" / "ca.cert.pem"
        self.identity = self.authority.issue_broker("broker.keyfob.test").write(root / "broker-id")
        self.host = self.authority.issue_host().write(root / "host-id")
        self.broker = self.made()

    def made(self, port: int = 0, **options: object) -> MosquittoBroker:
        settings: dict[str, object] = {"identity_dir": self.identity, "ca_pem_path": self.ca}
        settings |= {"host_identity_dir": self.host, "port": port, **options}
        return MosquittoBroker(self.root / "run", **settings)  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.broker.stop()
    leftover = MosquittoBroker.attach(tmp_path / "run")
    if leftover is not None:
        leftover.stop()
        pytest.fail("the test left a broker running")


def failure(broker: MosquittoBroker) -> KeyfobHostError:
    """Why ``broker`` does not start; also proves that nothing is left running."""
    with pytest.raises(KeyfobHostError) as refused:
        broker.start()
    assert broker.pid is None
    assert MosquittoBroker.attach(broker.folder) is None
    assert refused.value.fix
    return refused.value


def gone(pid: int) -> bool:
    return daemon.birth(pid) == ""


def test_a_start_ends_when_the_host_was_really_let_in(bench: Bench) -> None:
    with bench.broker as broker:
        assert broker.port > 0
        assert "Sending CONNACK to keyfob-probe (0, 0)" in broker.log()
        pid = broker.pid
        assert pid is not None and not gone(pid)
    assert gone(pid)
    broker.stop()


def test_without_a_host_identity_it_waits_for_the_demand_for_one(bench: Bench) -> None:
    with bench.made(host_identity_dir=None) as broker:
        deadline = time.monotonic() + 5  # it writes its log after the alert is out
        while "peer did not return" not in broker.log() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "peer did not return a certificate" in broker.log()


@pytest.mark.parametrize("key_type", ["p256", "rsa2048"])
def test_it_serves_certificates_that_boards_must_refuse(bench: Bench, key_type: str) -> None:
    now = datetime.now(timezone.utc)
    expired = bench.authority.issue_broker(
        "wrong.test", key_type=key_type, eku=["clientAuth"],
        not_before=now - timedelta(days=9), not_after=now - timedelta(days=1),
    )  # fmt: skip
    with bench.made(identity_dir=expired.write(bench.root / "expired")) as broker:
        assert broker.pid is not None


def test_log_lines_have_utc_times_that_sort(bench: Bench) -> None:
    with bench.broker as broker:
        stamps = [line.split(": ", 1)[0] for line in broker.log().splitlines()]
    times = [datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S%z") for stamp in stamps]
    assert times == sorted(times)
    assert abs(times[-1] - datetime.now(timezone.utc)) < timedelta(seconds=30)


def test_a_restart_keeps_port_and_log_and_rereads_the_ca(bench: Bench) -> None:
    with bench.broker as broker:
        port = broker.port
        broker.restart()
        assert broker.port == port
        assert broker.log().count(" starting\n") == 2
        other = Authority.ephemeral()
        other.issue_host().write(bench.host, force=True)
        bench.ca.write_bytes(other.cert_pem())
        broker.restart()
        assert broker.pid is not None


def test_a_reload_serves_the_new_certificate(bench: Bench) -> None:
    with bench.broker as broker:
        pid = broker.pid
        bench.authority.issue_broker("broker.keyfob.test").write(bench.identity, force=True)
        broker.reload()
        assert broker.pid == pid  # the probe inside saw the new certificate


@pytest.mark.parametrize("key_types", [("p256", "rsa2048"), ("rsa2048", "p256")])
def test_a_reload_serves_a_key_of_another_type(bench: Bench, key_types: tuple[str, str]) -> None:
    """OpenSSL holds a key of each type and prefers one of them: it must hold the new one only."""
    for key_type in key_types:
        made = bench.authority.issue_broker("broker.keyfob.test", key_type=key_type)
        made.write(bench.identity, force=True)
        bench.broker.reload()  # the first one starts it
        port = bench.broker.port
        found = MosquittoBroker.attach(bench.broker.folder)
        assert found is not None
        found.reload()  # the same key again, and nothing to restart for
        assert (found.pid, found.port) == (bench.broker.pid, port)
    assert bench.broker.log().count(" starting\n") == 2


def test_another_process_finds_it_and_ends_it(bench: Bench) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from keyfob_host.broker import MosquittoBroker\n"
        "b = MosquittoBroker(Path(sys.argv[1]), identity_dir=Path(sys.argv[2]),"
        " ca_pem_path=Path(sys.argv[3]))\n"
        "b.start(); print(b.pid)\n"
    )
    paths = [bench.root / "run", bench.identity, bench.ca]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True
    )
    pid = int(done.stdout)
    found = MosquittoBroker.attach(bench.root / "run")
    assert found is not None and found.pid == pid and found.port > 0
    assert "mosquitto version" in found.log()
    found.stop()
    assert gone(pid)


def test_a_broker_left_over_by_a_killed_run_is_ended_by_the_next(bench: Bench) -> None:
    first = bench.made().start()
    left = first.pid
    assert left is not None
    with bench.broker as second:
        assert second.pid != left
        assert gone(left)


def test_a_stale_record_names_no_stranger(bench: Bench) -> None:
    record = bench.root / "run" / "mosquitto.json"
    with bench.broker:
        state = json.loads(record.read_text())
    for forged in ({**state, "pid": os.getpid()}, {**state, "pid": 2**22 + 1}, {}, []):
        record.write_text(json.dumps(forged))
        assert MosquittoBroker.attach(bench.root / "run") is None
    record.write_text("{half")
    with bench.made() as broker:  # and this very process was not ended
        assert broker.pid is not None


def test_a_taken_port_is_told_with_its_holder(bench: Bench) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        error = failure(bench.made(port=holder.getsockname()[1]))
    assert error.code == "broker.port-taken"
    assert f"pid {os.getpid()} (" in error.evidence


def test_a_chosen_port_that_was_lost_is_chosen_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        ports = iter([holder.getsockname()[1], free_port()])
        monkeypatch.setattr(broker_module, "free_port", lambda _: next(ports))
        with bench.broker as broker:
            assert broker.port != holder.getsockname()[1]


def test_an_address_of_another_machine_is_told(bench: Bench) -> None:
    error = failure(bench.made(port=free_port(), host="192.0.2.1"))
    assert error.code == "broker.bad-address"


def test_certificate_and_key_that_do_not_fit_are_told_before_a_start(bench: Bench) -> None:
    shutil.copy(bench.host / "key.pem", bench.identity / "key.pem")
    assert failure(bench.broker).code == "cert.key-mismatch"
    assert not (bench.root / "run" / "mosquitto.log").exists()


def test_a_key_that_others_may_read_is_told(bench: Bench) -> None:
    (bench.identity / "key.pem").chmod(0o644)
    assert failure(bench.broker).code == "cert.key-exposed"


def test_a_truncated_ca_file_is_told(bench: Bench) -> None:
    bench.ca.write_bytes(bench.ca.read_bytes()[:200])
    assert failure(bench.broker).code == "cert.unreadable"


def test_a_broker_that_dies_is_told_with_its_own_words(bench: Bench) -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - OpenSSL must refuse it
    good = Identity.read(bench.identity)
    cert = build_end_entity(
        weak.public_key(), good.cert.subject,
        good.cert.not_valid_before_utc, good.cert.not_valid_after_utc,
        signer=Signer(bench.authority.cert, bench.authority.key),
        usages=["serverAuth"], sans=[],
    )  # fmt: skip
    folder = Identity(cert=cert, key=weak, anchors=good.anchors).write(bench.root / "weak")
    error = failure(bench.made(identity_dir=folder))
    assert error.code == "broker.died"
    assert "too small" in error.cause
    assert "Error" in error.evidence


def test_a_host_identity_of_another_ca_is_told(bench: Bench) -> None:
    Authority.ephemeral().issue_host().write(bench.host, force=True)
    error = failure(bench.broker)
    assert error.code == "broker.refuses-host"
    assert "unknown ca" in error.evidence.lower().replace("_", " ")


def test_a_program_that_is_no_broker_is_told_and_ended(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "mosquitto"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setenv("KEYFOB_MOSQUITTO", str(fake))
    with pytest.raises(KeyfobHostError) as refused:
        bench.broker.start(timeout_s=0.3)
    assert refused.value.code == "broker.no-answer"
    assert MosquittoBroker.attach(bench.broker.folder) is None


def test_ctrl_c_during_a_start_leaves_nothing_running(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []

    def interrupted(*_: object, **__: object) -> None:
        running = daemon.find(bench.root / "run" / "mosquitto.json")
        assert running is not None
        pids.append(running.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(broker_module, "probe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.broker.start()
    assert gone(pids[0])
    assert not (bench.root / "run" / "mosquitto.json").exists()


def test_a_folder_that_cannot_be_written_is_told(bench: Bench) -> None:
    (bench.root / "run").write_text("a file")
    error = failure(bench.broker)
    assert error.code in ("file.not-a-file", "host.os-error")


def test_a_missing_mosquitto_is_told_with_how_to_install_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYFOB_MOSQUITTO", "mosquitto-that-is-not-there")
    error = failure(bench.broker)
    assert error.code == "broker.mosquitto-missing"
    assert "mosquitto" in error.fix


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has Homebrew only")
@pytest.mark.parametrize(
    ("os_release", "command"),
    [
        ("ID=debian\n", "sudo apt-get install mosquitto"),
        ("ID=ubuntu\nID_LIKE=debian\n", "sudo apt-get install mosquitto"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "sudo apt-get install mosquitto"),
        ("ID=fedora\n", "sudo dnf install mosquitto"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "epel-release"),
        ("ID=arch\n", "sudo pacman -S mosquitto"),
        ("ID=manjaro\nID_LIKE=arch\n", "sudo pacman -S mosquitto"),
        ("ID=alpine\n", "sudo apk add mosquitto"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "sudo zypper install mosquitto"),
        ("", "https://mosquitto.org/download/"),
    ],
)
def test_the_install_command_is_the_systems_own(
    tmp_path: Path, os_release: str, command: str
) -> None:
    (tmp_path / "os-release").write_text(os_release)
    assert command in broker_failures.install_command(tmp_path / "os-release")


def test_a_broker_killed_meanwhile_is_no_longer_up(bench: Bench) -> None:
    broker = bench.broker.start()
    pid = broker.pid
    assert pid is not None
    os.kill(pid, 9)
    deadline = time.monotonic() + 5
    while broker.pid is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert broker.pid is None
    assert MosquittoBroker.attach(broker.folder) is None
