"""The certificate authority: makes itself and its intermediate, is written and read.

What it signs for brokers and devices says `pki.issuer`, where it is on disk
`pki.ca_folder`. With an intermediate, `Authority.load` gives that one: it signs brokers
and devices, and the root's key is needed for `Authority.load_root` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shlex import quote

from cryptography import x509

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki import names
from keyfob_host.pki.ca_folder import (
    CERT_FILE,
    ISSUING,
    KEY_FILE,
    authority_files,
    ca_exists,
    issuing_exists,
    load_authority_key,
    load_ca_cert,
    load_issuing_cert,
    refuse_existing,
    trusted_certs,
)
from keyfob_host.pki.folder import write_folder
from keyfob_host.pki.identity import issued_by
from keyfob_host.pki.issuer import Issuer
from keyfob_host.pki.keys import PrivateKey, generate_key, key_digest
from keyfob_host.pki.profiles import Profile, load_profile
from keyfob_host.pki.template import Signer, build_authority, check_differs, subject_name
from keyfob_host.pki.validity import Dates, validity

__all__ = ["CERT_FILE", "KEY_FILE", "Authority", "load_ca_cert", "refuse_existing"]


@dataclass(frozen=True)
class Authority(Issuer):
    """A CA certificate and its key. Make one with `create`, `load` or `ephemeral`."""

    @classmethod
    def create(
        cls,
        folder: Path,
        profile: Profile | None = None,
        passphrase: bytes | None = None,
        common_name: str | None = None,
        force: bool = False,
        issuing: Profile | None = None,
        key: PrivateKey | None = None,
    ) -> Authority:
        """Make a CA and write it to ``folder`` as one change.

        ``passphrase`` encrypts the key; None leaves it in clear. With ``issuing``, the
        profile of an intermediate, that one is made too and returned. ``key``: one that
        is there already, in a token, instead of a new one of the profile's type. Errors:
        ``ca.exists`` without ``force``, ``ca.no-room-below``, ``cert.bad-common-name``,
        ``file.*``.
        """
        if not force:
            refuse_existing(folder)
        chosen = profile or load_profile("ca", kind="authority")
        made = root = _make(chosen, common_name, key=key)
        files = authority_files(root.cert, root.key, None, passphrase)
        if issuing is not None:
            made = root.issue_intermediate(issuing)
            below = authority_files(made.cert, made.key, made.root, passphrase)
            files.update({f"{ISSUING}/{name}": content for name, content in below.items()})
        try:
            write_folder(folder, files, replace=force)
        except FileExistsError:
            raise ca_exists(folder) from None
        return made

    @classmethod
    def load(cls, folder: Path, passphrase: bytes | None = None) -> Authority:
        """The CA in ``folder`` that signs brokers and devices: its intermediate, if it has one.

        Errors: ``ca.missing``, ``ca.key-mismatch``, ``ca.issuing-mismatch``,
        ``cert.passphrase-needed``, ``cert.passphrase-wrong``, ``cert.key-exposed``,
        ``cert.unreadable``, ``file.*``.
        """
        root, *others = trusted_certs(folder)
        issuing = load_issuing_cert(folder)
        if issuing is None:
            key = load_authority_key(folder, root, "the CA key", passphrase)
            return cls(cert=root, key=key, others=tuple(others))
        if not issued_by(issuing, root):
            raise KeyfobHostError(
                "ca.issuing-mismatch",
                "the issuing CA is not from this bench's root",
                evidence=f"{folder / ISSUING}: issuer {issuing.issuer.rfc4514_string()}; "
                f"the root is {root.subject.rfc4514_string()}",
                fix="restore both from one backup, or sign a new one: "
                "keyfob ca intermediate --force",
                status=ExitStatus.IDENTITY,
            )
        key = load_authority_key(folder / ISSUING, issuing, "the issuing CA's key", passphrase)
        return cls(cert=issuing, key=key, root=root, others=tuple(others))

    @classmethod
    def load_root(cls, folder: Path, passphrase: bytes | None = None) -> Authority:
        """The root in ``folder``, to sign an intermediate with.

        Errors: as `load`, and ``ca.root-key-away`` where its key was taken off the machine.
        """
        root = load_ca_cert(folder)
        path = folder / KEY_FILE
        if not path.exists() and load_issuing_cert(folder) is not None:
            raise KeyfobHostError(
                "ca.root-key-away",
                "the root's key is not on this machine, and nothing else signs an intermediate",
                evidence=f"{path} is not there; the root is {root.subject.rfc4514_string()}",
                fix="bring it back for as long as this takes: "
                f"install -m 600 BACKUP {quote(str(path))}",
                status=ExitStatus.IDENTITY,
            )
        return cls(cert=root, key=load_authority_key(folder, root, "the root's key", passphrase))

    @classmethod
    def ephemeral(
        cls,
        common_name: str | None = None,
        *,
        profile: Profile | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Authority:
        """A CA in memory, for tests; nothing of it reaches the disk."""
        chosen = profile or load_profile("ca", kind="authority")
        return _make(chosen, common_name, Dates(not_before=not_before, not_after=not_after))

    def issue_intermediate(
        self,
        profile: Profile | None = None,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Authority:
        """A CA below this one. Errors: ``ca.no-room-below``, ``ca.expired``."""
        chosen = profile or load_profile("intermediate", kind="intermediate")
        basic = self.cert.extensions.get_extension_for_class(x509.BasicConstraints).value
        room = basic.path_length
        wanted = chosen.path_length
        if self.root is not None or (room is not None and (wanted is None or wanted >= room)):
            raise KeyfobHostError(
                "ca.no-room-below",
                "this CA may not have an intermediate like that below it",
                evidence=f"path length of {self.cert.subject.rfc4514_string()}: {room}; "
                f"of the intermediate: {'unlimited' if wanted is None else wanted}",
                fix="make a CA with an intermediate from the start: keyfob ca init --intermediate",
                status=ExitStatus.IDENTITY,
            )
        return _make(chosen, None, Dates(None, not_before, not_after), above=self)

    def write_issuing(self, folder: Path, passphrase: bytes | None, *, force: bool = False) -> None:
        """Write this intermediate below the root in ``folder``; error ``ca.issuing-exists``."""
        path = folder / ISSUING
        try:
            write_folder(
                path, authority_files(self.cert, self.key, self.root, passphrase), replace=force
            )
        except FileExistsError:
            raise issuing_exists(folder) from None


def _make(
    profile: Profile,
    common_name: str | None,
    dates: Dates | None = None,
    above: Authority | None = None,
    key: PrivateKey | None = None,
) -> Authority:
    if common_name is not None:
        names.check_common_name(common_name)
    key = key or generate_key(profile.key_type)
    key_id = key_digest(key.public_key())[:8]
    issuer = above.cert if above else None
    subject = subject_name(profile.subject, {"key_id": key_id}, common_name=common_name)
    if issuer is not None:
        check_differs(subject, key.public_key(), (issuer,))
    start, end = validity(profile, dates or Dates(), issuer)
    cert = build_authority(
        key, subject, start, end,
        path_length=profile.path_length, crl_url=profile.crl_distribution_point,
        signer=Signer(above.cert, above.key) if above else None,
    )  # fmt: skip
    return Authority(cert=cert, key=key, root=issuer)
