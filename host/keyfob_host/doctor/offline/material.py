"""Certificates, keys and lists of what was given, with who uses which: groups for the linter.

A mosquitto.conf, an identity's folder, a board's slot and a CA's folder say it themselves. Of
loose files the broker's is the one that the configuration names or the tap saw served; others
are boards' if the broker's is known, by their name, or else by their usages. Files that a
configuration names elsewhere are looked for by their names among those given, as folders are
copied to where they are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from keyfob_host.errors import KeyfobHostError
from keyfob_host.lint.certificate import Certificate, read_certificate
from keyfob_host.lint.finding import Role
from keyfob_host.lint.mosquitto_conf import FILE_OPTIONS, find, read_conf
from keyfob_host.lint.reading import FileRead, Item, read_file
from keyfob_host.lint.roles import looks_like_ca, role_by_usage
from keyfob_host.lint.sources import Group, Source, gather
from keyfob_host.lint.subjects import Use
from keyfob_host.printable import LINE_CHARS, printable

_CONF_USES: dict[str, Use] = {
    "cafile": "anchors", "certfile": "chain", "keyfile": "key", "crlfile": "crl",
}  # fmt: skip
_KNOWN_FOLDERS = (
    {"cert.pem", "chain.pem"}, {"ca.cert.pem"}, {"cert.der", "ca.der"},
)  # fmt: skip
_BOARDS_NAMES = ("client", "device", "board", "sensor", "esp", "node")
_BROKERS_NAMES = ("server", "broker", "mosquitto")


@dataclass
class Material:
    """``ends``: (role, file, certificates of that file). ``anchors``: of the broker's
    ``cafile`` and of boards. ``served``: the files that a configuration names for its
    listeners, ``crlfiles`` the lists among them. ``notes``: what of that is not among the files."""

    groups: list[Group] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    cafile: list[Certificate] = field(default_factory=list)
    cafile_path: str = ""
    board_anchors: list[tuple[str, tuple[Certificate, ...]]] = field(default_factory=list)
    everyone: list[Certificate] = field(default_factory=list)
    served: set[str] = field(default_factory=set)
    crlfiles: set[str] = field(default_factory=set)
    has_conf: bool = False
    has_crl: bool = False
    notes: list[str] = field(default_factory=list)

    def of_role(self, role: Role) -> list[End]:
        """Readable end-entities of that role; of brokers' those that are served, if it is known."""
        found = [one for one in self.ends if one.role == role and one.cert.is_readable]
        served = [one for one in found if one.path in self.served]
        return served if role == "broker" and served else found

    def is_unused(self, path: str, role: Role | None) -> bool:
        """Whether another broker's certificate is served than that of ``path``."""
        return role == "broker" and bool(self.served) and path not in self.served

    def is_asked(self, path: str) -> bool:
        """Whether the broker looks at the list of ``path``, as far as it is known."""
        return not self.has_conf or path in self.crlfiles


@dataclass(frozen=True)
class End:
    """An end-entity's certificate and what stands with it in its file."""

    role: Role | None
    path: str
    cert: Certificate
    sent: tuple[Certificate, ...]


def collect(
    pki: Iterable[Path],
    confs: Iterable[Path],
    served: Iterable[bytes],
    shown: Iterable[tuple[bytes, ...]],
) -> Material:
    """What a tap saw, in DER: ``served``, the broker's certificates, ``shown``, boards' chains."""
    found = Material()
    files = {path.absolute(): path for path in pki}
    by_name: dict[str, list[Path]] = {}
    for path in files.values():
        by_name.setdefault(path.name, []).append(path)
    taken: set[Path] = set()
    for conf in confs:
        taken |= _take_conf(found, conf, by_name)
    for folder in dict.fromkeys(path.parent for path in files.values()):
        names = {path.name for path in files.values() if path.parent == folder}
        if any(known <= names for known in _KNOWN_FOLDERS):
            taken |= _take_folder(found, folder)
    loose = [path for at, path in files.items() if at not in taken]
    own = set(shown)
    _take_loose(found, loose, set(served), {chain[0] for chain in own})
    _take_shown(found, own)
    for group in found.groups:
        _note_certificates(found, group)
    return found


def _take_conf(found: Material, conf: Path, by_name: dict[str, list[Path]]) -> set[Path]:
    try:
        listeners = read_conf(conf)
    except KeyfobHostError as error:
        found.notes.append(f"{conf}: {error.cause}")
        return set()
    taken: set[Path] = set()
    for listener in listeners:
        found.has_conf = True
        group = Group("mosquitto", conf, "broker", listener=listener)
        for option in FILE_OPTIONS:
            value = listener.options.get(option)
            if value is None:
                continue
            path = _resolved(conf, value, by_name)
            if path is None:
                shown = printable(value, limit=LINE_CHARS)
                found.notes.append(f"{conf}: {option} {shown} is not among the files")
                continue
            group.add(path, _CONF_USES[option])
            taken.add(path.absolute())
            used = found.crlfiles if option == "crlfile" else found.served
            used.add(str(path))
            if option == "cafile":
                found.cafile_path = str(path)
        found.groups.append(group)
    return taken


