#!/usr/bin/env python3
"""Set up this checkout: ``.venv`` with everything from pyproject.toml, and mosquitto.

Needs Python 3.10 and nothing else; every make target runs it first. It does only
what is missing, says what it does, and can be interrupted and run again, or run
twice at once. It installs system packages with apt only (with sudo if not root);
elsewhere it says which command to type. SoftHSM, which tests alone use, is installed
where that needs no question, and otherwise left out; on CI alone (CI=true in the
environment, as .ci/run sets it) a browser for the tests of the pages, which is large,
ser2net for those of boards elsewhere, which would serve ports of this machine from then
on, and mosquitto's clients.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".keyfob-setup"
OLDEST = (3, 10)


def main():
    started = time.monotonic()
    if sys.version_info < OLDEST:
        refuse(
            f"Keyfob needs Python 3.10 or newer; {sys.executable} is {sys.version.split()[0]}",
            "apt install python3.11 python3.11-venv, then: make PYTHON=python3.11",
        )
    with open(ROOT / ".setup.lock", "w") as lock:  # noqa: PTH123 (two at once wait here)
        fcntl.flock(lock, fcntl.LOCK_EX)
        steps = (virtual_environment, packages, mosquitto, softhsm)
        done = [step() for step in (*steps, chromium, ser2net, mosquitto_clients)]
    if any(done):
        say(f"set up in {time.monotonic() - started:.0f} s")


def virtual_environment():
    """Make .venv where it is missing or was left half-made."""
    if works():
        return False
    if VENV.exists():
        say(".venv was left incomplete: making it again")
        shutil.rmtree(VENV)
    say(f"making .venv with Python {sys.version.split()[0]}")
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True)
    if made.returncode and "ensurepip" in made.stdout + made.stderr:
        apt_install(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv", "venv is missing")
        shutil.rmtree(VENV, ignore_errors=True)
        made = subprocess.run(
            [sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True
        )
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        refuse(f"cannot make .venv: {(made.stderr or made.stdout).strip()}", "df -h . ; ls -ld .")
    return True


def works():
    """Whether .venv's Python starts and has pip."""
    try:
        answer = subprocess.run([str(PYTHON), "-m", "pip", "--version"], capture_output=True)
    except OSError:
        return False
    return answer.returncode == 0


def packages():
    """Install what pyproject.toml lists, if it changed since the last time."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return False
    say("installing the Python packages of pyproject.toml into .venv (about half a minute)")
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installed = subprocess.run([*command, "-e", f"{ROOT}[dev]"], capture_output=True, text=True)
    if installed.returncode:
        lines = [x for x in installed.stderr.splitlines() if not x.startswith("WARNING")]
        refuse(
            "pip could not install the packages:\n" + "\n".join(lines[-15:]),
            f"check the network, then: {PYTHON} -m pip install -e '.[dev]'",
        )
    STAMP.write_text(wanted)
    return True


def mosquitto():
    """Install the broker where it is missing (Debian puts it into /usr/sbin)."""
    if shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"):
        return False
    apt_install("mosquitto", "the broker mosquitto is missing")
    return True


def softhsm():
    """Try once to install the token of the PKCS#11 tests, which are skipped without it."""
    tried = VENV / ".keyfob-softhsm"
    if tried.exists() or shutil.which("softhsm2-util") or not shutil.which("apt-get"):
        return False
    tried.touch()
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    if sudo and not shutil.which("sudo"):
        return False
    install = [*sudo, "apt-get", "install", "--yes", "--quiet", "--no-install-recommends"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run([*install, "softhsm2"], capture_output=True, env=environment)
    say(f"SoftHSM for the PKCS#11 tests: {'no, they are skipped' if done.returncode else 'yes'}")
    return True


def chromium():
    """On CI, install the browser for the tests of the doctor's page; elsewhere they are skipped."""
    if os.environ.get("CI") != "true" or all(map(shutil.which, ("chromium", "chromedriver"))):
        return False
    apt_install("chromium-driver", "the browser chromium is missing")  # brings the browser
    return True


def ser2net():
    """On CI, install it for the tests of boards elsewhere; without it some are skipped."""
    if os.environ.get("CI") != "true" or shutil.which(
        "ser2net", path=os.environ.get("PATH", "") + ":/usr/sbin"
    ):
        return False
    apt_install("ser2net", "the serial port server ser2net is missing")
    return True


def mosquitto_clients():
    """On CI, install what plays a device of somebody else's; without it some are skipped."""
    if os.environ.get("CI") != "true" or shutil.which("mosquitto_pub"):
        return False
    apt_install("mosquitto-clients", "mosquitto's own clients are missing")
    return True


def apt_install(package, why):
    if not shutil.which("apt-get"):
        refuse(
            f"{why}, and there is no apt-get here to install it",
            f"dnf install {package}  |  pacman -S {package}  |  brew install {package}",
        )
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    if sudo and not shutil.which("sudo"):
        refuse(f"{why}, and only root may install it", f"as root: apt-get install {package}")
    install = [*sudo, "apt-get", "install", "--yes", "--quiet", "--no-install-recommends", package]
    say(f"{why}: {' '.join(install)}")
    # The package lists of a fresh machine are empty, so refresh them only then:
    # the first attempt fails at once and costs nothing.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(install, capture_output=True, env=environment).returncode:
        subprocess.run([*sudo, "apt-get", "update", "--quiet"], capture_output=True)
        tried = subprocess.run(install, capture_output=True, text=True, env=environment)
        if tried.returncode:
            refuse(
                f"apt-get could not install {package}:\n{tried.stderr[-800:]}", " ".join(install)
            )


def say(text):
    print(f"setup  {text}", file=sys.stderr, flush=True)


def refuse(cause, fix):
    print(f"error  {cause}\nfix    {fix}", file=sys.stderr, flush=True)
    sys.exit(4)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
