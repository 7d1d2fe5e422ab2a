"""The files that a mosquitto.conf names, listener by listener.

Relative paths are taken from the configuration's folder, then from the working directory
(mosquitto takes its own). Not followed: ``capath`` and ``include_dir``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from keyfob_host.files import read_bounded

FILE_OPTIONS = ("cafile", "certfile", "keyfile", "crlfile")
_OPTIONS = (*FILE_OPTIONS, "tls_version")


@dataclass
class Listener:
    """``title``: its line, or "the default listener". ``options``: what it says of TLS."""

    title: str
    options: dict[str, str] = field(default_factory=dict)


def read_conf(path: Path) -> list[Listener]:
    """The listeners that have something of TLS. Errors: `KeyfobHostError` ``file.*``."""
    text = read_bounded(path, "read the broker's configuration").decode("utf-8", "replace")
    listeners = [Listener("the default listener")]
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "listener":
            listeners.append(Listener(line.strip()))
        elif name in _OPTIONS and value.strip():
            listeners[-1].options[name] = value.strip()
    return [one for one in listeners if one.options]


def find(conf: Path, value: str) -> Path:
    """Where the file is that the configuration calls ``value``."""
    given = Path(value).expanduser()
    beside = conf.parent / given
    return beside if given.is_absolute() or beside.exists() or not given.exists() else given
