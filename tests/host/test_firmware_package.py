"""firmware/package.json and manifest.py bring every module of the device package, whose
docstrings lead to each of them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).resolve().parent.parent.parent / "firmware"


def test_mip_installs_every_module_and_no_other_file() -> None:
    package = json.loads((FIRMWARE / "package.json").read_text("utf-8"))
    folders = ("keyfob", "apps")
    modules = {
        path.relative_to(FIRMWARE).as_posix()
        for name in folders
        for path in (FIRMWARE / name).rglob("*.py")
    }
    assert {target for target, _ in package["urls"]} == modules
    assert all(target == source for target, source in package["urls"])


@pytest.mark.parametrize("folder", ["", "mqtt", "tls", "pki", "crypto"])
def test_the_docstring_of_a_package_names_each_of_its_modules(folder: str) -> None:
    package = FIRMWARE / "keyfob" / folder
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""
    said = {name.split(".")[0] for name in re.findall(r"`(?:keyfob\.)?([\w.]+)", docstring)}
    there = {path.stem for path in package.iterdir()} - {"__init__", "__pycache__"}
    # The parts of these are found by their names.
    parts = {name for name in there if name.startswith(("rotation_", "shell_"))}
    assert there - said <= parts


def test_the_versions_agree() -> None:
    version = json.loads((FIRMWARE / "package.json").read_text("utf-8"))["version"]
    assert f'__version__ = "{version}"' in (FIRMWARE / "keyfob/__init__.py").read_text("utf-8")
    assert f'metadata(version="{version}"' in (FIRMWARE / "manifest.py").read_text("utf-8")


def test_no_secret_and_no_certificate_lies_in_the_firmware() -> None:
    command = ["grep", "-rlE", "BEGIN (EC |RSA )?PRIVATE KEY|BEGIN CERT", "--include=*.py", "."]
    found = subprocess.run(command, cwd=FIRMWARE, capture_output=True, text=True, check=False)
    assert found.stdout.split() == []
