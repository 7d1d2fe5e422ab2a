"""The files that a mosquitto.conf names, listener by listener.

Relative paths are taken from the configuration's folder, from the one above (if it is an
included one), then from the working directory; mosquitto takes its own. Not followed:
``capath``, and ``include_dir`` of included files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keyfob_host.errors import explain_os_error
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
    listeners = [Listener("the default listener")]
    for name, value in _settings(path, is_included=False):
        if name == "listener":
            listeners.append(Listener(f"listener {value}"))
        elif name in _OPTIONS:
            listeners[-1].options[name] = value
    return [one for one in listeners if one.options]


def _settings(path: Path, *, is_included: bool) -> Iterator[tuple[str, str]]:
    """Each line's name and value; in the place of ``include_dir`` those of its files."""
    text = read_bounded(path, "read the broker's configuration").decode("utf-8", "replace")
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        value = value.strip()
        if name == "include_dir" and value and not is_included:
            folder = find(path, value)
            with explain_os_error(folder, "look into the included folder"):
                files = sorted(one for one in folder.iterdir() if one.suffix == ".conf")
            for one in files:
                yield from _settings(one, is_included=True)
        elif value:
            yield name, value


def find(conf: Path, value: str) -> Path:
    """Where the file is that the configuration calls ``value``."""
    given = Path(value).expanduser()
    above = conf.absolute().parent
    places = [conf.parent / given, above.parent / given, given]
    try:
        return next((place for place in places if place.exists()), places[0])
    except PermissionError:  # told when it is read
        return places[0]