def _resolved(conf: Path, value: str, by_name: dict[str, list[Path]]) -> Path | None:
    try:
        path = find(conf, value)
        if path.is_file():
            return path
    except (OSError, ValueError):
        pass
    named = by_name.get(Path(value).name, [])
    near = sorted(named, key=lambda one: one.parent != conf.parent)
    return near[0] if near else None


def _take_folder(found: Material, folder: Path) -> set[Path]:
    try:
        groups = [one for one in gather([folder]) if one.path == folder and one.kind != "loose"]
    except KeyfobHostError as error:
        found.notes.append(f"{folder}: {error.cause}")
        return set()
    found.groups += groups
    return {source.read.path.absolute() for group in groups for source in group.sources}


def _take_loose(found: Material, paths: list[Path], served: set[bytes], shown: set[bytes]) -> None:
    reads: list[FileRead] = []
    for path in paths:
        try:
            reads.append(read_file(path))
        except KeyfobHostError as error:
            found.notes.append(f"{path}: {error.cause}")
    certs = {id(read): [read_certificate(one.der) for one in read.of_kind("certificate")]
             for read in reads}  # fmt: skip
    every = [cert for one in certs.values() for cert in one]
    brokers = served | {
        source.read.of_kind("certificate")[0].der
        for group in found.groups if group.role == "broker"
        for source in group.sources
        if source.use == "chain" and source.read.of_kind("certificate")
    }  # fmt: skip
    split: dict[Role | None, list[FileRead]] = {"broker": [], "device": [], None: []}
    keys: list[FileRead] = []
    for read in reads:
        ends = [one for one in certs[id(read)] if not looks_like_ca(one, every)]
        if ends:
            split[_role(read.path, ends[0], brokers, shown)].append(read)
        elif certs[id(read)] or not read.of_kind("key"):
            keys.append(read)
        else:
            split[_role_of_key(read, certs, split)].append(read)
    common = keys
    for role, members in split.items():
        if members or (role is None and common):
            group = Group("loose", (members or common)[0].path, role)
            group.sources = [Source(read, "any") for read in (*members, *common)]
            found.groups.append(group)


def _take_shown(found: Material, shown: set[tuple[bytes, ...]]) -> None:
    """Chains of boards that are in no file: what a board has need not be what the host has."""
    known = {
        item.der for group in found.groups for source in group.sources
        for item in source.read.of_kind("certificate")
    }  # fmt: skip
    for number, chain in enumerate(one for one in shown if one[0] not in known):
        read = FileRead(Path(f"seen by the tap, board's chain {number + 1}"), is_pem=True)
        read.items = [Item("certificate", der, at) for at, der in enumerate(chain, start=1)]
        found.groups.append(
            Group("loose", read.path, "device", [Source(read, "chain")])
        )  # fmt: skip


def _role(path: Path, cert: Certificate, brokers: set[bytes], shown: set[bytes]) -> Role | None:
    if cert.der in brokers:
        return "broker"
    if cert.der in shown:
        return "device"
    name = path.name.lower()
    if any(one in name for one in _BOARDS_NAMES):
        return "device"
    if any(one in name for one in _BROKERS_NAMES):
        return "broker"
    return "device" if brokers else role_by_usage(cert)


def _role_of_key(
    read: FileRead, certs: dict[int, list[Certificate]], split: dict[Role | None, list[FileRead]]
) -> Role | None:
    """Whose certificate stands beside it, by stem, then by folder."""
    for stem in (read.path.stem, None):
        for role, members in split.items():
            for one in members:
                if one.path.parent == read.path.parent and stem in (one.path.stem, None):
                    return role
    return next((role for role, members in split.items() if members), None)


def _note_certificates(found: Material, group: Group) -> None:
    certs: dict[int, tuple[Certificate, ...]] = {}
    for source in group.sources:
        found.has_crl |= bool(source.read.of_kind("crl"))
        if source.use not in ("key", "crl"):
            read = tuple(read_certificate(one.der) for one in source.read.of_kind("certificate"))
            certs[id(source)] = tuple(one for one in read if one.is_readable)
    every = [cert for one in certs.values() for cert in one]
    found.everyone += every
    for source in group.sources:
        own = certs.get(id(source), ())
        if source.use == "anchors":
            if group.kind == "mosquitto":
                found.cafile += own
            elif group.role == "device" and own:
                found.board_anchors.append((str(source.read.path), own))
            continue
        is_end = source.use in ("chain", "any") and group.kind != "ca"
        if is_end and own and not looks_like_ca(own[0], every):
            role = group.role or role_by_usage(own[0])
            found.ends.append(End(role, str(source.read.path), own[0], own))
