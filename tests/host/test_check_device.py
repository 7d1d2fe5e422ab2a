"""tools/check_device.py: seeded bad device code is rejected, each piece for its reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent.parent.parent / "tools"
sys.path.insert(0, str(TOOLS))

import check_device  # noqa: E402
from device_subset import check_file  # noqa: E402

OUTSIDE = {
    "import typing": "import of typing",
    "from typing import Any": "import of typing",
    "import enum": "import of enum",
    "import dataclasses": "import of dataclasses",
    "from functools import partial": "import of functools",
    "import ssl": "import of ssl",
    "import collections.abc": "import of collections.abc",
    "from __future__ import annotations": "import of __future__",
    "import random": "import of random",
    "from . import errors": "relative import",
    "from os import *": "import of *",
    "from os import replace": "os.replace",
    "import os\nos.replace('a', 'b')": "os.replace",
    "import os\nos.fsync(1)": "os.fsync",
    "import os\nos.getlogin()": "os.getlogin",
    "import asyncio\nasyncio.timeout(1)": "asyncio.timeout",
    "import json\nfrom json import JSONDecodeError": "json.JSONDecodeError",
    "import struct\nstruct.iter_unpack('b', b'')": "struct.iter_unpack",
    "match x:\n    case 1:\n        pass": "match",
    "pow(2, 3, 5)": "pow with three arguments",
    "(5).bit_length()": "int.bit_length",
    "import hashlib\nhashlib.sha256().copy()": "hash.copy",
    "import hashlib\nhashlib.sha256().hexdigest()": "hash.hexdigest",
    "'a=b'.partition('=')": "str.partition",
    "'ab'.removeprefix('a')": "str.removeprefix",
    "assert x": "assert",
    "f'{x!a}'": "f-string conversion",
    "def f(a, /):\n    pass": "positional-only",
    "y = [*x, 1]": "* in a list",
    "y = {**x}": "** in a dict",
    "async def f():\n    return [i async for i in x]": "asynchronous comprehension",
    "async def f():\n    return [await i for i in x]": "await inside a comprehension",
    "class A(metaclass=B):\n    pass": "class keywords",
    "@decorate\nclass A:\n    pass": "class decorator",
    "try:\n    pass\nexcept* OSError:\n    pass": "except*",
    "int.from_bytes(b'a', 'big', signed=True)": "int.from_bytes(signed",
    "def f(:\n    pass": "syntax",
}


@pytest.mark.parametrize("code", OUTSIDE)
def test_what_a_port_lacks_is_rejected(code: str, tmp_path: Path) -> None:
    if "except*" in code and sys.version_info < (3, 11):
        pytest.skip("this Python cannot parse except*, and says so as a syntax error")
    path = tmp_path / "bad.py"
    path.write_text(code + "\n")
    findings = [str(finding) for finding in check_file(path)]
    assert any(OUTSIDE[code] in finding for finding in findings), findings
    assert all(finding.startswith(f"{path}:") for finding in findings)


INSIDE = (
    "def f(*, a=1, b: 'int | None' = None) -> dict[str, int]:\n    return {str(a): b}",
    "if (n := 3) > 2:\n    print(f'{n:04x} {n!r}')",
    "first, *rest = (1, 2, 3)\nprint(*rest, **{'end': ''})",
    "try:\n    pass\nexcept OSError as error:\n    raise ValueError() from None",
    "async def f(g):\n    async with g as h:\n        async for i in h:\n            await i",
    "class A:\n    x: int\n    @property\n    def y(self):\n        return self.x",
    "value = pow(2, 3)\nnumber = int.from_bytes(b'a', 'big')",
)


@pytest.mark.parametrize("code", INSIDE)
def test_what_every_port_has_is_taken_and_compiles(code: str, tmp_path: Path) -> None:
    path = tmp_path / "good.py"
    path.write_text(code + "\n")
    assert check_file(path) == []
    assert check_device.compile_file(path) == []


def test_what_mpy_cross_cannot_compile_is_told(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("def f(a, /):\n    pass\n")
    (finding,) = check_device.compile_file(path)
    assert finding.startswith(f"{path}: mpy-cross: ")


TYPES = {
    # A call that CPython has and no port does.
    "import time\ntime.monotonic()": ("esp32", "esp8266"),
    "import network\nnetwork.WLAN(network.STA_IF).join('a')": ("esp32", "esp8266"),
    "import machine\nmachine.reboot()": ("esp32", "esp8266"),
    "import tls\nprint(tls.CERT_REQUIRED)": ("esp8266",),
    "import network\nprint(network.STAT_ASSOC_FAIL)": ("esp8266",),
    "import time\ntime.sleep('1')": ("esp32", "esp8266"),
}


@pytest.mark.parametrize("port", ["esp32", "esp8266"])
def test_calls_that_a_port_lacks_are_found_by_its_stubs(port: str, tmp_path: Path) -> None:
    files = []
    for number, code in enumerate(TYPES):
        files.append(tmp_path / f"bad{number}.py")
        files[-1].write_text(code + "\n")
    found = "\n".join(check_device.type_check(port, files))
    for path, (code, ports) in zip(files, TYPES.items(), strict=True):
        assert (f"{path}:2: error:" in found) == (port in ports), (code, found)


def test_the_program_ends_with_1_and_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("import enum\n")
    command = [sys.executable, str(TOOLS / "check_device.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{path}:1: import of enum" in done.stdout


def test_the_firmware_has_no_finding() -> None:
    command = [sys.executable, str(TOOLS / "check_device.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
