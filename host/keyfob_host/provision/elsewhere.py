"""A CA elsewhere: the board's request goes out in a file, its certificate comes back in one.

Judged here is only what the files are; whether the certificate is for the board's key,
and could connect, is for `keyfob_host.provision.on_board`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from keyfob_host.errors import ExitStatus, KeyfobHostError, explain_os_error
from keyfob_host.pki.authority import load_ca_cert
from keyfob_host.pki.identity import Issued, load_certs

if TYPE_CHECKING:
    from keyfob_host.home import Home


def check_request_file(path: Path) -> None:
    """Refuse to replace a file that is no request. Error ``provision.would-overwrite``."""
    with explain_os_error(path, "look at the file for the request"):
        is_other = path.exists() and b"CERTIFICATE REQUEST" not in path.read_bytes()[:100]
    if is_other:
        raise KeyfobHostError(
            "provision.would-overwrite", "the file for the request is there, and is no request",
            evidence=str(path), fix="give another name: --csr-out request.pem",
            status=ExitStatus.USAGE,
        )  # fmt: skip


def read_chain(chain: Path, anchors: Path | None, home: Home) -> Issued:
    """A certificate that was issued elsewhere, and whom the board shall trust.

    ``chain``: a file with the certificate and its intermediates, or a folder with
    ``chain.pem`` and ``ca.pem``. ``anchors``: a file; None: what is self-signed in
    ``chain``, or the bench's CA. Errors: ``cert.unreadable``, ``ca.missing``, ``file.*``.
    """
    with explain_os_error(chain, "look for the chain"):
        is_folder = chain.is_dir()
    certs = load_certs(chain / "chain.pem" if is_folder else chain, "the certificate chain")
    own, rest = certs[0], certs[1:]
    _check_end_entity(own, chain)
    trusted = [one for one in rest if one.subject == one.issuer]
    if anchors is not None:
        trusted = load_certs(anchors, "the trust anchors")
    elif is_folder:
        trusted = load_certs(chain / "ca.pem", "the trust anchors")
    elif not trusted:
        trusted = [load_ca_cert(home.ca_dir)]
    above = tuple(one for one in rest if one.subject != one.issuer)
    return Issued(cert=own, anchors=tuple(trusted), intermediates=above)


def _check_end_entity(own: x509.Certificate, chain: Path) -> None:
    try:
        constraints = own.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return
    if constraints.ca:
        raise KeyfobHostError(
            "provision.not-a-device", "the first certificate of the chain is a CA's",
            evidence=f"{chain}: {own.subject.rfc4514_string()}: CA:TRUE",
            fix="put the device's certificate first, its intermediates behind it; whom the board "
            "shall trust goes to --ca",
            status=ExitStatus.IDENTITY,
        )  # fmt: skip
