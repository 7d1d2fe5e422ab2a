"""The device shell, typed at on the serial console of a virtual board, with a real broker."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from provisioned_rig import Rig, provisioned_board
from terminal import Terminal
from virtual_rig import SerialConsole, log, tool, wait_for_log, wait_until

from keyfob_host.device_errors import load_device_errors
from keyfob_host.virtual import VirtualBoard

pytestmark = pytest.mark.mosquitto
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
import device_support  # noqa: E402, F401 - the firmware and the modules that CPython lacks

PASSWORD = b"keyfob-bench-password"
PROMPT = b"keyfob> "


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A provisioned board whose application was stopped, so that its REPL waits."""
    with provisioned_board(tmp_path_factory.mktemp("shell")) as made:
        yield made


class Shell:
    """A person at the prompt."""

    def __init__(self, port: SerialConsole) -> None:
        self.port = port
        self.said = b""

    def type(self, line: str) -> str:
        """What the command printed, up to the next prompt."""
        self.port.send(line.encode() + b"\r")
        self.port.read_until(line.encode() + b"\r\n")
        text = self.port.read_until(b"\r\n" + PROMPT)[: -len(PROMPT)]
        self.said += text
        assert b"Traceback" not in text, text.decode()
        return text.decode().replace("\r\n", "\n").strip()

    def wait_for(self, text: str) -> str:
        return self.port.read_until(text.encode()).decode()


def restart(virtual: VirtualBoard, port: SerialConsole) -> None:
    """Take the board's power, stop the application that starts, and open the shell."""
    events = log(virtual).count('"ev":"clock.kept"')
    virtual.power(False)
    virtual.power(True)
    wait_for_log(virtual, '"ev":"clock.kept"', events + 1)  # the application runs
    port.send(b"\x03")
    port.read_until(b"shell() opens the shell")
    port.read_until(b">>> ")
    port.send(b"shell()\r")
    port.read_until(PROMPT)


@pytest.fixture
def console(rig: Rig) -> Iterator[Shell]:
    """The board started anew (clock unset), its application stopped, the shell open."""
    with SerialConsole(rig.virtual) as port:
        restart(rig.virtual, port)
        yield Shell(port)


@pytest.fixture
def shell(rig: Rig) -> Iterator[Shell]:
    """The shell on the board as the test before left it, for what depends on nothing."""
    with SerialConsole(rig.virtual) as port:
        port.send(b"\x03")
        port.read_until(b">>> ")
        # main.py, which gives the REPL its shell(), has not run here if this comes first.
        port.send(b"from keyfob import shell; shell.start('')\r")
        port.read_until(PROMPT)
        yield Shell(port)
        port.send(b"exit\r")
        port.read_until(b">>> ")


def test_help_names_every_command_and_each_is_there(console: Shell) -> None:
    text = console.type("help")
    names = {line.split()[0] for line in text.splitlines() if line[:1] != " "}
    assert names == {"mqtt", "time", "date", "certs", "wifi", "errors", "help", "exit"}
    for name in names - {"exit"}:
        assert "There is no command" not in console.type(name)
    for verb in ("connect", "publish", "subscribe", "disconnect", "status"):
        assert f"mqtt {verb}" in text


