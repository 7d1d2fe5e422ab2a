"""What the doctor makes of certificates that were met, where one error has several causes.

The same on boards and brokers that really fail is in tests/bench/test_doctor_board.py; here
are those whose cause depends on what else this host knows.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from doctor_seen import NAME

from keyfob_host.boards import load_kind
from keyfob_host.doctor.diagnosis import Diagnosis, Evidence
from keyfob_host.doctor.judge_certificates import (
    client_certificate,
    own_certificate,
    server_certificate,
)
from keyfob_host.doctor.sightings import BoardFiles, BoardSight, BrokerSight, Served, Sightings
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity
from keyfob_host.pki.profiles import load_profile

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)
PAST = {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY}
FUTURE = {"not_before": NOW + DAY, "not_after": NOW + 9 * DAY}


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.ephemeral("Bench CA", profile=load_profile("root", kind="authority"))


@pytest.fixture(scope="module")
def below(root: Authority) -> Authority:
    return root.issue_intermediate()


@pytest.fixture(scope="module")
def device(root: Authority) -> Identity:
    return root.issue_device("sensor-01")


def met(root: Authority, *chain: x509.Certificate, **broker: object) -> Sightings:
    """A board that trusts ``root``, and a broker that shows ``chain``."""
    files = BoardFiles(anchors=(root.cert_der(),))
    ders = tuple(one.public_bytes(Encoding.DER) for one in chain)
    return Sightings(
        now=NOW, board=BoardSight(load_kind("virtual-esp32"), "board", files=files), host=NAME,
        broker=BrokerSight(**broker), served=Served(NAME, 8883, "done", chain=ders),
    )  # fmt: skip


def told(seen: Sightings, code: str, detail: str = "") -> Diagnosis | None:
    error = Evidence("board", f"error code={code} detail={detail}", NOW)
    return server_certificate(seen, error, code)


def refused(
    device: x509.Certificate,
    *clients_ca: x509.Certificate,
    crls: tuple[x509.CertificateRevocationList, ...] = (),
    is_ours: bool = True,
) -> list[str]:
    """The causes for which a broker with these files refuses this device."""
    broker = BrokerSight(is_ours=is_ours, clients_ca=clients_ca, crls=crls)
    board = BoardSight(load_kind("virtual-esp32"), "board")
    found = client_certificate(Sightings(now=NOW, board=board, broker=broker, own=device), ())
    return [one.code for one in found]


def crl(root: Authority, ends: timedelta, *serials: int) -> x509.CertificateRevocationList:
    builder = x509.CertificateRevocationListBuilder().issuer_name(root.cert.subject)
    builder = builder.last_update(NOW - 9 * DAY).next_update(NOW + ends)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(root.key, hashes.SHA256())


def test_a_chain_of_an_unknown_ca_may_lack_an_intermediate_too(root: Authority) -> None:
    other = Authority.ephemeral("Somebody else's CA")
    found = told(met(root, other.issue_broker(NAME).cert), "x509.untrusted")
    assert found is not None
    assert (found.code, found.confidence) == ("x509.wrong-anchor", "likely")
    assert found.others == ("x509.missing-intermediate",)
    assert "Somebody else's CA" in found.evidence[1].seen
    assert "Bench CA" in found.evidence[1].wanted


def test_a_chain_whose_root_is_here_leaves_no_other_cause_than_the_anchor(root: Authority) -> None:
    other = Authority.ephemeral("Somebody else's CA")
    seen = met(root, other.issue_broker(NAME).cert, clients_ca=(other.cert,))
    for one in (seen, met(root, other.issue_broker(NAME).cert, other.cert)):
        found = told(one, "x509.untrusted")
        assert found is not None
        assert (found.code, found.confidence) == ("x509.wrong-anchor", "certain")


def test_a_ca_made_anew_is_told_by_its_key(root: Authority) -> None:
    other = Authority.ephemeral("Bench CA")
    found = told(met(root, other.issue_broker(NAME).cert), "x509.untrusted")
    assert found is not None
    assert (found.code, found.confidence) == ("x509.wrong-anchor", "certain")
    assert any(one.seen != one.wanted and "(key " in one.seen for one in found.evidence)


@pytest.mark.parametrize("where", ["chain", "clients_ca"])
def test_an_intermediate_that_is_here_and_not_sent_is_missing(
    root: Authority, below: Authority, where: str
) -> None:
    broker = below.issue_broker(NAME)
    known = (broker.cert, below.cert) if where == "chain" else (below.cert,)
    found = told(met(root, broker.cert, **{where: known}), "x509.untrusted")
    assert found is not None
    assert (found.code, found.confidence) == ("x509.missing-intermediate", "certain")


def test_a_missing_intermediate_of_another_root_is_another_root(below: Authority) -> None:
    other = Authority.ephemeral("Somebody else's CA")
    broker = below.issue_broker(NAME)
    found = told(met(other, broker.cert, chain=(broker.cert, below.cert)), "x509.untrusted")
    assert found is not None and found.code == "x509.wrong-anchor"


def test_an_intermediate_that_has_expired_is_named(root: Authority) -> None:
    below = root.issue_intermediate(**PAST)
    broker = below.issue_broker(NAME, not_before=NOW - DAY, not_after=NOW + DAY)
    found = told(met(root, broker.cert, below.cert), "x509.expired")
    assert found is not None
    assert (found.code, found.confidence) == ("x509.broker-expired", "certain")
    assert below.cert.subject.rfc4514_string() in found.evidence[1].text


def test_dates_that_are_right_by_this_hosts_clock_tell_of_the_boards(root: Authority) -> None:
    seen = met(root, root.issue_broker(NAME).cert)
    clock = "valid from 2026-01-01T00:00:00Z to 2027-01-01T00:00:00Z, clock 2056-01-01T00:00:00Z"
    found = told(seen, "x509.expired", clock)
    assert found is not None and found.code == "clock.board-ahead"


def test_a_start_that_lies_ahead_is_compared_as_such(root: Authority) -> None:
    broker = root.issue_broker(NAME, **FUTURE)
    found = told(met(root, broker.cert), "x509.not-yet-valid")
    assert found is not None and found.code == "clock.issuer-ahead"
    assert found.evidence[1].wanted.startswith("earlier than ")


def test_a_wrong_purpose_is_told_with_both_purposes(root: Authority) -> None:
    found = told(met(root, root.issue_broker(NAME, eku=("clientAuth",)).cert), "x509.wrong-usage")
    assert found is not None and found.code == "x509.broker-wrong-usage"
    assert "clientAuth" in found.evidence[1].seen and found.evidence[1].wanted == "serverAuth"


def test_a_name_is_told_with_those_of_the_certificate(root: Authority) -> None:
    found = told(met(root, root.issue_broker("other.keyfob.test").cert), "x509.wrong-name")
    assert found is not None and found.confidence == "certain"
    assert (found.evidence[1].seen, found.evidence[1].wanted) == ("DNS:other.keyfob.test", NAME)
    unseen = told(met(root), "x509.wrong-name")
    assert unseen is not None and unseen.confidence == "likely"


def test_a_good_chain_is_blamed_for_nothing_certain(root: Authority, below: Authority) -> None:
    broker = below.issue_broker(NAME)
    seen = met(root, broker.cert, below.cert)
    for code in ("x509.untrusted", "x509.wrong-name"):
        found = told(seen, code)
        assert found is not None and found.confidence == "likely"
    for code in ("x509.expired", "x509.not-yet-valid", "x509.wrong-usage", "x509.weak"):
        assert told(seen, code) is None


def test_every_reason_of_a_broker_is_found_the_surest_first(
    root: Authority, device: Identity
) -> None:
    good = (device.cert, root.cert)
    assert refused(*good) == refused(*good, crls=(crl(root, DAY, 7),)) == []
    lists = (crl(root, -DAY, device.cert.serial_number),)
    assert refused(*good, crls=lists) == [
        "client-certificate.revoked", "client-certificate.crl-overdue",
    ]  # fmt: skip
    assert refused(root.issue_device("s", **PAST).cert, root.cert) == ["client-certificate.expired"]
    assert refused(root.issue_device("s", **FUTURE).cert, root.cert) == ["clock.broker-behind"]
    server = root.issue_device("s", eku=("serverAuth",)).cert
    assert refused(server, root.cert) == ["client-certificate.wrong-usage"]
    other = Authority.ephemeral("Somebody else's CA")
    assert refused(device.cert, other.cert) == ["client-certificate.unknown-ca"]


def test_of_a_broker_elsewhere_nothing_is_claimed(root: Authority) -> None:
    other = Authority.ephemeral("Somebody else's CA")
    assert refused(root.issue_device("s", **PAST).cert, other.cert, is_ours=False) == []


def test_pem_where_the_board_reads_der_is_the_form(root: Authority, device: Identity) -> None:
    error = Evidence("board", "error code=store.no-identity", NOW)
    seen = met(root)
    files = replace(seen.board.files, cert=b"\xef\xbb\xbf" + device.cert_pem())
    seen = replace(seen, board=replace(seen.board, files=files))
    found = own_certificate(seen, error, "x509.malformed")
    assert found is not None and found.code == "store.wrong-form"
    files = replace(files, cert=device.cert_der())
    seen = replace(seen, board=replace(seen.board, files=files))
    assert own_certificate(seen, error, "x509.malformed") is None
