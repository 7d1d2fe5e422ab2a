"""A 32-bit MicroPython, for object sizes and heap as on an ESP8266 or ESP32.

Fetched once: Debian trixie's ``micropython`` and ``libfaketime`` for i386 with the
libraries they need, unpacked (not installed) below the cache folder and run through
their own dynamic loader. The mirror is that of this machine's own apt sources, with
the suite and the architecture changed; apt checks the signatures with the machine's
own Debian keys. Only x86-64 Linux with a Debian mirror can have it.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from keyfob_host.errors import KeyfobHostError, explain_os_error
from keyfob_host.mpy import cache_folder

_SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PACKAGES = ("micropython", "libfaketime")
_PROGRAM = "usr/bin/micropython"
_LIBRARIES = "usr/lib/i386-linux-gnu"
_LOADER = f"{_LIBRARIES}/ld-linux.so.2"
_CLOCK = f"{_LIBRARIES}/faketime/libfaketime.so.1"
_STEP_LIMIT_S = 300
_LOCK_LIMIT_S = 3 * _STEP_LIMIT_S  # the holder may be downloading


class Unavailable(Exception):
    """Why there is none on this machine."""


def folder() -> Path:
    """Where it is kept."""
    return cache_folder() / f"i386-{_SUITE}"


def is_here() -> bool:
    """Whether it was fetched already."""
    return all((folder() / name).is_file() for name in (_PROGRAM, _LOADER, _CLOCK))


def command(*, with_clock: bool = False) -> list[str]:
    """The words that start what `fetch` brought; ``with_clock`` loads libfaketime first.

    The library goes in as the loader's own option: ``LD_PRELOAD`` would reach every
    program that this one starts, and none of them is 32-bit.
    """
    root = folder()
    preload = ["--preload", root / _CLOCK] if with_clock else []
    words = [root / _LOADER, "--library-path", root / _LIBRARIES, *preload, root / _PROGRAM]
    return [str(word) for word in words]


def fetch(on_step: Callable[[str], None] | None = None) -> None:
    """Have it here; ``on_step`` is told before a download. Raises `Unavailable`.

    Two processes at once download it once.
    """
    if is_here():
        return
    if platform.machine() != "x86_64" or sys.platform != "linux":
        raise Unavailable("an i386 program needs x86-64 Linux")
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Unavailable("apt-get and dpkg-deb are not here")
    source = f"deb [arch=i386 signed-by={KEYRING}] {mirror()} {_SUITE} main\n"
    target = folder()
    try:
        with explain_os_error(target, "make the cache folder"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{target}.lock", timeout=_LOCK_LIMIT_S):
                if not is_here():
                    if on_step:
                        on_step(f"fetching a 32-bit MicroPython (Debian {_SUITE}, i386) with apt")
                    _fetch(target, source)
    except Timeout as error:
        raise Unavailable(f"another process holds {error.lock_file}") from error
    except KeyfobHostError as error:
        raise Unavailable(f"{error.cause}: {error.evidence}") from error


def _fetch(target: Path, source: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        state = Path(scratch)
        for name in ("lists/partial", "archives/partial", "etc", "root"):
            (state / name).mkdir(parents=True)
        (state / "status").touch()
        # apt reads as its own user, which a temporary folder of mode 0700 would keep out.
        state.chmod(0o755)
        (state / "etc/sources.list").write_text(source)
        apt = ["apt-get", "-q", *options(state)]
        run([*apt, "update"])
        run([*apt, "install", "--download-only", "--yes", "--no-install-recommends", *_PACKAGES])
        root = state / "root"
        for package in sorted((state / "archives").glob("*.deb")):
            run(["dpkg-deb", "-x", str(package), str(root)])
        missing = [name for name in (_PROGRAM, _LOADER, _CLOCK) if not (root / name).is_file()]
        if missing:
            raise Unavailable(f"the packages of {_SUITE} have no {missing[0]}")
        if target.exists():  # the remains of an older one
            shutil.rmtree(target)
        root.chmod(0o755)
        root.replace(target)


def options(state: Path) -> list[str]:
    """An apt that knows nothing of this machine's packages and leaves them alone."""
    settings = {
        "APT::Architecture": "i386",
        "APT::Architectures": "i386",
        "APT::Sandbox::User": "",
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache::archives": state / "archives",
        "Dir::Etc::sourcelist": state / "etc/sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def mirror() -> str:
    """The Debian archive that this machine installs from."""
    sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    for source in sources:
        if source.suffix not in (".list", ".sources") or not source.is_file():
            continue
        for address in re.findall(r"^[^#\n]*?(https?://\S+)", source.read_text(), re.MULTILINE):
            if str(address).rstrip("/").endswith("/debian"):
                return str(address)
    raise Unavailable("this machine's apt sources name no Debian archive")


def run(words: list[str]) -> None:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            timeout=_STEP_LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{words[0]} gave no answer within {_STEP_LIMIT_S} s") from None
    if done.returncode:
        raise Unavailable(f"{words[0]} failed: {done.stderr.strip()[-300:]}")
