"""What keeps a place of labgrid from being used, in words: cause, what labgrid shows, fix.

Errors alone, made from what the coordinator said; nobody is asked here. Fixes are commands of
``labgrid-client``, which comes with the package, with the coordinator's address in them.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from shlex import quote

from keyfob_host.errors import ExitStatus, KeyfobHostError


def not_installed(error: ImportError) -> KeyfobHostError:
    """The extra is missing."""
    return KeyfobHostError(
        "labgrid.not-installed",
        "a place of labgrid was asked for, and the package labgrid is not installed",
        evidence=str(error), fix="pip install 'keyfob[labgrid]'", status=ExitStatus.HOST,
    )  # fmt: skip


def bad_address(address: str) -> KeyfobHostError:
    """The coordinator's address cannot be one."""
    return KeyfobHostError(
        "labgrid.bad-address", "this is no address of a labgrid coordinator",
        evidence=f"{address!r}; want HOST or HOST:PORT",
        fix="export LG_COORDINATOR=HOST:20408", status=ExitStatus.USAGE,
    )  # fmt: skip


def no_coordinator(address: str, why: str) -> KeyfobHostError:
    """Nobody listens there."""
    return KeyfobHostError(
        "labgrid.no-coordinator", "labgrid's coordinator is not reached",
        evidence=f"{address}: {why}",
        fix=f"start it: labgrid-coordinator -l {address}; or name another one: "
        "export LG_COORDINATOR=HOST:20408",
        status=ExitStatus.NETWORK,
    )  # fmt: skip


def no_answer(address: str, why: str) -> KeyfobHostError:
    """Somebody listens and does not answer as a coordinator, or stopped in the middle."""
    return KeyfobHostError(
        "labgrid.no-answer", "what listens at the coordinator's address does not answer as one",
        evidence=f"{address}: {why}",
        fix=f"labgrid-client -x {address} places  # labgrid before 25.0 spoke another protocol",
        status=ExitStatus.NETWORK,
    )  # fmt: skip


def unknown_place(place: str, known: Sequence[str], address: str) -> KeyfobHostError:
    """The coordinator has no such place."""
    near = difflib.get_close_matches(place, known, 1)
    fix = f"take --port labgrid://{near[0]}; or " if near else ""
    client = f"labgrid-client -x {address} -p {quote(place)}"
    return KeyfobHostError(
        "labgrid.unknown-place", f"the coordinator knows no place {place!r}",
        evidence=f"{address} has: {', '.join(sorted(known)) or 'no place at all'}",
        fix=f"{fix}make it: {client} create; {client} add-match EXPORTER/GROUP/NetworkSerialPort",
        status=ExitStatus.USAGE,
    )  # fmt: skip


def held(place: str, holder: str, since: str, address: str) -> KeyfobHostError:
    """Somebody else has acquired the place."""
    return KeyfobHostError(
        "labgrid.held", f"{holder} has acquired the place {place}",
        evidence=f"{address}: {place}: acquired: {holder}, changed: {since}",
        fix=f"wait until {holder} releases it; if nobody works there any more: "
        f"labgrid-client -x {address} -p {quote(place)} release --kick",
        status=ExitStatus.HOST,
    )  # fmt: skip


def not_acquired(place: str, why: str, address: str) -> KeyfobHostError:
    """The coordinator refused: a resource is another place's, or broken, or it is reserved."""
    return KeyfobHostError(
        "labgrid.not-acquired", f"labgrid does not give the place {place}",
        evidence=f"{address}: {why}",
        fix=f"labgrid-client -x {address} -p {quote(place)} show; "
        f"labgrid-client -x {address} -v resources",
        status=ExitStatus.HOST,
    )  # fmt: skip


def no_resource(
    place: str, matches: Sequence[str], resources: Sequence[str], address: str
) -> KeyfobHostError:
    """None of the serial ports that are exported belongs to the place."""
    return KeyfobHostError(
        "labgrid.no-resource",
        f"no serial port that is exported now belongs to the place {place}",
        evidence=f"the place matches: {', '.join(matches) or 'nothing'}; "
        f"exported: {', '.join(sorted(resources)) or 'nothing'}",
        fix="if its exporter is missing, on its machine: "
        f"labgrid-exporter -c {address} FILE.yaml; if its match is: "
        f"labgrid-client -x {address} -p {quote(place)} add-match "
        "EXPORTER/GROUP/NetworkSerialPort",
        status=ExitStatus.HOST,
    )


def which_port(place: str, asked: str, names: Sequence[str]) -> KeyfobHostError:
    """The place matches several serial ports, or none of the name that was ``asked`` for."""
    return KeyfobHostError(
        "labgrid.which-port",
        f"it must be said which serial port of the place {place} is meant",
        evidence=f"it has: {', '.join(names)}; asked for: {asked or 'none of them'}",
        fix=f"--port labgrid://{place}/{names[0]}",
        status=ExitStatus.USAGE,
    )  # fmt: skip


def not_available(place: str, resource: str, why: str, address: str) -> KeyfobHostError:
    """The exporter has the resource, and cannot serve it now."""
    return KeyfobHostError(
        "labgrid.not-available", f"the serial port of the place {place} is not available",
        evidence=f"{resource}: {why}",
        fix="see that the board is plugged in there, and what its exporter says: "
        f"labgrid-client -x {address} -v resources",
        status=ExitStatus.BOARD,
    )  # fmt: skip


def needs_proxy(place: str, resource: str, proxy: str, url: str) -> KeyfobHostError:
    """The exporter is isolated: its ports are reached through SSH alone."""
    host_and_port = url.partition("://")[2]
    return KeyfobHostError(
        "labgrid.needs-proxy",
        f"the exporter of the place {place} gives its ports to SSH alone, which keyfob does not "
        "set up",
        evidence=f"{resource}: proxy_required, proxy {proxy}, {url}",
        fix=f"ssh -N -L 2217:{host_and_port} {proxy}; then: --port rfc2217://127.0.0.1:2217",
        status=ExitStatus.HOST,
    )  # fmt: skip
