"""Devices that are none of Keyfob's, put through the suite advisor over the network alone.

Programs on paho-mqtt, mosquitto's own, a board of Keyfob's that nobody reaches by its serial
line; good ones, and ones with a flaw, which has to fail the cases that are about it and no
others. All runs of the slow half go on at the same time: they consist of waiting.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from provision_bench import powered_board
from tied import tied

from keyfob_host.errors import ExitStatus
from keyfob_host.home import Home
from keyfob_host.listeners import free_port
from keyfob_host.ntp import NtpServer
from keyfob_host.pki import bench
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.provision.provisioning import provision_board
from keyfob_host.provision.settings import Settings
from keyfob_host.sync import sync_board

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
    pytest.mark.skipif(
        shutil.which("mosquitto_sub") is None, reason="mosquitto's clients are not installed"
    ),
]
PAHO_DEVICE = Path(__file__).with_name("paho_device.py")
ID = "device-1"
KEYFOB = [sys.executable, "-m", "keyfob_host"]
REFUSALS = {
    f"tls_refusals::test_{what}_is_refused"
    for what in ("unknown_ca", "wrong_name", "expired_certificate")
}
RECONNECTS = {
    f"reconnect::test_waits_are_jittered_{when}"
    for when in (
        "when_connack_is_withheld", "after_the_server_disconnects", "on_an_unstable_connection",
    )
}  # fmt: skip
NO_SUBACK = "subscribe::test_subscription_without_suback_is_asked_for_again"
NO_PUBACK = "publish::test_message_without_puback_is_sent_again"
PAYLOADS = "payload::test_messages_up_to_128_kb_are_acknowledged"


class ExternalBench:
    """A bench's folder with a CA and a device's identity, and a port for its broker."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.report = folder / "report"
        self.port = free_port()
        authority = Authority.create(self.home.ensure().ca_dir)
        self.identity = bench.device_dir(self.home, ID)
        self.issued: Identity = authority.issue_device(ID)
        self.issued.write(self.identity)

    def command(self, *arguments: str, wait_s: int = 60) -> list[str]:
        return [
            *KEYFOB, "--json", "hil", "run", *arguments, "--device", "external",
            "--bench-address", "127.0.0.1", "--bench-port", str(self.port),
            "--device-wait", str(wait_s), "--report", str(self.report),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {**os.environ, "KEYFOB_HOME": str(self.home.root)}

    def run(self, *arguments: str, wait_s: int = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, wait_s=wait_s), env=self.environment(),
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    def verdicts(self) -> dict[str, str]:
        """Of each case without its suite: ``payload::test_…``."""
        told = json.loads((self.report / "report.json").read_text())
        return {one["case"].partition("/")[2]: one["verdict"] for one in told["results"]}

    # -- devices

    def paho(self, version: int = 4, flaw: str = "", ceiling_s: float = 20) -> list[str]:
        how = ["--ceiling-s", str(ceiling_s), *(["--flaw", flaw] if flaw else [])]
        return [
            sys.executable, str(PAHO_DEVICE), "--port", str(self.port), "--id", ID,
            "--identity", str(self.identity), "--version", str(version), *how,
        ]  # fmt: skip

    def mosquitto(self, program: str, *arguments: str) -> str:
        own = self.identity
        return shlex.join([
            program, "-h", "127.0.0.1", "-p", str(self.port), "--cafile", str(own / "ca.pem"),
            "--cert", str(own / "chain.pem"), "--key", str(own / "key.pem"),
            "-i", ID, "-q", "1", "-k", "5", *arguments,
        ])  # fmt: skip

    def mosquitto_sub(self) -> list[str]:
        """It ends where its first attempt fails."""
        listen = self.mosquitto("mosquitto_sub", "-c", "-t", f"devices/{ID}/command")
        return ["sh", "-c", f"while :; do {listen} > /dev/null; sleep 1; done"]

    def mosquitto_pub(self) -> list[str]:
        say = self.mosquitto("mosquitto_pub", "-c", "-l", "-t", f"devices/{ID}/reading")
        speech = "while echo 21; do sleep 1; done"
        return ["sh", "-c", f"while :; do ({speech}) | {say}; sleep 1; done"]


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    """``command`` and what it starts, ended behind, and with a test that is killed."""
    with tied(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        yield


@contextmanager
def keyfob_board(rig: ExternalBench, folder: Path) -> Iterator[None]:
    """A virtual board with the device's identity, of whose serial line the run knows nothing."""
    with NtpServer() as ntp, powered_board(folder) as ref:
        sync_board(ref, reset=False)
        given = Settings(
            broker=f"127.0.0.1:{rig.port}", ntp=[f"ntp.keyfob.test:{ntp.port}"],
            app={"period_s": 1}, extra={"broker.keepalive_s": 5},
        )  # fmt: skip
        provision_board(ref, rig.issued, given, checked=False)
        yield


@pytest.fixture
def rig(tmp_path: Path) -> ExternalBench:
    return ExternalBench(tmp_path)


# -- how a device comes to the bench


def test_device_that_does_not_come_is_told_with_what_to_try(rig: ExternalBench) -> None:
    done = rig.run("advisor/publish", wait_s=1)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (7, "hil.no-device")
    assert f"nothing came to 127.0.0.1:{rig.port} at all" in error["evidence"]
    assert error["fix"].startswith(f"nc -vz 127.0.0.1 {rig.port}")
    # And before, what a person connects it by.
    assert f"127.0.0.1, port {rig.port}" in done.stderr
    assert str(rig.home.ca_dir / "ca.cert.pem") in done.stderr


def test_device_that_trusts_another_ca_is_told_from_the_wire(
    rig: ExternalBench, tmp_path: Path
) -> None:
    (rig.identity / "ca.pem").write_bytes(Authority.ephemeral("another").cert_pem())
    with running(rig.paho(ceiling_s=0.5)):
        done = rig.run("advisor/publish", wait_s=5)
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "hil.no-device"
    assert "unknown_ca" in error["evidence"]
    assert error["fix"].startswith("keyfob cert export ca")
    assert "127.0.0.1 came and went" in done.stderr


def test_another_client_is_not_the_device_that_was_named(rig: ExternalBench) -> None:
    with running(rig.paho(ceiling_s=0.5)):
        done = rig.run("advisor/publish", "--client-id", "device-2", wait_s=5)
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "hil.no-device"
    assert error["evidence"].endswith(f"clients that came: {ID}")
    assert error["fix"].endswith(f"--client-id {ID}")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--device", "external"], "hil.no-address"),
        (["--device", "external", "--bench-address", "::"], "hil.bad-address"),
        (["--device", "external", "--bench-address", "192.0.2.1"], "hil.bad-address"),
        (["--device", "external", "--bench-address", "no.such.name.test"], "hil.bad-address"),
        (["--client-id", "device-1"], None),
        (["--device", "external", "--bench-address", "127.0.0.1", "--name", "x"], None),
    ],
)
def test_wrong_options_are_refused_before_anything_is_awaited(
    rig: ExternalBench, arguments: list[str], code: str | None
) -> None:
    done = subprocess.run(
        [*KEYFOB, "--json", "hil", "run", "advisor/publish", *arguments], env=rig.environment(),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if code is None:
        assert done.returncode == 2
        assert arguments[-2] in done.stderr or arguments[0] in done.stderr
    else:
        assert json.loads(done.stdout)["error"]["code"] == code


def test_run_without_a_ca_says_how_to_make_one(rig: ExternalBench) -> None:
    shutil.rmtree(rig.home.ca_dir)
    error = json.loads(rig.run("advisor/publish", wait_s=1).stdout)["error"]
    assert (error["code"], error["fix"]) == ("ca.missing", "keyfob ca init")


# -- verdicts: a sample


def test_good_device_passes_and_what_needs_a_serial_line_is_skipped(rig: ExternalBench) -> None:
    sample = "published_after or retained_message or topics_are or 128_kb or verified_over_tls"
    with running(rig.paho()):
        done = rig.run("advisor", "keyfob/tls", "-k", sample)
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = rig.verdicts()
    assert verdicts.pop(f"{PAYLOADS}[5.0]") == "skip"
    assert set(verdicts.values()) == {"pass"}
    assert len(verdicts) == 4


def test_cases_about_a_board_are_skipped_with_the_reason(rig: ExternalBench) -> None:
    with running(rig.paho()):
        done = rig.run("keyfob/mqtt")
    # Nothing was looked at, so it is no success.
    assert done.returncode == ExitStatus.TESTS, done.stdout + done.stderr
    told = json.loads((rig.report / "report.json").read_text())
    assert {one["verdict"] for one in told["results"]} == {"skip"}
    assert all("there is no serial line" in one["reason"] for one in told["results"])
    assert [one["name"] for one in told["boards"]] == [ID]


def test_device_that_verifies_nothing_fails_the_refusals(rig: ExternalBench) -> None:
    with running(rig.paho(5, "no-verify")):
        done = rig.run("advisor/tls_refusals", "advisor/subscribe", "-k", "refused or topics_are")
    assert done.returncode == 8, done.stdout + done.stderr
    verdicts = rig.verdicts()
    assert verdicts.pop("subscribe::test_topics_are_subscribed_to") == "pass"
    assert verdicts == dict.fromkeys(REFUSALS, "fail")


# -- verdicts: the whole


@dataclass(frozen=True)
class Expected:
    """``device``: which of `ExternalBench`'s, with its arguments. ``fails``: these cases and
    no others; ``warns``: these at least; ``parts``: what is run."""

    device: tuple[Any, ...]
    fails: frozenset[str] = frozenset()
    warns: frozenset[str] = frozenset()
    parts: tuple[str, ...] = ("advisor",)


WHOLE = {
    "paho-3.1.1": Expected(("paho", 4)),
    "paho-5.0": Expected(("paho", 5)),
    "constant-delay": Expected(("paho", 4, "constant-delay"), frozenset(RECONNECTS)),
    "no-pingresp-check": Expected(
        ("paho", 4, "no-pingresp-check"),
        frozenset({"keep_alive::test_connection_without_pingresp_is_closed"}),
    ),
    "no-resend": Expected(("paho", 4, "no-resend"), frozenset({f"{NO_PUBACK}[3.1.1]"})),
    "live-resend-5.0": Expected(("paho", 5, "live-resend"), frozenset({f"{NO_PUBACK}[5.0]"})),
    "live-resend-3.1.1": Expected(("paho", 4, "live-resend")),
    "no-subscribe-retry": Expected(("paho", 4, "no-subscribe-retry"), frozenset({NO_SUBACK})),
    "no-resubscribe": Expected(
        ("paho", 4, "no-resubscribe"),
        frozenset({
            NO_SUBACK, "session::test_lost_session_is_subscribed_anew",
            "subscribe::test_topics_are_subscribed_to",
        }),
    ),
    "drops-large": Expected(("paho", 4, "drops-large"), frozenset({f"{PAYLOADS}[3.1.1]"})),
    "no-verify": Expected(("paho", 4, "no-verify"), frozenset(REFUSALS)),
    # They wait a second before each attempt, and for ever for a SUBACK.
    "mosquitto_sub": Expected(
        ("mosquitto_sub",), frozenset({NO_SUBACK, *RECONNECTS}),
        frozenset({"session::test_session_is_taken_up_again"}),
    ),
    # 2.0.11 does not come back from a connection that ended with a message on its way.
    "mosquitto_pub": Expected(
        ("mosquitto_pub",),
        parts=("advisor/publish", "advisor/keep_alive", "-k", "published_after or is_heard"),
    ),
    "keyfob": Expected(("keyfob",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole_runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """The run of each device that is asked for, begun; bench, process and log by its name."""
    asked = {
        item.callspec.params.get("name")
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    }
    with ExitStack() as stack:
        begun = {}
        for name, expected in WHOLE.items():
            if name not in asked:
                continue
            folder = tmp_path_factory.mktemp(name)
            one = ExternalBench(folder)
            kind, *arguments = expected.device
            if kind == "keyfob":
                stack.enter_context(keyfob_board(one, folder / "board"))
            else:
                stack.enter_context(running(getattr(one, kind)(*arguments)))
            log = stack.enter_context((folder / "run.log").open("w"))
            run = tied(
                one.command(*expected.parts, wait_s=300),
                env=one.environment(),
                stdout=log,
                stderr=log,
            )
            process = stack.enter_context(run)
            begun[name] = one, process, folder / "run.log"
        yield begun


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", WHOLE)
def test_device_fails_what_it_should_and_nothing_else(
    whole_runs: dict[str, Any], name: str
) -> None:
    one, process, log = whole_runs[name]
    process.wait()
    verdicts, expected = one.verdicts(), WHOLE[name]
    bad = {case for case, verdict in verdicts.items() if verdict in ("fail", "error")}
    assert bad == expected.fails, log.read_text()
    warned = {case for case, verdict in verdicts.items() if verdict == "warn"}
    assert expected.warns <= warned, warned
    passed = {case for case, verdict in verdicts.items() if verdict == "pass"}
    assert len(passed) >= (10 if expected.parts == ("advisor",) else 2), verdicts