@pytest.mark.parametrize(
    ("line", "cause", "fix"),
    [
        ("mqqt connect", "There is no command 'mqqt'.", "help"),
        ("mqtt", "mqtt wants a command.", "mqtt connect, publish"),
        ("mqtt conect", "mqtt has no command 'conect'.", "mqtt connect, publish"),
        ("mqtt connect now", "'now' is too much.", "mqtt connect"),
        ("mqtt publish", "A topic is missing.", "mqtt publish [-q 0|1|2] [-r] [-s] TOPIC TEXT"),
        ("mqtt publish t", "TEXT is missing.", "mqtt publish [-q"),
        ("mqtt publish -q 3 t x", "There is no option -q 3.", "mqtt publish [-q"),
        ("mqtt publish -q", "There is no option -q", "mqtt publish [-q"),
        ("mqtt publish -x t x", "There is no option -x.", "mqtt publish [-q"),
        ("mqtt subscribe -r #", "-r has no meaning here.", "mqtt subscribe [-q 0|1|2] FILTER"),
        ("mqtt subscribe a b", "'b' is too much.", "mqtt subscribe"),
        ("mqtt disconnect", "There is no connection of the shell's.", "mqtt connect"),
        ("time flies", "time knows 'flies' not.", "time set"),
        ("date 2026", "date takes nothing more.", "time set"),
        ("certs b", "certs takes nothing more.", "certs"),
        ("wifi off", "wifi takes nothing more.", "mqtt connect"),
        ("errors", "errors wants a code", "errors x509.expired"),
        ("errors nonsense", "There is no error code 'nonsense'.", "errors mqtt"),
        ("errors mqtt.nonsense", "There is no error code", "errors mqtt.outbox-full"),
    ],
)
def test_wrong_input_is_told_with_cause_and_fix(
    shell: Shell, line: str, cause: str, fix: str
) -> None:
    text = shell.type(line)
    assert text.startswith("cause: " + cause), text
    assert "\nfix:   " in text and fix in text.split("\nfix:", 1)[1]


def test_every_error_code_is_told_as_the_host_tells_it(shell: Shell) -> None:
    for code, error in list(load_device_errors().items())[::9]:
        text = " ".join(shell.type("errors " + code).split())
        assert f"{code} cause: {error.cause} fix: {error.fix} source: {error.source}" in text
        assert ("told at once" in text) == (error.retry == "stop")


def test_certs_show_what_is_public(shell: Shell, rig: Rig) -> None:
    text = shell.type("certs")
    assert re.search(r"slot +[ab], device sensor-01\n", text)
    assert re.search(r"cert\.der\n  subject +sensor-01\n  issuer +.*Bench CA.*\n", text)
    assert "issuer       Bench CA" in text
    assert re.search(r"not after +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", text)
    assert len(re.findall(r"sha256 +[0-9a-f]{64}\n", text)) >= 2


def test_date_tells_that_the_clock_was_never_set_until_it_is(console: Shell, rig: Rig) -> None:
    text = console.type("date")
    assert text.startswith("date    2000-01-01T") and "was never set" in text
    assert "fix:   time set" in text
    assert "days left" not in console.type("certs")
    asked = rig.ntp.requests
    assert re.search(r"unix_s  1[789]\d{8}\n", console.type("time set"))
    assert rig.ntp.requests > asked
    text = console.type("date")
    assert re.match(r"date    20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\nclock   set$", text)
    assert re.search(r"days left +\d+\n", console.type("certs"))


def test_a_connection_is_made_used_and_ended(console: Shell, rig: Rig) -> None:
    assert "disconnected  broker is broker.keyfob.test:" in console.type("mqtt status")
    rig.virtual.wifi(False)
    assert "has not joined" in console.type("wifi")
    rig.virtual.wifi(True)
    text = console.type("mqtt connect")
    assert "mqtt.up" in text and "connected; events" in text
    assert re.search(r"state +got ip \(1010\)\n.*address +", console.type("wifi"), re.DOTALL)
    with rig.host() as host:
        host.subscribe("devices/sensor-01/#")
        text = console.type("mqtt publish -q 1 devices/sensor-01/said  hello  there ")
        assert "the broker has it" in text
        assert host.wait_message("devices/sensor-01/said", timeout_s=10).payload == b"hello  there"
        console.type('mqtt publish -q 0 -r devices/sensor-01/kept {"a": [1, 2]}')
        kept = host.wait_message("devices/sensor-01/kept", timeout_s=10)
        assert kept.payload == b'{"a": [1, 2]}'
        console.type("mqtt subscribe devices/sensor-01/command")
        assert "subscribed    devices/sensor-01/command" in console.type("mqtt status")
        console.port.send(b"mqtt sta")  # half a command, which the message must not spoil
        console.wait_for("mqtt sta")
        host.publish("devices/sensor-01/command", b"blink")
        console.wait_for("devices/sensor-01/command  blink\r\n" + "keyfob> mqtt sta")
        console.port.send(b"tus\r")
        console.wait_for("connected     broker.keyfob.test:")
        console.wait_for("\r\nkeyfob> ")
        host.publish("devices/sensor-01/command", b"\x00\xff")
        console.wait_for("devices/sensor-01/command  00 ff\r\n")
        assert "shown already" in console.type("mqtt subscribe devices/sensor-01/command")
        assert "disconnected" in console.type("mqtt disconnect")
        assert host.wait_message("devices/sensor-01/status", timeout_s=10)
    assert "disconnected  broker is" in console.type("mqtt status")


