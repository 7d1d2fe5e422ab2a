"""An issuer: a CA's certificate with its key, and the brokers' and devices' that it signs.

Names are checked before anything is signed; whoever asks for dates or usages gets
exactly those, so that a bench can show a board what to refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.pki import names
from keyfob_host.pki.identity import Identity, Requested
from keyfob_host.pki.keys import PrivateKey, PublicKey, generate_key
from keyfob_host.pki.profiles import Profile, load_profile
from keyfob_host.pki.request import CertificateRequest, check_request
from keyfob_host.pki.template import (
    Signer,
    build_end_entity,
    check_differs,
    common_name,
    san_entries,
    subject_name,
)
from keyfob_host.pki.validity import Dates, validity


@dataclass(frozen=True)
class Issuer:
    """``root``: the trust anchor that issued an intermediate; None for a root. ``others``:
    anchors of another CA, trusted as well during a rollover. ``days``: how long what is
    issued is good where nobody says; None: as long as its profile has it."""

    cert: x509.Certificate
    key: PrivateKey
    root: x509.Certificate | None = None
    others: tuple[x509.Certificate, ...] = ()
    days: int | None = None

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
        asked = replace(dates, days=dates.days or self.days)
        start, end = validity(profile, asked, self.cert)
        return build_end_entity(
            public, subject, start, end,
            signer=Signer(self.cert, self.key), sans=sans,
            usages=profile.extended_key_usage if eku is None else eku,
            crl_url=profile.crl_distribution_point,
        )  # fmt: skip
