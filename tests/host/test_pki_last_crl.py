"""What a replaced intermediate issued, and CRLs when files or the clock were wrong; by openssl."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from judges import needs_openssl, strict_verdict
from keyfob_rig import Keyfob

from keyfob_host.errors import KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.ca_folder import authority_files
from keyfob_host.pki.crl import crls_pem, sign_crl
from keyfob_host.pki.folder import write_folder
from keyfob_host.pki.revocation import check_crls, crls_are_fresh

pytestmark = needs_openssl
DAY = timedelta(days=1)


@pytest.fixture
def two_tier(keyfob: Keyfob) -> Keyfob:
    keyfob.json("ca", "init", "--no-passphrase", "--intermediate")
    for name in ("good", "stolen"):
        keyfob.json("cert", "device", name)
    return keyfob


def crl_file(keyfob: Keyfob) -> Path:
    return keyfob.home / "ca" / "crl.pem"


def verdict(keyfob: Keyfob, name: str, at: datetime | None = None) -> str:
    """What openssl says with every certificate of the chain held against the CRLs."""
    chain = keyfob.home / "certs" / "device" / name / "chain.pem"
    when = ["-attime", str(int(at.timestamp()))] if at else []
    said = strict_verdict(
        keyfob.home / "ca" / "ca.cert.pem", chain, "-untrusted", chain, "-purpose", "sslclient",
        "-crl_check_all", "-CRLfile", crl_file(keyfob), *when,
    )  # fmt: skip
    return said or "ok"


def test_what_a_replaced_intermediate_issued_and_revoked_stays_so(two_tier: Keyfob) -> None:
    two_tier.json("cert", "revoke", "stolen")
    two_tier.json("ca", "intermediate", "--force", "--no-passphrase")
    two_tier.json("cert", "device", "new")
    check_crls(Home(two_tier.home))
    for _ in range(2):
        assert verdict(two_tier, "good") == verdict(two_tier, "new") == "ok"
        assert "certificate revoked" in verdict(two_tier, "stolen")
        two_tier.json("ca", "crl")
    # The timer cannot sign that one again, so it must count for as long as it is needed.
    long_after = datetime.now(timezone.utc) + 20 * DAY
    assert verdict(two_tier, "good", long_after) == "ok"


def test_a_first_revocation_after_the_replacement_shuts_nobody_else_out(two_tier: Keyfob) -> None:
    two_tier.json("ca", "intermediate", "--force", "--no-passphrase")
    assert not crl_file(two_tier).exists()
    two_tier.json("cert", "device", "new")
    two_tier.json("cert", "revoke", "new")
    assert verdict(two_tier, "good") == "ok"
    assert "certificate revoked" in verdict(two_tier, "new")


def test_an_intermediate_without_its_key_can_still_be_replaced(two_tier: Keyfob) -> None:
    (two_tier.home / "ca" / "issuing" / "ca.key.pem").unlink()
    status, _, err = two_tier.run("ca", "intermediate", "--force", "--no-passphrase")
    assert status == 0 and "cannot sign a last CRL" in err


def test_a_revoked_intermediate_gets_no_last_crl(two_tier: Keyfob) -> None:
    issuing = two_tier.json("ca", "show")["issuing"]
    two_tier.json("cert", "revoke", issuing["serial"])
    two_tier.json("ca", "intermediate", "--force", "--no-passphrase")
    two_tier.json("ca", "crl")
    assert verdict(two_tier, "good") != "ok"


def test_identities_below_a_replaced_intermediate_keep_a_rollover_open(two_tier: Keyfob) -> None:
    two_tier.json("cert", "revoke", "stolen")
    two_tier.json("ca", "intermediate", "--force", "--no-passphrase")
    two_tier.json("ca", "rollover", "begin", "--no-passphrase")
    assert two_tier.json("ca", "rollover", "switch")["left"] == ["good"]
    assert verdict_of_both(two_tier, "good") == "ok"
    assert two_tier.error("ca", "rollover", "finish")["code"] == "ca.rollover-left"


def verdict_of_both(keyfob: Keyfob, name: str) -> str:
    """As `verdict`, for a client's own certificate, by the anchors a broker has in a rollover."""
    chain = keyfob.home / "certs" / "device" / name / "chain.pem"
    done = subprocess.run(
        ["openssl", "verify", "-crl_check", "-CRLfile", crl_file(keyfob), "-no-CApath",
         "-no-CAstore", "-CAfile", keyfob.home / "ca" / "clients.pem", "-untrusted", chain, chain],
        capture_output=True, text=True,
    )  # fmt: skip
    return "ok" if done.returncode == 0 else done.stderr


def test_a_switch_cut_short_before_its_crl_signs_it_the_next_time(with_ca: Keyfob) -> None:
    with_ca.json("cert", "device", "stolen")
    with_ca.json("cert", "revoke", "stolen")
    with_ca.json("ca", "rollover", "begin", "--no-passphrase")
    before = crl_file(with_ca).read_bytes()
    with_ca.json("ca", "rollover", "switch")
    crl_file(with_ca).write_bytes(before)  # as a power cut leaves it
    with_ca.json("ca", "rollover", "switch")
    check_crls(Home(with_ca.home))


def test_a_crl_from_the_future_is_told_and_signed_anew(with_ca: Keyfob) -> None:
    with_ca.json("cert", "device", "good")
    with_ca.json("cert", "device", "stolen")
    authority = Authority.load(with_ca.home / "ca")
    then = datetime.now(timezone.utc).replace(microsecond=0) + 400 * DAY
    crl = sign_crl(
        authority.cert, authority.key, [], number=7, this_update=then, next_update=then + 30 * DAY
    )
    crl_file(with_ca).write_bytes(crls_pem([crl]))
    with pytest.raises(KeyfobHostError) as told:
        check_crls(Home(with_ca.home))
    assert told.value.code == "cert.crl-not-yet-valid" and told.value.fix == "keyfob ca crl"
    assert not crls_are_fresh(Home(with_ca.home), 365 * DAY)  # so the timer mends it
    with_ca.json("cert", "revoke", "stolen")
    assert verdict(with_ca, "good") == "ok"
    assert "certificate revoked" in verdict(with_ca, "stolen")
    number = x509.load_pem_x509_crl(crl_file(with_ca).read_bytes()).extensions
    assert number.get_extension_for_class(x509.CRLNumber).value.crl_number == 8


def test_a_crl_that_is_gone_is_told_before_a_broker_takes_what_was_revoked(
    with_ca: Keyfob,
) -> None:
    with_ca.json("cert", "device", "stolen")
    check_crls(Home(with_ca.home))
    with_ca.json("cert", "revoke", "stolen")
    crl_file(with_ca).unlink()
    with pytest.raises(KeyfobHostError) as told:
        check_crls(Home(with_ca.home))
    assert told.value.code == "cert.crl-missing" and told.value.fix == "keyfob ca crl"
    with_ca.json("ca", "crl")
    check_crls(Home(with_ca.home))
    assert "certificate revoked" in verdict(with_ca, "stolen")


def test_a_former_ca_that_has_ended_does_not_stop_revocation(with_ca: Keyfob) -> None:
    now = datetime.now(timezone.utc)
    ended = Authority.ephemeral(not_before=now - 9 * DAY, not_after=now - DAY)
    write_folder(
        with_ca.home / "ca" / "previous", authority_files(ended.cert, ended.key, None, None)
    )
    with_ca.json("cert", "device", "stolen")
    with_ca.json("cert", "revoke", "stolen")
    with_ca.json("ca", "crl")
    assert "certificate revoked" in verdict(with_ca, "stolen")
