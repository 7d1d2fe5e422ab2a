"""The certificate authority: makes itself, signs brokers and devices.

On disk ``ca/``: ``ca.cert.pem`` and ``ca.key.pem`` (0600, PKCS#8, encrypted when a
passphrase was given). Names are checked before anything is signed; whoever asks for
dates or usages gets exactly those, so that a bench can show a board what to refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.files import KEY_MODE, PUBLIC_MODE
from keyfob_host.pki import names
from keyfob_host.pki.folder import write_folder
from keyfob_host.pki.identity import Identity, load_certs
from keyfob_host.pki.keys import (
    PrivateKey,
    generate_key,
    key_pem,
    load_key,
    public_der,
)
from keyfob_host.pki.profiles import Profile, Subject, load_profile
from keyfob_host.pki.template import build_authority, build_end_entity, subject_name

CERT_FILE = "ca.cert.pem"
KEY_FILE = "ca.key.pem"


@dataclass(frozen=True)
class Authority:
    """A CA certificate and its key. Make one with `create`, `load` or `ephemeral`."""

    cert: x509.Certificate
    key: PrivateKey

    @classmethod
    def create(
        cls,
        folder: Path,
        profile: Profile | None = None,
        passphrase: bytes | None = None,
        common_name: str | None = None,
        force: bool = False,
    ) -> Authority:
        """Make a CA and write it to ``folder`` as one change.

        ``passphrase`` encrypts the key; None leaves it in clear. Errors:
        ``ca.exists`` without ``force``, ``cert.bad-common-name``, ``file.*``.
        """
        if not force:
            refuse_existing(folder)
        made = _make(profile or load_profile("ca", kind="authority"), common_name)
        files = {
            CERT_FILE: (made.cert_pem(), PUBLIC_MODE),
            KEY_FILE: (key_pem(made.key, passphrase), KEY_MODE),
        }
        try:
            write_folder(folder, files, replace=force)
        except FileExistsError:
            raise _exists(folder) from None
        return made

    @classmethod
    def load(cls, folder: Path, passphrase: bytes | None = None) -> Authority:
        """The CA in ``folder``.

        Errors: ``ca.missing``, ``ca.key-mismatch``, ``cert.passphrase-needed``,
        ``cert.passphrase-wrong``, ``cert.key-exposed``, ``cert.unreadable``, ``file.*``.
        """
        cert = load_ca_cert(folder)
        key = load_key(folder / KEY_FILE, "the CA key", passphrase=passphrase)
        if public_der(key) != public_der(cert.public_key()):
            raise KeyfobHostError(
                "ca.key-mismatch",
                "the CA's certificate and key do not belong together",
                evidence=f"{folder}: {CERT_FILE} holds another public key than {KEY_FILE}",
                fix="restore both files from one backup, or make a new CA: keyfob ca init --force",
                status=ExitStatus.IDENTITY,
            )
        return cls(cert=cert, key=key)

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
        return _make(chosen, common_name, not_before=not_before, not_after=not_after)

    def cert_pem(self) -> bytes:
        return self.cert.public_bytes(Encoding.PEM)

    def cert_der(self) -> bytes:
        return self.cert.public_bytes(Encoding.DER)

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
        """A broker's identity: CN ``name``, SANs exactly ``sans`` (None: ``name`` itself).

        ``eku`` replaces the profile's usages (``()``: no EKU extension). Without dates
        the validity is the profile's (or ``days``), set back, and ends with the CA's
        at the latest; given dates are taken as they stand. Errors: ``cert.bad-id``,
        ``cert.bad-san``, ``cert.no-san``, ``cert.same-subject``, ``ca.expired``.
        """
        names.check_broker_name(name)
        if sans is None:
            own = names.host_san(name)
            entries = [own] if own is not None else []
        else:
            entries = names.parse_sans(sans)
        if not entries:
            raise KeyfobHostError(
                "cert.no-san",
                "a broker's certificate needs a DNS name or an IP address that boards connect to",
                evidence=f"{name!r} is neither, and no --san was given",
                fix=f"keyfob cert broker {name} --san DNS:broker.example.org --san IP:192.0.2.7",
                status=ExitStatus.IDENTITY,
            )
        chosen = profile or load_profile("broker", kind="broker")
        return self._issue(name, entries, chosen, key_type, days, not_before, not_after, eku)

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
        entries = [x509.DNSName(device_id)] if names.is_dns_name(device_id) else []
        return self._issue(device_id, entries, chosen, key_type, days, not_before, not_after, eku)

    def issue_host(self) -> Identity:
        """The host's own identity `names.HOST_ID`, which the broker's ACL lets write everything."""
        profile = load_profile("device", kind="device")
        entries = [x509.DNSName(names.HOST_ID)]
        return self._issue(names.HOST_ID, entries, profile, None, None, None, None, None)

    def _issue(
        self,
        name: str,
        sans: Sequence[x509.GeneralName],
        profile: Profile,
        key_type: str | None,
        days: int | None,
        not_before: datetime | None,
        not_after: datetime | None,
        eku: Sequence[str] | None,
    ) -> Identity:
        subject = subject_name(profile.subject, name=name)
        if names.same_name(subject, self.cert.subject):
            raise KeyfobHostError(
                "cert.same-subject",
                "the certificate would have the same subject as the CA, "
                "and verifiers would take it for self-signed",
                evidence=f"both are {subject.rfc4514_string()}",
                fix="choose another name for the broker or device",
                status=ExitStatus.IDENTITY,
            )
        start, end = self._validity(profile, days, not_before, not_after)
        key = generate_key(key_type or profile.key_type)
        cert = build_end_entity(
            key.public_key(), subject, start, end,
            issuer=self.cert, issuer_key=self.key,
            usages=profile.extended_key_usage if eku is None else eku, sans=sans,
        )  # fmt: skip
        return Identity(cert=cert, key=key, anchors=(self.cert,))

    def _validity(
        self,
        profile: Profile,
        days: int | None,
        not_before: datetime | None,
        not_after: datetime | None,
    ) -> tuple[datetime, datetime]:
        now = _now()
        end_of_ca = self.cert.not_valid_after_utc
        if not_after is None and now >= end_of_ca:
            raise KeyfobHostError(
                "ca.expired",
                "the CA's certificate has expired, so nothing it signs now would be accepted",
                evidence=f"notAfter {end_of_ca:%Y-%m-%d %H:%M}Z, now {now:%Y-%m-%d %H:%M}Z",
                fix="keyfob ca init --force, then issue every certificate again",
                status=ExitStatus.IDENTITY,
            )
        start = not_before or max(
            now - timedelta(hours=profile.backdate_hours), self.cert.not_valid_before_utc
        )
        end = not_after or min(now + timedelta(days=days or profile.days), end_of_ca)
        return _in_order(start, end)


def refuse_existing(folder: Path) -> None:
    """Raise ``ca.exists`` where a CA would be overwritten."""
    with explain_os_error(folder, "look for a CA"):
        there = (folder / CERT_FILE).exists() or (folder / KEY_FILE).exists()
    if there:
        raise _exists(folder)


def load_ca_cert(folder: Path) -> x509.Certificate:
    """The CA's certificate alone, without its key; error ``ca.missing``."""
    path = folder / CERT_FILE
    with explain_os_error(path, "look for the CA"):
        there = path.exists()
    if not there:
        raise KeyfobHostError(
            "ca.missing",
            "this bench has no certificate authority yet",
            evidence=f"{path} is not there",
            fix="keyfob ca init",
            status=ExitStatus.IDENTITY,
        )
    return load_certs(path, "the CA certificate")[0]


