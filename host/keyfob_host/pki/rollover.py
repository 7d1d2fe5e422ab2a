"""From one CA to the next, with an overlap in which both are trusted.

1. `begin` makes the next CA in ``ca/next/``. From then on boards, brokers and the host are
   given both as trust anchors; the present one still signs.
2. `switch`, when every board has both: the next CA is in ``ca/`` and signs, the one before
   is in ``ca/previous/`` and is trusted still. Brokers and devices get certificates of the
   new one, in any order.
3. `finish`, when nothing of the former is in use: nobody is given it as an anchor any more.

Each step is one exchange of the folder ``ca/`` or none, then what follows from it; a step
that was cut short is completed by the same command. What boards have got cannot be seen
here (`keyfob rotate` tells).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import KEY_MODE, PUBLIC_MODE, read_bounded, write_atomic
from keyfob_host.home import Home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.ca_folder import (
    CLIENTS_FILE,
    NEXT,
    PREVIOUS,
    load_ca_cert,
    load_issuing_cert,
    trusted_certs,
)
from keyfob_host.pki.crl import CRL_FILE, LAST_CRLS_FILE, crl_path, is_signed_by, read_crls
from keyfob_host.pki.folder import remove_remains, write_folder
from keyfob_host.pki.identity import certs_pem, leads_to, load_certs
from keyfob_host.pki.keys import PrivateKey
from keyfob_host.pki.profiles import Profile

Phase = Literal["none", "begun", "switched"]

# A CRL may have an entry for each certificate there ever was.
_MAX_BYTES = 64 << 20
# Of the bench, and of no one CA.
_SHARED = (CLIENTS_FILE, CRL_FILE, LAST_CRLS_FILE)


@dataclass(frozen=True)
class Rollover:
    """``other``: the next CA while it is "begun", the former one once it is "switched".

    ``left``: names of the identities whose certificates are the former CA's and not revoked.
    """

    phase: Phase
    current: x509.Certificate
    other: x509.Certificate | None
    left: tuple[str, ...]


def rollover_state(home: Home) -> Rollover:
    """How far it is. Errors: ``ca.missing``, ``cert.unreadable``, ``file.*``."""
    current = load_ca_cert(home.ca_dir)
    if (home.ca_dir / NEXT).is_dir():
        return Rollover("begun", current, load_ca_cert(home.ca_dir / NEXT), ())
    former = home.ca_dir / PREVIOUS
    if not former.is_dir():
        return Rollover("none", current, None, ())
    root = load_ca_cert(former)
    return Rollover("switched", current, root, tuple(_in_use(home, root)))


def begin(
    home: Home,
    profile: Profile,
    passphrase: bytes | None,
    common_name: str | None = None,
    issuing: Profile | None = None,
    key: PrivateKey | None = None,
) -> None:
    """Make the next CA, and give it to everybody as a second trust anchor.

    Arguments as `Authority.create` has them.
    Errors: ``ca.rollover-phase`` behind `switch`, and those of `Authority.create`.
    """
    phase = rollover_state(home).phase
    if phase == "switched":
        raise _wrong_phase(phase, "a rollover is under way already", "keyfob ca rollover finish")
    if phase == "none":
        Authority.create(
            home.ca_dir / NEXT, profile, passphrase, common_name, issuing=issuing, key=key
        )
    _hand_out(home)


def switch(home: Home) -> None:
    """Let the next CA sign; the present one is trusted still.

    Error ``ca.rollover-phase``: `begin` comes first.
    """
    phase = rollover_state(home).phase
    if phase == "none":
        raise _wrong_phase(phase, "there is no next CA yet", "keyfob ca rollover begin")
    if phase == "begun":
        former = _contents(home.ca_dir, without=(NEXT, *_SHARED))
        files = _contents(home.ca_dir / NEXT)
        files.update({f"{PREVIOUS}/{name}": content for name, content in former.items()})
        files.update(_shared(home))
        write_folder(home.ca_dir, files, replace=True)
    _hand_out(home)


def finish(home: Home, *, force: bool = False) -> None:
    """Trust the former CA no more; its key is removed.

    Errors: ``ca.rollover-phase``; ``ca.rollover-left`` where certificates of it are in
    use, without ``force``.
    """
    state = rollover_state(home)
    if state.phase == "begun":
        raise _wrong_phase(
            state.phase, "the present CA still signs everything", "keyfob ca rollover switch"
        )
    if state.left and not force:
        some = " ".join(state.left[:20])
        raise KeyfobHostError(
            "ca.rollover-left",
            "certificates of the former CA are in use; nobody would take them any more",
            evidence=f"{len(state.left)}: {some}{' …' if len(state.left) > 20 else ''}",
            fix=f"keyfob cert renew {some}, and bring them to their boards; "
            "to give them up: keyfob ca rollover finish --force",
            status=ExitStatus.IDENTITY,
        )
    if state.phase == "switched":
        files = _contents(home.ca_dir, without=(PREVIOUS, *_SHARED))
        crl = _shared(home)
        crl.pop(CLIENTS_FILE, None)
        write_folder(home.ca_dir, {**files, **crl}, replace=True)
    _hand_out(home)


def _hand_out(home: Home) -> None:
    """The anchors of today to every identity of the bench, and to the broker."""
    # Of a step that was killed behind its exchange: the folder before, with its keys.
    remove_remains(home.ca_dir)
    anchors = trusted_certs(home.ca_dir)
    if len(anchors) > 1:
        signers = [
            below
            for part in (".", NEXT, PREVIOUS)
            if (below := load_issuing_cert(home.ca_dir / part)) is not None
        ]
        write_atomic(home.ca_dir / CLIENTS_FILE, certs_pem((*signers, *anchors)))
    text = certs_pem(anchors)
    for folder in _identities(home):
        if read_bounded(folder / "ca.pem", "read the trust anchors") != text:
            write_atomic(folder / "ca.pem", text)


def _identities(home: Home) -> list[Path]:
    with explain_os_error(home.certs_dir, "list the certificates"):
        return sorted(file.parent for file in home.certs_dir.glob("*/[!.]*/cert.pem"))


def _in_use(home: Home, root: x509.Certificate) -> Iterator[str]:
    """Names of the identities below ``root`` that are not revoked.

    Below it may have been several intermediates, one after the other.
    """
    crls = read_crls(crl_path(home)) if crl_path(home).exists() else []
    for folder in _identities(home):
        cert, *above = load_certs(folder / "chain.pem", "the certificate chain")
        number = cert.serial_number
        issuer = (*above, root)[0]
        revoked = any(
            crl.get_revoked_certificate_by_serial_number(number) and is_signed_by(crl, issuer)
            for crl in crls
        )
        if leads_to((cert, *above), root) and not revoked:
            yield folder.name


def _contents(folder: Path, without: tuple[str, ...] = ()) -> dict[str, tuple[bytes, int]]:
    """The files below ``folder`` as `write_folder` takes them."""
    found = {}
    with explain_os_error(folder, "read the CA's folder"):
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and name.parts[0] not in without:
                mode = KEY_MODE if path.stat().st_mode & 0o077 == 0 else PUBLIC_MODE
                content = read_bounded(path, "read the CA's folder", limit=_MAX_BYTES)
                found[str(name)] = (content, mode)
    return found


def _shared(home: Home) -> dict[str, tuple[bytes, int]]:
    return {
        name: content
        for name, content in _contents(home.ca_dir, without=(NEXT, PREVIOUS)).items()
        if name in _SHARED
    }


def _wrong_phase(phase: Phase, cause: str, fix: str) -> KeyfobHostError:
    return KeyfobHostError(
        "ca.rollover-phase",
        cause,
        evidence=f"rollover: {phase}",
        fix=fix,
        status=ExitStatus.IDENTITY,
    )
