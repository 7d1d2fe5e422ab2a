"""Why mosquitto is not there or did not come up, in words.

mosquitto writes OpenSSL's text in several wrappings, so its log is matched on the
text. The log itself stays the evidence.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.listeners import who_listens

# Debian keeps it out of a user's PATH; Homebrew's prefix differs between processors.
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/usr/local/opt/mosquitto/sbin")

_INSTALL = {
    "debian": "sudo apt-get install mosquitto",
    "fedora": "sudo dnf install mosquitto",
    "rhel": "sudo dnf install epel-release && sudo dnf install mosquitto",
    "arch": "sudo pacman -S mosquitto",
    "alpine": "sudo apk add mosquitto",
    "suse": "sudo zypper install mosquitto",
}
_EVIDENCE_LINES = 6


def find_mosquitto() -> str:
    """The program's path (``KEYFOB_MOSQUITTO`` goes first); error ``broker.mosquitto-missing``."""
    named = os.environ.get("KEYFOB_MOSQUITTO", "mosquitto")
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_PLACES])
    found = shutil.which(named, path=path)
    if found:
        return found
    raise KeyfobHostError(
        "broker.mosquitto-missing",
        "the broker mosquitto is not installed on this machine",
        evidence=f"no program {named!r} in {path}",
        fix=install_command(),
        status=ExitStatus.HOST,
    )


def install_command(os_release: Path = Path("/etc/os-release")) -> str:
    """How to install mosquitto on this system."""
    if sys.platform == "darwin":
        return "brew install mosquitto"
    try:
        text = os_release.read_text(errors="replace")
    except OSError:
        text = ""
    ids = re.findall(r"^ID(?:_LIKE)?=(.*)$", text, re.MULTILINE)
    for word in " ".join(ids).replace('"', "").replace("'", "").split():
        for family, command in _INSTALL.items():
            if word.startswith(family) or (word == "ubuntu" and family == "debian"):
                return command
    return "install the package mosquitto: https://mosquitto.org/download/"


def did_not_start(log: str, host: str, port: int, folder: Path) -> KeyfobHostError:
    """The error for a mosquitto that ended; ``log`` is what it wrote in this start."""
    lines = [line for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|unable|unknown option", line, re.I)]
    shown = "\n".join((errors or lines)[-_EVIDENCE_LINES:]) or "it wrote nothing"
    if "Address already in use" in log:
        return KeyfobHostError(
            "broker.port-taken",
            f"port {port} is taken",
            evidence=f"{host}:{port} is held by {who_listens(port)}",
            fix=f"end that program, or take another port: keyfob broker up --port {port + 1}",
            status=ExitStatus.HOST,
        )
    if re.search(r"Cannot assign requested address|Error resolving|not known", log):
        return KeyfobHostError(
            "broker.bad-address",
            "the broker cannot listen on this address: it is not one of this machine's",
            evidence=f"--bind {host}\n{shown}",
            fix="keyfob broker up --bind 127.0.0.1",
            status=ExitStatus.HOST,
        )
    if "Permission denied" in log and port < 1024:
        return KeyfobHostError(
            "broker.port-privileged",
            f"port {port} is for root alone",
            evidence=shown,
            fix="keyfob broker up --port 8883",
            status=ExitStatus.HOST,
        )
    for text, cause in (  # the particular before the general
        ("ee key too small", "its certificate's key is too small for this OpenSSL"),
        ("md too weak", "its certificate is signed with a hash too weak for this OpenSSL"),
        ("key values mismatch", "its certificate and key do not belong together"),
        ("inconsistent", "its certificate and key do not belong together"),
        ("Unable to load server key", "it cannot read its key"),
        ("Unable to load server certificate", "it cannot read its certificate"),
        ("Unable to load CA", "it cannot read the CA certificate"),
        ("Permission denied", "this user may not read or write one of its files"),
        ("Unknown option", "this mosquitto is too old for the configuration (2.0 is needed)"),
    ):
        if text in log:
            return _died(cause, shown, folder)
    return _died("see what it wrote", shown, folder)


def _died(cause: str, shown: str, folder: Path) -> KeyfobHostError:
    return KeyfobHostError(
        "broker.died",
        f"mosquitto ended right after its start: {cause}",
        evidence=shown,
        fix=f"ls -l {folder}; mosquitto -v -c {folder / 'mosquitto.conf'}",
        status=ExitStatus.HOST,
    )


def did_not_answer(log: str, host: str, port: int, timeout_s: float, why: str) -> KeyfobHostError:
    """The error for a mosquitto that runs but accepted no connection in time."""
    last = "\n".join(log.splitlines()[-_EVIDENCE_LINES:])
    return KeyfobHostError(
        "broker.no-answer",
        f"mosquitto runs but accepted no TLS connection within {timeout_s:g} s",
        evidence=f"{host}:{port}: {why}\n{last}",
        fix="keyfob broker log",
        status=ExitStatus.NETWORK,
    )


def did_not_reload(log: str) -> KeyfobHostError:
    """The error for a mosquitto that could not use what it read again on a SIGHUP."""
    lines = [line for line in log.splitlines() if "rror" in line]
    return KeyfobHostError(
        "broker.not-reloaded",
        "mosquitto could not reread its certificate, key or CRL, and goes on with the old ones",
        evidence="\n".join(lines[-_EVIDENCE_LINES:]),
        fix="keyfob broker down, then keyfob broker up",
        status=ExitStatus.NETWORK,
    )
