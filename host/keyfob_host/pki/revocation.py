"""Revocation: which certificates count no more, and the CRLs that say so.

The inventory keeps what was revoked, ``ca/crl.pem`` what brokers read, and neither is ever
behind the other: both change within one transaction of the inventory, and whatever stands
in the file is taken in before it is written again. A CRL is signed for each authority
whose key was given; that of another one stays as it was. An intermediate that is replaced
signs a last one, good until its own end (`sign_last_crl`), without which a broker would
refuse every device it issued.

mosquitto (2.0.11) holds only the certificate of the client against a CRL, never those
above it. It therefore takes no notice of the CRL in which the root revokes an
intermediate; but it refuses every client whose issuer has no CRL at all, so a revoked
intermediate loses its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.files import PUBLIC_MODE, write_atomic
from keyfob_host.home import Home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.ca_folder import authority_certs, load_ca_cert, load_issuing_cert
from keyfob_host.pki.crl import (
    BACKDATE,
    crl_issuer_key,
    crl_number,
    crl_path,
    crls_pem,
    entry_facts,
    is_near_end,
    is_signed_by,
    last_crls_path,
    next_update,
    read_crls,
    sign_crl,
    this_update_after,
)
from keyfob_host.pki.inventory import Inventory, Record, inventory_path
from keyfob_host.pki.inventory_row import key_id
from keyfob_host.pki.keys import PublicKey, key_digest
from keyfob_host.pki.template import common_name
from keyfob_host.pki.validity import check_in_force, now_utc

DEFAULT_LIFETIME = timedelta(days=30)

Crl = x509.CertificateRevocationList


@dataclass(frozen=True)
class CrlState:
    """A CRL of the bench as people and scripts see it. ``is_new``: signed just now."""

    issuer: str
    number: int
    revoked: int
    this_update: datetime
    next_update: datetime
    is_new: bool

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return {
            "issuer": self.issuer,
            "number": self.number,
            "revoked": self.revoked,
            "this_update": self.this_update.isoformat(),
            "next_update": self.next_update.isoformat(),
            "signed": self.is_new,
        }

    def line(self) -> str:
        """For people."""
        days = (self.next_update - datetime.now(timezone.utc)).days
        return (
            f"{self.issuer}: number {self.number}, {self.revoked} revoked, "
            f"next update {self.next_update:%Y-%m-%d} "
            f"({'ended' if days < 0 else f'{days} days left'})"
        )


def crl_states(home: Home, signed_with: Iterable[Authority] = ()) -> list[CrlState]:
    """The CRLs there are; empty before the first."""
    new = {key_id(one.cert) for one in signed_with}
    issuers = authority_certs(home.ca_dir)
    found = []
    for crl in _read_if_there(crl_path(home)):
        signer = next((one for one in issuers if is_signed_by(crl, one)), None)
        is_new = signer is not None and key_id(signer) in new
        found.append(
            CrlState(
                common_name(crl.issuer), crl_number(crl), len(crl), crl.last_update_utc,
                next_update(crl), is_new,
            )
        )  # fmt: skip
    return found


def revoke(
    home: Home,
    inventory: Inventory,
    records: Sequence[Record],
    reason: str,
    authorities: Sequence[Authority],
    lifetime: timedelta | None = None,
) -> None:
    """Revoke ``records`` and sign the CRLs that say so, in one go.

    ``authorities`` must have every one of their issuers. Errors: ``cert.revoke-root``,
    ``cert.issuer-gone``, and those of `sign_crls`; then nothing is revoked.
    """
    able = {key_id(one.cert) for one in authorities}
    for one in records:
        _check_revocable(one, able)
    with inventory.writing():
        for one in records:
            inventory.revoke(one.issuer_key, one.serial, int(now_utc().timestamp()), reason)
        sign_crls(home, inventory, authorities, lifetime)


def refuse_revoked_key(inventory: Inventory, name: str, key: PublicKey) -> None:
    """Raise ``cert.key-revoked`` where a certificate for ``key`` was revoked, whatever its name."""
    for one in inventory.with_key(key_digest(key)):
        if one.revoked_s is not None:
            raise KeyfobHostError(
                "cert.key-revoked",
                "a key whose certificate was revoked gets no other one",
                evidence=f"{name}: the key of {one.name}, serial {one.serial}, revoked "
                f"({one.reason})",
                fix=_with_another_key(name),
                status=ExitStatus.IDENTITY,
            )


def refuse_revoked(inventory: Inventory, cert: x509.Certificate, name: str) -> None:
    """Raise ``cert.revoked`` where ``cert`` itself was revoked."""
    number = f"{cert.serial_number:x}"
    for one in inventory.with_key(key_id(cert)):
        if one.serial == number and one.revoked_s is not None:
            raise KeyfobHostError(
                "cert.revoked",
                "the certificate was revoked, and no broker here takes it",
                evidence=f"{name}: serial {number}, revoked ({one.reason})",
                fix=_with_another_key(name),
                status=ExitStatus.IDENTITY,
            )


def _with_another_key(name: str) -> str:
    """For each of the places where the key may be."""
    return (
        f"keyfob cert renew {name} --new-key; where its key is on the board: "
        f"keyfob provision --key-on-board --identity {name}; elsewhere, with the request of a new "
        "key: keyfob cert device --csr FILE --force"
    )


def sign_crls(
    home: Home, inventory: Inventory, authorities: Iterable[Authority], lifetime: timedelta | None
) -> None:
    """Sign the CRL of each of ``authorities`` anew; call it within `Inventory.writing`.

    nextUpdate is ``lifetime`` from now (None: as long as the CRL before had, or
    `DEFAULT_LIFETIME`), or the issuer's own end. Errors: ``cert.crl-unreadable``,
    ``ca.expired``, ``ca.not-yet-valid``, ``file.*``.
    """
    before = _read_if_there(crl_path(home))
    signers = {key_id(one.cert): one for one in authorities}
    revoked = inventory.revoked_keys()
    after: list[Crl] = []
    for cert in authority_certs(home.ca_dir):
        key = key_id(cert)
        own = [crl for crl in before if is_signed_by(crl, cert)]
        for entry in (entry for crl in own for entry in crl):
            inventory.revoke(key, *entry_facts(entry))
        if key in revoked:
            continue  # see the module's docstring
        if key in signers:
            after.append(_sign(inventory, signers[key], own, lifetime))
        else:
            after += own[:1]
    here = {key_id(cert) for cert in authority_certs(home.ca_dir)}
    wanted = inventory.trusted_keys() - here
    now = now_utc()
    after += [
        crl
        for crl in _read_if_there(last_crls_path(home))
        if crl_issuer_key(crl) in wanted and next_update(crl) > now
    ]
    write_atomic(crl_path(home), crls_pem(after), mode=PUBLIC_MODE)


def sign_last_crl(home: Home, inventory: Inventory, authority: Authority) -> None:
    """Sign the CRL of an intermediate about to be replaced, good until that one ends.

    Call it within `Inventory.writing`. Errors: as `sign_crls`.
    """
    cert = authority.cert
    own = [crl for crl in _read_if_there(crl_path(home)) if is_signed_by(crl, cert)]
    for entry in (entry for crl in own for entry in crl):
        inventory.revoke(key_id(cert), *entry_facts(entry))
    last = _sign(inventory, authority, own, cert.not_valid_after_utc - now_utc())
    path = last_crls_path(home)
    others = [crl for crl in _read_if_there(path) if crl_issuer_key(crl) != key_id(cert)]
    write_atomic(path, crls_pem([*others, last]), mode=PUBLIC_MODE)


def has_crl(home: Home, folder: Path) -> bool:
    """Whether the CA in ``folder`` that signs brokers and devices has a CRL."""
    signer = load_issuing_cert(folder) or load_ca_cert(folder)
    return any(is_signed_by(crl, signer) for crl in _read_if_there(crl_path(home)))


def crls_are_fresh(home: Home, older_than: timedelta) -> bool:
    """Whether nothing is to be signed: no CRL is older, or in the last quarter of its time.

    Reads the files alone, and opens no key and no inventory.
    """
    path = crl_path(home)
    if not path.exists():
        return False
    now = datetime.now(timezone.utc)
    if not has_crl(home, home.ca_dir):
        return False
    last = {crl.signature for crl in _read_if_there(last_crls_path(home))}
    return all(
        crl.last_update_utc <= now
        and now - crl.last_update_utc - BACKDATE <= older_than
        and not is_near_end(crl, now)
        for crl in read_crls(path)
        if crl.signature not in last  # nothing signs those again
    )


def check_crls(home: Home) -> None:
    """Raise if a broker would refuse everybody because of ``ca/crl.pem``.

    Errors: ``cert.crl-expired``, ``cert.crl-incomplete``, ``cert.crl-unreadable``,
    ``cert.crl-not-yet-valid``, ``cert.issuer-revoked``; and ``cert.crl-missing`` if it would
    take what was revoked.
    """
    path = crl_path(home)
    if not path.exists():
        _check_none_revoked(home)
        return
    signer = load_issuing_cert(home.ca_dir) or load_ca_cert(home.ca_dir)
    crls = read_crls(path)
    own = [crl for crl in crls if is_signed_by(crl, signer)]
    now = datetime.now(timezone.utc)
    name = signer.subject.rfc4514_string()
    if any(crl.get_revoked_certificate_by_serial_number(signer.serial_number) for crl in crls):
        raise KeyfobHostError(
            "cert.issuer-revoked",
            "the intermediate that issues this bench's certificates was revoked",
            evidence=f"{path}: serial {signer.serial_number:x}, {name}",
            fix="keyfob ca intermediate --force, then issue every certificate again",
            status=ExitStatus.IDENTITY,
        )
    if not own:
        raise _useless(
            "incomplete", "the CRL is not from the CA that issues this bench's certificates; "
            "the broker would refuse every client",
            f"{path}: no CRL of {name}",
        )  # fmt: skip
    if next_update(own[0]) <= now:
        raise _useless(
            "expired",
            "the CRL is past its nextUpdate; the broker would refuse every client",
            f"{path}: CRL of {name}: nextUpdate {next_update(own[0]):%Y-%m-%d %H:%M}Z, "
            f"now {now:%Y-%m-%d %H:%M}Z",
        )
    if own[0].last_update_utc > now:
        raise _useless(
            "not-yet-valid",
            "the CRL is from the future, signed while this machine's clock was wrong; "
            "the broker would refuse every client",
            f"{path}: CRL of {name}: thisUpdate {own[0].last_update_utc:%Y-%m-%d %H:%M}Z, "
            f"now {now:%Y-%m-%d %H:%M}Z",
        )


def _check_none_revoked(home: Home) -> None:
    """Raise where there is no CRL, and the inventory says that there was one."""
    if not inventory_path(home).exists():
        return
    with Inventory(inventory_path(home)) as inventory:
        signers = authority_certs(home.ca_dir)
        count = sum(len(inventory.revocations(key_id(one))) for one in signers)
    if count:
        raise _useless(
            "missing",
            "certificates were revoked, and the CRL that says so is gone; "
            "the broker would take them",
            f"{crl_path(home)} is not there; {count} revoked",
        )


def _read_if_there(path: Path) -> list[Crl]:
    return read_crls(path) if path.exists() else []


def _sign(
    inventory: Inventory, authority: Authority, own: Sequence[Crl], lifetime: timedelta | None
) -> Crl:
    cert = authority.cert
    now = now_utc()
    check_in_force(cert, now)
    key = key_id(cert)
    last = max((crl_number(crl) for crl in own), default=0)
    if lifetime is None:
        made = [next_update(crl) - crl.last_update_utc - BACKDATE for crl in own]
        lifetime = max(made, default=DEFAULT_LIFETIME)
    return sign_crl(
        cert,
        authority.key,
        inventory.revocations(key),
        number=inventory.next_crl_number(key, last + 1),
        this_update=this_update_after(max((crl.last_update_utc for crl in own), default=None), now),
        next_update=min(now + lifetime, cert.not_valid_after_utc),
    )


def _check_revocable(record: Record, able: set[str]) -> None:
    if record.kind == "ca":
        raise KeyfobHostError(
            "cert.revoke-root",
            "a trust anchor cannot be revoked: nobody is above it, and no verifier would ask",
            evidence=record.subject,
            fix="keyfob ca init --force, then issue and provision everything again",
            status=ExitStatus.IDENTITY,
        )
    if record.issuer_key not in able:
        raise KeyfobHostError(
            "cert.issuer-gone",
            "only the CA that issued a certificate can revoke it, and its key is not here",
            evidence=f"{record.subject}, serial {record.serial}: issued with key "
            f"{record.issuer_key[:16]}…",
            fix="of a former CA nothing is trusted any more; of a former intermediate revoke "
            "the intermediate itself: keyfob cert list --kind intermediate",
            status=ExitStatus.IDENTITY,
        )


def _useless(reason: str, cause: str, evidence: str) -> KeyfobHostError:
    return KeyfobHostError(
        f"cert.crl-{reason}", cause, evidence=evidence, fix="keyfob ca crl",
        status=ExitStatus.IDENTITY,
    )  # fmt: skip
