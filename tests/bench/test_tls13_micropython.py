"""The engine on MicroPython of 64 and of 32 bits, over TCP, with Python's `ssl` for a broker."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from certificates import Pair, make_ca, make_leaf
from cryptography.hazmat.primitives.asymmetric import rsa
from tls_rig import BROKER, CA, HOST
from tls_tcp import python_server

ROOT = Path(__file__).resolve().parents[2]
TLS_1_3 = ssl.TLSVersion.TLSv1_3
_32_BIT_HEAP = "160k"  # sources are compiled in it, which takes most


@pytest.fixture(scope="module", params=[64, 32])
def micropython(request: pytest.FixtureRequest) -> list[str]:
    if request.param == 64:
        return [str(Path(sys.executable).with_name("micropython"))]
    tool = ROOT / "tools" / "micropython32.py"
    found = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=False)
    if found.returncode == 3:
        pytest.skip(found.stderr.strip())
    assert found.returncode == 0, found.stderr
    return [*found.stdout.split(), "-X", f"heapsize={_32_BIT_HEAP}"]


def run(
    micropython: list[str], folder: Path, port: int, count: int, client: Pair | None
) -> list[dict]:
    (folder / "ca.der").write_bytes(CA.der)
    (folder / "now").write_text(str(int(time.time())))
    if client:
        (folder / "cert.der").write_bytes(client.der)
        (folder / "key.der").write_bytes(client.key_der())
    command = [*micropython, str(ROOT / "tests/bench/tls13_device.py"), str(port), HOST]
    command += [str(folder), str(count), *(["client"] if client else [])]
    path = {"MICROPYPATH": f"{ROOT / 'firmware'}:.frozen"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=path, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("client_key", [None, "p256", "rsa"])
def test_full_and_resumed(micropython: list[str], client_key: str | None, tmp_path: Path) -> None:
    client_ca = make_ca("clients")
    key = rsa.generate_private_key(65537, 2048) if client_key == "rsa" else None
    client = make_leaf(client_ca, "sensor-01", usage=None, key=key) if client_key else None
    with python_server(tmp_path, BROKER, client_ca if client else None, TLS_1_3) as (port, seen):
        lines = run(micropython, tmp_path, port, 3, client)
    assert [line.get("resumed") for line in lines] == [False, True, True], (lines, seen)
    assert {one[0] for one in seen} == {"TLSv1.3"}


def test_no_memory_is_lost_from_one_connection_to_the_next(
    micropython: list[str], tmp_path: Path
) -> None:
    with python_server(tmp_path, BROKER, None, TLS_1_3) as (port, _):
        lines = run(micropython, tmp_path, port, 12, None)
    free = [line["free"] for line in lines]
    # The collector now and then takes a number for a pointer, and keeps what it points at.
    assert max(free[1:4]) - max(free[-3:]) < 1000, free


def test_untrusted_chain_is_refused(micropython: list[str], tmp_path: Path) -> None:
    other = make_leaf(make_ca("another"), HOST, (HOST,))
    with python_server(tmp_path, other, None, TLS_1_3) as (port, _):
        (line,) = run(micropython, tmp_path, port, 1, None)
    assert line["code"] == "x509.untrusted"
