"""A board at a place of labgrid: acquired, used through its network serial port, released.

A place is a name, or ``PLACE/PORT`` where it has several serial ports. The coordinator is
``LG_COORDINATOR``, else the bench file's, else labgrid's own default. What somebody acquired
by hand, as this user on this machine, is used and left acquired; what a killed run of Keyfob
left so is taken over and released. Two runs of one user are kept apart by a lock, because
labgrid takes them for one. Power ports of a place are not used; `keyfob_host.power` can call
``labgrid-client power``.
"""

from __future__ import annotations

import atexit
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.files import write_atomic
from keyfob_host.hil.interrupts import interrupts_deferred
from keyfob_host.hil.labgrid import words
from keyfob_host.hil.labgrid.coordinator import (
    DEFAULT_ADDRESS,
    Coordinator,
    changed_text,
    full_address,
    own_name,
)
from keyfob_host.hil.lock import board_lock, lock_path
from keyfob_host.home import find_home

SCHEME = "labgrid://"
# What this process has acquired, by coordinator and place: asked for again, it is there.
_held: dict[tuple[str, str], str] = {}


@dataclass(frozen=True)
class PlaceState:
    """What labgrid says of a place. ``holder``: ``host/user``, or None where it is free;
    ``port``: its address as far as it is known before it is acquired."""

    holder: str | None
    since: str
    port: str | None


@dataclass(frozen=True)
class _Taken:
    address: str
    place: str  # its full name
    url: str
    is_ours: bool  # to release


@contextmanager
def acquire(place: str, coordinator: str | None = None) -> Iterator[str]:
    """Have ``place`` (with or without ``labgrid://``) for the body: the URL of its serial port.

    Within another body of this process that has it, the same. Errors: ``labgrid.*``
    (`keyfob_host.hil.labgrid.words`), ``board.in-use`` for another run of this machine.
    """
    meant = place.removeprefix(SCHEME).strip("/")
    alias, _, port_name = meant.partition("/")
    address = coordinator_address(coordinator)
    if (address, meant) in _held:
        yield _held[address, meant]
        return
    with Coordinator(address) as there:
        name = str(there.find(alias).name)
    with board_lock(_lock(address, name), f"at labgrid's place {name}"):
        taken = None
        try:
            with interrupts_deferred():
                taken = _take(address, name, port_name)
                _held[address, meant] = taken.url
            yield taken.url
        except BaseException:
            # It stays on record as left behind if this fails: the first error is the one to tell.
            with suppress(KeyfobHostError):
                _give_back(taken)
            raise
        else:
            _give_back(taken)
        finally:
            _held.pop((address, meant), None)


def resolve(place: str, coordinator: str | None = None) -> str:
    """As `acquire`, to the end of the command that runs, or of the process."""
    have = acquire(place, coordinator)
    url = have.__enter__()
    command = click.get_current_context(silent=True)
    at_end = atexit.register if command is None else command.find_root().call_on_close
    at_end(lambda: have.__exit__(None, None, None))
    return url


def look(place: str, coordinator: str | None = None) -> PlaceState:
    """Who has the place now; nothing is acquired. Errors: ``labgrid.*``."""
    name, _, port_name = place.removeprefix(SCHEME).strip("/").partition("/")
    with Coordinator(coordinator_address(coordinator)) as there:
        found = there.find(name)
        path = _choose(there, found, port_name)
        return PlaceState(found.acquired, changed_text(found), _url(there.resources[path]))


def coordinator_address(coordinator: str | None = None) -> str:
    """``host:port`` of the coordinator to ask. Error: ``labgrid.bad-address``."""
    return full_address(os.environ.get("LG_COORDINATOR") or coordinator or DEFAULT_ADDRESS)


def _take(address: str, name: str, port_name: str) -> _Taken:
    with Coordinator(address) as there:
        found = there.find(name)
        path = _choose(there, found, port_name)
        before, me = found.acquired, own_name()
        if before and before != me and me not in found.allowed:
            raise words.held(found.name, before, changed_text(found), address)
        _check_usable(there, found.name, path)
        if not before:
            there.acquire(found.name)
        try:
            if not before:
                _note_taken(there, found.name)
            url = _url(there.resources[path]) if path in there.resources else None
            if url is None:
                why = "its exporter started no server for it"
                raise words.not_available(found.name, "/".join(path), why, address)
        except BaseException:
            if not before:
                _release(there, found.name)
            raise
        is_ours = not before or _note(address, found.name) == there.places[found.name].changed
        return _Taken(address, found.name, url, is_ours)


def _choose(there: Coordinator, place: Any, port_name: str) -> tuple[str, str, str, str]:
    """The path of the serial port that is meant."""
    ports = there.serial_ports(place)
    names = {place.getmatch(path).rename or path[3]: path for path in ports}
    if port_name in names:
        return names[port_name]
    if len(ports) > 1 or (ports and port_name):
        raise words.which_port(place.name, port_name, sorted(names))
    if not ports:
        matches, paths = map(str, place.matches), ("/".join(path) for path in there.resources)
        raise words.no_resource(place.name, list(matches), list(paths), there.address)
    return next(iter(ports))


def _check_usable(there: Coordinator, place: str, path: tuple[str, str, str, str]) -> None:
    resource, shown = there.resources[path], "/".join(path)
    if resource.extra.get("proxy_required"):
        proxy = str(resource.extra.get("proxy"))
        raise words.needs_proxy(place, shown, proxy, _url(resource) or "PORT")
    if not resource.avail:
        why = str(resource.extra.get("broken") or f"{resource.extra.get('path') or 'it'} is not "
                  "there")  # fmt: skip
        raise words.not_available(place, shown, why, there.address)


def _url(resource: Any) -> str | None:
    """Where a ``NetworkSerialPort`` is reached; None as long as nothing serves it."""
    host, port = resource.params.get("host"), resource.params.get("port")
    if not host or not port:
        return None
    scheme = "socket" if resource.params.get("protocol") == "raw" else "rfc2217"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{int(port)}"


def _give_back(taken: _Taken | None) -> None:
    """Release what was acquired here, Ctrl-C or not. Error: ``labgrid.not-released``."""
    if taken is None or not taken.is_ours:
        return
    try:
        with interrupts_deferred(), Coordinator(taken.address) as there:
            _release(there, taken.place)
    except KeyfobHostError as error:
        raise KeyfobHostError(
            "labgrid.not-released", f"the place {taken.place} stays acquired",
            evidence=error.evidence,
            fix=f"labgrid-client -x {taken.address} -p {taken.place} release",
            status=ExitStatus.NETWORK,
        ) from error  # fmt: skip


def _release(there: Coordinator, place: str) -> None:
    there.release(place)
    _note_path(there.address, place).unlink(missing_ok=True)


def _note_taken(there: Coordinator, place: str) -> None:
    """On record until it is released, with labgrid's time: whoever acquires it later, by hand,
    gives it another one."""
    path = _note_path(there.address, place)
    write_atomic(path, json.dumps({"changed": there.places[place].changed}))


def _note(address: str, place: str) -> float | None:
    try:
        return float(json.loads(_note_path(address, place).read_text())["changed"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note_path(address: str, place: str) -> Path:
    return find_home().ensure_runtime().parent / f"labgrid-{_slug(address, place)}.json"


def _lock(address: str, place: str) -> Path:
    return lock_path(find_home(), place, f"/labgrid/{_slug(address, place)}")


def _slug(address: str, place: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{address}-{place}").strip("-")
