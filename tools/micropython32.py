#!/usr/bin/env python3
"""A 32-bit MicroPython, for object sizes and heap as on an ESP8266 or ESP32.

Prints the command that runs it. Fetched once: Debian trixie's ``micropython`` for
i386 with the libraries it needs, unpacked (not installed) below the cache folder and
run through its own dynamic loader. The mirror is that of this machine's own apt
sources, with the suite and the architecture changed; apt checks the signatures with
the machine's own Debian keys.

    $(tools/micropython32.py) -X heapsize=38k program.py

Exit status 3 and the reason where it cannot be had: no apt, no Debian mirror, not
x86-64 Linux.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Unavailable(Exception):
    """Why there is none on this machine."""


def cache() -> Path:
    base = os.environ.get("KEYFOB_CACHE") or Path.home() / ".cache" / "keyfob"
    return Path(base) / f"micropython32-{SUITE}"


def command() -> list[str]:
    """The words that start it; fetched first if need be. Raises `Unavailable`."""
    folder = cache()
    if not (folder / "usr/bin/micropython").exists():
        fetch(folder)
    libraries = folder / "usr/lib/i386-linux-gnu"
    words = [libraries / "ld-linux.so.2", "--library-path", libraries]
    return [str(word) for word in (*words, folder / "usr/bin/micropython")]


def fetch(folder: Path) -> None:
    if platform.machine() != "x86_64" or sys.platform != "linux":
        raise Unavailable("an i386 program needs x86-64 Linux")
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Unavailable("apt-get and dpkg-deb are not here")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        state = Path(scratch)
        for name in ("lists/partial", "archives/partial", "etc"):
            (state / name).mkdir(parents=True)
        (state / "status").touch()
        # apt reads as its own user, which a temporary folder of mode 0700 would keep out.
        state.chmod(0o755)
        (state / "etc/sources.list").write_text(
            f"deb [arch=i386 signed-by={KEYRING}] {mirror()} {SUITE} main\n"
        )
        apt = ["apt-get", "-q", *options(state)]
        run([*apt, "update"])
        run([*apt, "install", "--download-only", "--yes", "--no-install-recommends", "micropython"])
        root = state / "root"
        for package in sorted((state / "archives").glob("*.deb")):
            run(["dpkg-deb", "-x", str(package), str(root)])
        if not folder.exists():
            root.replace(folder)


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
            if address.rstrip("/").endswith("/debian"):
                return address
    raise Unavailable("this machine's apt sources name no Debian archive")


def run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(words[:1])} failed: {done.stderr.strip()[-300:]}")


def main() -> int:
    try:
        print(" ".join(command()))
    except Unavailable as why:
        print(f"no 32-bit MicroPython: {why}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