def test_a_topic_that_mqtt_does_not_allow_is_told(console: Shell) -> None:
    assert "error: mqtt.bad-topic: " in console.type("mqtt subscribe devices#")
    assert "subscribed" not in console.type("mqtt status")
    text = console.type("mqtt publish devices/# x")
    assert "error: mqtt.bad-topic: " in text and "\nfix: " in text


def test_a_stored_message_waits_for_a_connection_over_a_power_cut(console: Shell, rig: Rig) -> None:
    for qos in (1, 2):
        text = console.type(f"mqtt publish -s -q {qos} devices/sensor-01/stored stored {qos}")
        assert text == "stored; it goes out with the next connection"
    restart(rig.virtual, console.port)
    assert "stored        2 messages" in console.type("mqtt status")
    with rig.host() as host:
        host.subscribe("devices/sensor-01/stored")
        console.type("mqtt connect")
        for qos in (1, 2):
            message = host.wait_message("devices/sensor-01/stored", timeout_s=10)
            assert message.payload == b"stored %d" % qos
        console.type("mqtt publish -s devices/sensor-01/stored more")
        assert host.wait_message("devices/sensor-01/stored", timeout_s=10).payload == b"more"
    # The broker's PUBACK may still be under way.
    wait_until(lambda: "stored        0 messages" in console.type("mqtt status"))


def test_a_refusal_is_told_with_its_cause_and_its_fix(console: Shell, rig: Rig) -> None:
    rig.broker.stop()
    try:
        console.port.send(b"mqtt connect\r")
        text = console.wait_for("keyfob broker status, then keyfob broker up")
        assert "error: tls.refused" in text
        assert "cause: Nothing listens on the broker's port." in text
        console.port.send(b"\x03")
        console.wait_for(">>> ")
    finally:
        rig.broker.start()
    console.port.send(b"shell()\r")
    console.port.read_until(PROMPT)
    assert "connected; events" in console.type("mqtt connect")


def test_one_command_needs_no_prompt_and_leaves_nothing_in_memory(rig: Rig, console: Shell) -> None:
    console.port.send(b"exit\r")
    console.wait_for(">>> ")
    port = console.port
    port.send(b"shell('errors x509.expired')\r")
    port.read_until(b"cause: ")
    port.read_until(b">>> ")
    left = port.run("import sys; print([n for n in sys.modules if 'shell' in n])")
    assert left == b"[]\n"
    free = "import gc; gc.collect(); print(gc.mem_alloc())"
    shell = "from keyfob import shell as s; s.start('errors mqtt.outbox-full'); del s"
    port.run(shell)
    before = int(port.run(free))
    for _ in range(5):
        port.run(shell)
    assert int(port.run(free)) - before < 512
    with rig.host() as host:
        host.subscribe("devices/sensor-01/said")
        port.send(b"shell('mqtt publish devices/sensor-01/said at once')\r")
        port.read_until(b"the broker has it")
        port.read_until(b">>> ")
        assert host.wait_message("devices/sensor-01/said", timeout_s=10).payload == b"at once"


