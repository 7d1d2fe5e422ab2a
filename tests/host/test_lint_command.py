"""``keyfob cert check`` as a person or a script runs it, and the linter's own promises."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lint_rig import VECTORS, findings, identity, key_der, key_pem, pem, write
from test_lint_chain import BELOW, CA, DEVICE, LEAF, MID, crl
from x509_cases_forms import cases
from x509_forge import HOST, decode, encode, key

from keyfob_host.cli import main
from keyfob_host.errors import ExitStatus
from keyfob_host.lint.reading import FileRead, take_apart
from keyfob_host.lint.rules import all_codes

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    monkeypatch.setenv("KEYFOB_HOME", str(tmp_path / "home"))

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(ended.value.code or 0), out, err

    return command


def bench(run: Run) -> None:
    for arguments in (
        ["ca", "init", "--no-passphrase"],
        ["cert", "broker", "broker.keyfob.test"],
        ["cert", "device", "sensor-01"],
    ):
        assert run(*arguments)[0] == 0


def test_a_clean_bench_is_ok_by_its_names_and_as_a_whole(run: Run) -> None:
    bench(run)
    for what in ([], ["ca"], ["sensor-01"], ["broker.keyfob.test", "sensor-01", "ca"]):
        status, out, _ = run("cert", "check", *what)
        assert status == 0 and "nothing wrong" in out and "error" not in out
    status, out, _ = run("cert", "check", "sensor-01")
    assert "device's certificate CN=sensor-01 (p256" in out and "private key (p256" in out


def test_errors_have_cause_evidence_fix_and_a_status_of_their_own(run: Run) -> None:
    bench(run)
    status, out, _ = run("cert", "check", "broker.keyfob.test", "--host", "192.0.2.9")
    assert status == ExitStatus.IDENTITY
    assert re.search(r"^error +lint\.host-not-covered$", out, re.M)
    assert re.search(r"^seen +192\.0\.2\.9 wanted; names: DNS:broker\.keyfob\.test$", out, re.M)
    fix = re.search(r"^fix +keyfob (.+)$", out, re.M)
    assert fix is not None and "1 error" in out.splitlines()[-1]
    # The fix can be pasted, and it is one.
    assert run(*fix[1].split())[0] == 0
    assert run("cert", "check", "broker.keyfob.test", "--host", "192.0.2.9")[0] == 0


def test_a_bench_is_told_what_its_ca_revoked(run: Run) -> None:
    bench(run)
    assert run("cert", "revoke", "sensor-01")[0] == 0
    for what in (["sensor-01"], []):
        status, out, _ = run("cert", "check", *what)
        assert status == ExitStatus.IDENTITY and out.count("lint.revoked") == 1
        assert "chain.pem: CN=sensor-01\n" in out and "keyfob cert device sensor-01" in out
    assert run("cert", "check", "broker.keyfob.test")[0] == 0


def test_a_bench_with_an_intermediate_is_clean(run: Run) -> None:
    for arguments in (
        ["ca", "init", "--profile", "root", "--no-passphrase"],
        ["ca", "intermediate", "--no-passphrase"],
        ["cert", "broker", "broker.keyfob.test", "--san", "127.0.0.1"],
        ["cert", "device", "sensor-01"],
        ["ca", "crl"],
    ):
        assert run(*arguments)[0] == 0, arguments
    for board in (["--board", "virtual-esp8266"], ["--board", "esp32"], []):
        status, out, _ = run("cert", "check", *board)
        assert status == 0 and "nothing wrong" in out


def test_lists_of_former_and_of_further_authorities_are_no_error(run: Run) -> None:
    for arguments in (
        ["ca", "init", "--intermediate", "--no-passphrase"],
        ["cert", "device", "sensor-01"],
        ["ca", "crl"],
        ["ca", "intermediate", "--force", "--no-passphrase"],
        ["ca", "rollover", "begin", "--no-passphrase"],
        ["ca", "rollover", "switch"],
        ["cert", "device", "sensor-02"],
    ):
        assert run(*arguments)[0] == 0, arguments
    for what in (["sensor-01"], ["sensor-02"], ["ca"], []):
        status, out, _ = run("cert", "check", *what)
        assert status == 0 and "nothing wrong" in out, out


def test_warnings_are_no_failure(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "x.pem", pem([DEVICE.sign(CA).der]).replace("\n", "\r\n"))
    status, out, _ = run("cert", "check", path, "--at", "2026-11-21T12:00:00Z")
    assert status == 0 and "1 warning" in out


def test_scripts_get_findings_as_json(run: Run) -> None:
    status, out, _ = run("--json", "cert", "check", VECTORS / "broker-ca-v1.pem")
    told: dict[str, Any] = json.loads(out)
    assert status == ExitStatus.IDENTITY and told["errors"] == 2 and told["notes"] == 1
    assert {"code", "severity", "cause", "evidence", "fix", "file", "item"} == set(
        told["findings"][0]
    )
    assert told["findings"][0]["severity"] == "error"
    status, out, _ = run("cert", "check", VECTORS / "ecc508-csr.pem", "--json")
    told = json.loads(out)
    assert status == 0 and told["findings"] == []
    assert "CN=mymkr (p256, signed with its own key)" in told["checked"][0]["what"]


def test_dates_are_judged_at_the_moment_given(run: Run) -> None:
    bench(run)
    status, out, _ = run("cert", "check", "sensor-01", "--at", "2099-01-01")
    assert status == ExitStatus.IDENTITY and "now 2099-01-01T00:00:00Z" in out


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (["nobody"], "cert.unknown", ExitStatus.INPUT),
        (["./nothing.pem"], "file.missing", ExitStatus.INPUT),
        (["ca", "--at", "tomorrow"], "lint.bad-time", ExitStatus.USAGE),
        (["ca", "--host", "mqtts://broker:8883"], "lint.bad-host", ExitStatus.USAGE),
        (["ca", "--board", "esp9"], "board.unknown-kind", ExitStatus.USAGE),
    ],
)
def test_a_wrong_word_is_told_with_what_is_right(
    run: Run, arguments: list[str], code: str, status: int
) -> None:
    bench(run)
    seen, out, err = run("--json", "cert", "check", *arguments)
    told = json.loads(out)["error"]
    assert (seen, told["code"]) == (status, code) and told["fix"] and code in err


def test_a_folder_of_nothing_and_no_bench_are_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _, out, _ = run("--json", "cert", "check", tmp_path / "empty")
    assert json.loads(out)["error"]["code"] == "lint.nothing-to-check"
    _, out, _ = run("--json", "cert", "check")
    assert json.loads(out)["error"]["code"] == "ca.missing"


def test_every_code_is_provoked_by_a_test() -> None:
    here = Path(__file__).parent
    tests = "".join(path.read_text() for path in here.glob("test_lint_*.py"))
    missing = [code for code in dict.fromkeys(all_codes()) if f'"{code}"' not in tests]
    assert not missing, missing


# Whatever the bytes are, there are findings and no exception.


def seeds() -> list[tuple[str, bytes]]:
    leaf = BELOW
    found = [
        ("a.der", leaf.der),
        ("b.pem", pem([leaf.der, MID.der]).encode()),
        ("c.der", key_der(key("p256"))),
        ("d.pem", key_pem(key("rsa2048"), "TraditionalOpenSSL")),
        ("e.pem", (VECTORS / "ecc508-csr.pem").read_bytes()),
        ("f.pem", crl(LEAF.sign(CA))),
        ("g.der", CA.der),
        ("h.pem", (VECTORS / "device-x509v1.pem").read_bytes()),
    ]
    constrained = [pair for case in cases() if "constraints" in case.name for pair in case.chain]
    return [*found, *((f"i{n}.der", pair.der) for n, pair in enumerate(constrained[:6]))]


def mutated(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        at = draw.randrange(len(changed) or 1)
        match draw.randrange(5):
            case 0 if changed:
                changed[at] = draw.randrange(256)
            case 1 if changed:
                changed[at] ^= 1 << draw.randrange(8)
            case 2:
                del changed[at : at + draw.randrange(1, 20)]
            case 3:
                changed[at:at] = draw.randbytes(draw.randrange(1, 8))
            case _:
                changed[at:] = changed[at:][: draw.randrange(len(changed) + 1)]
    return bytes(changed)


def rebuilt(der: bytes, draw: random.Random) -> bytes:
    """With elements dropped, doubled, emptied, or of another tag; lengths fit."""
    tree = decode(der)
    for _ in range(draw.choice((1, 1, 2, 3))):
        parent: list = tree
        at = 0
        while isinstance(parent[at][1], list) and parent[at][1] and draw.random() < 0.9:
            parent = parent[at][1]
            at = draw.randrange(len(parent))
        is_leaf = not isinstance(parent[at][1], list)
        match draw.randrange(5):
            case 0 if parent is not tree:
                del parent[at]
            case 1:
                parent.insert(at, parent[draw.randrange(len(parent))])
            case 2 if is_leaf:
                parent[at][1] = draw.randbytes(draw.randrange(24))
            case 3:
                tags = (1, 2, 3, 4, 5, 6, 12, 23, 24, 128, 130) if is_leaf else (48, 49, 160, 163)
                parent[at][0] = draw.choice(tags)
            case _:
                parent[at][1] = b""
    return encode(tree)


def fuzz(folder: Path, number: int, seed: int) -> int:
    draw = random.Random(seed)
    told = 0
    given = seeds()
    identity(folder / "device" / "x", [LEAF.sign(CA)], [CA], LEAF.sign(CA).key)
    for _ in range(number):
        name, content = draw.choice(given)
        change = rebuilt if name.endswith(".der") and draw.random() < 0.5 else mutated
        path = write(folder / "device" / "x" / name, change(content, draw), 0o600)
        for board in (None, "virtual-esp8266"):
            told += bool(findings(path, folder / "device" / "x" / "ca.pem", host=HOST, board=board))
        target = draw.choice(("cert.pem", "chain.pem", "ca.pem", "key.pem"))
        whole = (folder / "device" / "x" / target).read_bytes()
        path.unlink()
        write(folder / "device" / "x" / target, mutated(whole, draw), 0o600)
        told += bool(findings(folder))
        write(folder / "device" / "x" / target, whole, 0o600)
    return told


def test_mutated_files_only_ever_have_findings(tmp_path: Path) -> None:
    assert fuzz(tmp_path, 150, seed=1) > 150


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 5))
def test_many_mutated_files_only_ever_have_findings(seed: int, tmp_path: Path) -> None:
    assert fuzz(tmp_path, 4000, seed) > 4000


def test_random_bytes_and_text_are_taken_apart() -> None:
    draw = random.Random(7)
    words = [b"-----BEGIN ", b"CERTIFICATE", b"-----END ", b"-----", b"\n", b"MII", b"\x30\x82"]
    for _ in range(2000):
        pieces = [draw.choice([*words, draw.randbytes(3)]) for _ in range(draw.randrange(12))]
        read = FileRead(Path("x"))
        take_apart(b"".join(pieces), read)
        assert read.items or read.troubles