def _make(
    profile: Profile,
    common_name: str | None,
    *,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Authority:
    if common_name is not None:
        names.check_common_name(common_name)
        # Braces in a given name are meant as they stand.
        literal = common_name.replace("{", "{{").replace("}", "}}")
        profile = replace(profile, subject=replace(profile.subject, common_name=literal))
    key = generate_key(profile.key_type)
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:8]
    now = _now()
    start, end = _in_order(
        not_before or now - timedelta(hours=profile.backdate_hours),
        not_after or now + timedelta(days=profile.days),
    )
    subject: Subject = profile.subject
    cert = build_authority(
        key, subject_name(subject, key_id=key_id), start, end, path_length=profile.path_length
    )
    return Authority(cert=cert, key=key)


def _in_order(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    if start < end:
        return start, end
    raise KeyfobHostError(
        "cert.bad-dates",
        "a certificate's notAfter must be later than its notBefore",
        evidence=f"notBefore {start.isoformat()}, notAfter {end.isoformat()}",
        fix="give dates in order",
        status=ExitStatus.IDENTITY,
    )


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def _exists(folder: Path) -> KeyfobHostError:
    return KeyfobHostError(
        "ca.exists",
        "this bench already has a certificate authority; "
        "a new one makes every certificate issued so far worthless",
        evidence=str(folder),
        fix="to use it: keyfob ca show; to replace it: keyfob ca init --force",
        status=ExitStatus.IDENTITY,
    )