def test_editing_keys_work_and_others_do_no_harm(console: Shell) -> None:
    console.port.send(b"hexx\x7f\x08lp\x1b\x07\r")
    assert "mqtt connect" in console.wait_for("\r\n" + PROMPT.decode())
    console.port.send(b"dat\x7f\x7f\x7f\x7f\x7fdate\r")
    assert "2000-01-01T" in console.wait_for("\r\n" + PROMPT.decode())
    console.port.send(b"x" * 600 + b"\r")
    assert "There is no command 'xxx" in console.wait_for("\r\n" + PROMPT.decode())
    console.port.send(b"\r")
    console.port.read_until(PROMPT)
    console.port.send(b"\x04")
    console.wait_for(">>> ")


def test_stock_mpremote_reaches_a_command(rig: Rig) -> None:
    pty = rig.virtual.info()["pty"]
    code = "from keyfob import shell; shell.start('errors clock.never-set')"
    done = tool("mpremote", "connect", pty, "exec", code)
    assert "cause: The board's clock was never set" in done.stdout, done.stderr


def mpremote_repl(rig: Rig) -> Terminal:
    """Stock ``mpremote repl`` on the board."""
    mpremote = str(Path(sys.executable).with_name("mpremote"))
    return Terminal([mpremote, "connect", rig.virtual.info()["pty"], "repl"])


def test_the_shell_works_in_the_repl_of_stock_mpremote(rig: Rig) -> None:
    with SerialConsole(rig.virtual) as port:
        restart(rig.virtual, port)
        port.send(b"exit\r")
        port.read_until(b">>> ")
    with rig.host() as host:
        host.subscribe("devices/sensor-01/said")
        with mpremote_repl(rig) as repl:
            repl.read_until("Use Ctrl-] or Ctrl-x to exit this shell")
            repl.send("\r")
            repl.read_until(">>> ")
            repl.send("shell()\r")
            repl.read_until(PROMPT.decode())
            repl.send("hepl\x7f\x7flp\r")
            assert "mqtt connect" in repl.read_until("\r\n" + PROMPT.decode())
            repl.send("\x1b[A\x1b[D\r")  # arrow up, arrow left: the bell, and what they print
            repl.read_until("\r\n" + PROMPT.decode())
            repl.send("mqtt connect\r")
            assert "connected; events" in repl.read_until("\r\n" + PROMPT.decode())
            repl.send("mqtt publish devices/sensor-01/said over mpremote\r")
            assert "the broker has it" in repl.read_until("\r\n" + PROMPT.decode())
            message = host.wait_message("devices/sensor-01/said", timeout_s=10)
            assert message.payload == b"over mpremote"
            repl.send("\x1d")  # Ctrl-] ends mpremote, and leaves the board alone
            assert repl.ended() == 0
    with mpremote_repl(rig) as repl:
        repl.read_until("to exit this shell")
        repl.send("\r")
        repl.read_until(PROMPT.decode())
        repl.send("mqtt status\r")
        assert "connected     broker.keyfob.test:" in repl.read_until("\r\n" + PROMPT.decode())
        repl.send("\x03")  # Ctrl-C leaves the shell
        repl.read_until(">>> ")
        repl.send("import sys; print([n for n in sys.modules if 'shell' in n])\r")
        assert repl.read_until(">>> ").splitlines()[-2].strip() == "[]"
        repl.send("\x18")  # Ctrl-x
        assert repl.ended() == 0


def test_no_secret_was_ever_shown(rig: Rig) -> None:
    console = Path(rig.virtual.info()["log"]).read_bytes()
    assert b"keyfob> " in console and b"certs" in console
    assert PASSWORD not in console
    secret = b"".join(rig.key.splitlines()[1:-1])
    assert secret[:24] not in console and b"PRIVATE KEY" not in console


def test_what_a_stranger_says_comes_without_orders_to_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A certificate is shown before anybody vouched for it."""
    from keyfob.shell import Shell as DeviceShell

    shell = DeviceShell.__new__(DeviceShell)
    shell._is_typing = False
    shell.show_error("x509.wrong-name", 'for a\r\nkf {"ev":"tls.up"}\x1b[2J')
    first = capsys.readouterr().out.split("\n")[0]
    assert first == r'error: x509.wrong-name: for a\r\nkf {"ev":"tls.up"}\x1b[2J'
