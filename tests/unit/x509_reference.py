"""What two other verifiers say of a chain: `cryptography`'s and ``openssl verify``."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import subprocess
import tempfile
import warnings
from pathlib import Path

from cryptography import x509
from cryptography.x509 import verification
from x509_cases import Case


def cryptography_says(case: Case) -> str:
    """Why it refuses the chain; "" if it takes it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chain = [x509.load_der_x509_certificate(pair.der) for pair in case.chain]
            anchors = [x509.load_der_x509_certificate(pair.der) for pair in case.anchors]
            now = datetime.datetime.fromtimestamp(case.now_s, datetime.timezone.utc)
            policy = verification.PolicyBuilder().store(verification.Store(anchors))
            verifier = policy.time(now.replace(tzinfo=None)).build_server_verifier(_subject(case))
            verifier.verify(chain[0], chain[1:])
    except (ValueError, IndexError, x509.InvalidVersion, x509.UnsupportedGeneralNameType) as error:
        return f"cannot read it: {error}"
    except verification.VerificationError as error:
        return str(error) or "?"
    return ""


def _subject(case: Case) -> verification.Subject:
    try:
        return verification.IPAddress(ipaddress.ip_address(case.host))
    except ValueError:
        return verification.DNSName(case.host)


def openssl_says(case: Case) -> str:
    """Why it refuses the chain; "" if it takes it."""
    with tempfile.TemporaryDirectory() as folder:
        parts = {"anchors": case.anchors, "below": case.chain[1:], "end": case.chain[:1]}
        files = {name: Path(folder, name) for name in parts}
        for name, pairs in parts.items():
            files[name].write_text("".join(_pem(pair.der) for pair in pairs), "utf-8")
        command = ["openssl", "verify", "-no-CApath", "-no-CAstore", "-x509_strict"]
        command += ["-purpose", "sslserver", "-partial_chain", "-auth_level", "2"]
        command += ["-attime", str(case.now_s), "-CAfile", str(files["anchors"])]
        if case.chain[1:]:
            command += ["-untrusted", str(files["below"])]
        try:
            ipaddress.ip_address(case.host)
            command += ["-verify_ip", case.host]
        except ValueError:
            command += ["-verify_hostname", case.host]
        command.append(str(files["end"]))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.stdout.endswith(": OK\n") else done.stdout + done.stderr or "?"


def _pem(der: bytes) -> str:
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"
