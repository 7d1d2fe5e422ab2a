"""The certificate authority: makes itself, signs intermediates, brokers and devices.

Names are checked before anything is signed; whoever asks for dates or usages gets
exactly those, so that a bench can show a board what to refuse. Where it is on disk says
`pki.ca_folder`. With an intermediate, `Authority.load` gives that one: it signs brokers
and devices, and the root's key is needed for `Authority.load_root` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shlex import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

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
from keyfob_host.pki.identity import Identity, Requested, issued_by
from keyfob_host.pki.keys import (
    PrivateKey,
    PublicKey,
    generate_key,
    key_digest,
)
from keyfob_host.pki.profiles import Profile, load_profile
from keyfob_host.pki.request import CertificateRequest, check_request
from keyfob_host.pki.template import (
    Signer,
    build_authority,
    build_end_entity,
    check_differs,
    common_name,
    san_entries,
    subject_name,
)
from keyfob_host.pki.validity import Dates, validity

__all__ = ["CERT_FILE", "KEY_FILE", "Authority", "load_ca_cert", "refuse_existing"]


@dataclass(frozen=True)
class Authority:
    """A CA certificate and its key. Make one with `create`, `load` or `ephemeral`.

    ``root``: the trust anchor that issued an intermediate; None for a root. ``others``:
    anchors of another CA, trusted as well during a rollover.
    """

    cert: x509.Certificate
    key: PrivateKey
    root: x509.Certificate | None = None
    others: tuple[x509.Certificate, ...] = ()

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

    @property
    def anchors(self) -> tuple[x509.Certificate, ...]:
        """What whoever gets a certificate from here trusts."""
        return (self.root or self.cert, *self.others)

    @property
    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """What comes between a certificate from here and the trust anchor."""
        return () if self.root is None else (self.cert,)

    def cert_pem(self) -> bytes:
        return self.cert.public_bytes(Encoding.PEM)

    def cert_der(self) -> bytes:
        return self.cert.public_bytes(Encoding.DER)

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

    def issue_broker(
        self,
        name: str,
        sans: Sequence[str] | None = None,
        *,
        profile: Profile | None = None,
        key_type: str | None = None,
        days: int | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        eku: Sequence[str] | None = None,
    ) -> Identity:
        """A broker's identity: CN ``name``, SANs exactly ``sans`` (None: the profile's).

        ``eku`` replaces the profile's usages (``()``: no EKU extension). Without dates
        the validity is the profile's (or ``days``), set back, and ends with the CA's
        at the latest; given dates are taken as they stand. Errors: ``cert.bad-id``,
        ``cert.bad-san``, ``cert.no-san``, ``cert.bad-subject``, ``cert.same-subject``,
        ``ca.expired``.
        """
        names.check_broker_name(name)
        chosen = profile or load_profile("broker", kind="broker")
        entries = san_entries(chosen.san, name) if sans is None else names.parse_sans(sans)
        if not any(isinstance(one, x509.DNSName | x509.IPAddress) for one in entries):
            raise KeyfobHostError(
                "cert.no-san",
                "a broker's certificate needs a DNS name or an IP address that boards connect to",
                evidence=f"{name!r} is neither, and no --san was given",
                fix=f"keyfob cert broker {name} --san DNS:broker.example.org --san IP:192.0.2.7",
                status=ExitStatus.IDENTITY,
            )
        key = generate_key(key_type or chosen.key_type)
        dates = Dates(days, not_before, not_after)
        return self._identity(name, key, entries, chosen, dates, eku)

    def issue_device(
        self,
        device_id: str,
        *,
        profile: Profile | None = None,
        key_type: str | None = None,
        days: int | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        eku: Sequence[str] | None = None,
    ) -> Identity:
        """A device's identity: CN ``device_id``, which is also a DNS SAN where it can be one.

        Some verifiers ask every certificate for a SAN. Arguments and errors as
        `issue_broker`, and ``cert.reserved-id``.
        """
        names.check_device_id(device_id)
        chosen = profile or load_profile("device", kind="device")
        entries = san_entries(chosen.san, device_id)
        key = generate_key(key_type or chosen.key_type)
        dates = Dates(days, not_before, not_after)
        return self._identity(device_id, key, entries, chosen, dates, eku)

    def issue_from_request(
        self,
        request: CertificateRequest,
        *,
        device_id: str | None = None,
        keys: Sequence[str] | None = None,
        profile: Profile | None = None,
        days: int | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Requested:
        """A device's certificate for the key in ``request``, which stays where it was made.

        From the request come the key and the device's id, its common name, and nothing
        else: subject, SANs, usages and dates are the profile's (what was asked for and is
        not given says ``request.not_taken_over``). ``device_id``: what that id must be,
        None for any. ``keys``: the types of key that the device's board can use, as
        `boards.Tls.keys`; None for those of the profile. Errors: ``cert.request-wrong-name``,
        ``cert.request-bad-key``, ``cert.bad-id``, ``cert.reserved-id``,
        ``cert.same-subject``, ``ca.expired``.
        """
        chosen = profile or load_profile("device", kind="device")
        check_request(request, device_id=device_id, keys=keys, profile_keys=chosen.request_keys)
        entries = san_entries(chosen.san, request.name)
        cert = self._sign(
            request.name, request.public_key, entries, chosen,
            Dates(days, not_before, not_after), None,
        )  # fmt: skip
        return Requested(
            cert=cert, anchors=self.anchors, intermediates=self.intermediates, request=request
        )

    def issue_host(self) -> Identity:
        """The host's own identity `names.HOST_ID`, which the broker's ACL lets write everything."""
        profile = load_profile("device", kind="device")
        entries = [x509.DNSName(names.HOST_ID)]
        key = generate_key(profile.key_type)
        return self._identity(names.HOST_ID, key, entries, profile, Dates(), None)

    def _identity(
        self,
        name: str,
        key: PrivateKey,
        sans: Sequence[x509.GeneralName],
        profile: Profile,
        dates: Dates,
        eku: Sequence[str] | None,
    ) -> Identity:
        cert = self._sign(name, key.public_key(), sans, profile, dates, eku)
        return Identity(cert=cert, key=key, anchors=self.anchors, intermediates=self.intermediates)

    def _sign(
        self,
        name: str,
        public: PublicKey,
        sans: Sequence[x509.GeneralName],
        profile: Profile,
        dates: Dates,
        eku: Sequence[str] | None,
    ) -> x509.Certificate:
        subject = subject_name(profile.subject, {"name": name})
        if name != names.HOST_ID:  # nobody but `issue_host` asks for that
            is_device = profile.kind == "device"
            names.check_end_entity_name(common_name(subject), is_device=is_device)
        check_differs(subject, public, (self.cert, *self.anchors))
        start, end = validity(profile, dates, self.cert)
        return build_end_entity(
            public, subject, start, end,
            signer=Signer(self.cert, self.key), sans=sans,
            usages=profile.extended_key_usage if eku is None else eku,
            crl_url=profile.crl_distribution_point,
        )  # fmt: skip


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
