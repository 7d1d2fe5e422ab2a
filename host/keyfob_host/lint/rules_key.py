"""Rules for private keys and certificate requests. No key material is in any finding."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keyfob_host.lint.finding import Rule, Severity
from keyfob_host.lint.subjects import KeySubject, RequestSubject
from keyfob_host.pki.keys import describe_key

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_GROUP_BITS, _OTHERS_BITS = 0o070, 0o007
_MIN_RSA_BITS = 2048
# What `keyfob provision` puts on a board, and what axTLS reads.
_DEVICE_KEYS, _AXTLS_KEYS = ("p256", "rsa2048"), ("rsa2048",)


def _unreadable(subject: KeySubject) -> Iterator[str]:
    if subject.key.wrong:
        yield f"{subject.key.form or 'unknown form'}: {subject.key.wrong}"


def _encrypted(subject: KeySubject) -> Iterator[str]:
    if subject.key.is_encrypted:
        yield f"{subject.key.form}, encrypted"


def _exposed(subject: KeySubject) -> Iterator[str]:
    if subject.mode is not None and subject.mode & _OTHERS_BITS:
        yield f"mode {subject.mode:04o}, want 0600"


def _group_readable(subject: KeySubject) -> Iterator[str]:
    mode = subject.mode or 0
    if mode & _GROUP_BITS and not mode & _OTHERS_BITS:
        yield f"mode {mode:04o}, want 0600"


def _weak(subject: KeySubject) -> Iterator[str]:
    name = subject.key.name
    if name.startswith("rsa") and int(name[3:]) < _MIN_RSA_BITS:
        yield f"{name}, want rsa{_MIN_RSA_BITS} or more"


def _of_no_certificate(subject: KeySubject) -> Iterator[str]:
    certificates = [cert for cert in subject.certificates if cert.is_readable]
    if not subject.key.spki or not certificates:
        return
    if all(cert.spki != subject.key.spki for cert in certificates):
        seen = ", ".join(f"{cert.title} has a {cert.key.name} key" for cert in certificates[:3])
        same = any(cert.key.name == subject.key.name for cert in certificates)
        yield f"the file has {'another' if same else 'a'} {subject.key.name} key; {seen}"


def _for_device(subject: KeySubject) -> Iterator[str]:
    """What `keyfob provision` sends to a board of this kind, or to any."""
    board, name = subject.context.board, subject.key.name
    taken = board.tls.keys if board else _DEVICE_KEYS
    if name and name not in taken:
        yield f"{name}; {board.name if board else 'boards'}: {', '.join(taken)}"


def _for_axtls(subject: KeySubject) -> Iterator[str]:
    """A DER file is for the board as it stands, and may be for the port's own TLS."""
    board, key = subject.context.board, subject.key
    if board is None or board.chip != "esp8266" or not subject.is_der or not key.name:
        return
    if key.form != "PKCS#1" or key.name not in _AXTLS_KEYS:
        yield f"{key.form}, {key.name}; axTLS: PKCS#1, {', '.join(_AXTLS_KEYS)}"


KEY_RULES: tuple[Rule[KeySubject], ...] = (
    Rule("lint.key-unreadable", _E, "the private key cannot be read",
         "openssl pkey -in {file} -noout -check", _unreadable),
    Rule("lint.key-encrypted", _E, "the private key is encrypted, and boards and mosquitto at its "
         "start have nobody to ask for the passphrase",
         "openssl pkey -in {file} -out {file}.new && chmod 600 {file}.new", _encrypted,
         ("broker", "device")),
    Rule("lint.key-exposed", _E, "everybody on this machine can read the private key",
         "chmod 600 {file}", _exposed),
    Rule("lint.key-group", _W, "the file's group can read the private key", "chmod 600 {file}",
         _group_readable),
    Rule("lint.key-weak", _E, "the key is too weak: boards and brokers refuse it", "{reissue}",
         _weak),
    Rule("lint.key-mismatch", _E, "the private key is not the certificate's",
         "find the pair: openssl pkey -in {file} -pubout | sha256sum; or issue anew: {reissue}",
         _of_no_certificate),
    Rule("lint.key-for-device", _E, "the board cannot use this type of key", "{reissue_key}",
         _for_device, ("device",)),
    Rule("lint.key-for-axtls", _N, "Keyfob's own TLS engine reads this key, the port's axTLS does "
         "not", "for axTLS: keyfob cert device sensor-01 --key-type rsa2048", _for_axtls,
         ("device", None)),
)  # fmt: skip


def _request_broken(subject: RequestSubject) -> Iterator[str]:
    request = load_request(subject.der)
    if isinstance(request, str):
        yield request


def _request_unsigned(subject: RequestSubject) -> Iterator[str]:
    request = load_request(subject.der)
    if not isinstance(request, str) and not is_request_signed(request):
        yield f"{request.subject.rfc4514_string()}: the signature is not of the key in it"


def _request_nameless(subject: RequestSubject) -> Iterator[str]:
    request = load_request(subject.der)
    if not isinstance(request, str):
        try:
            names = request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        except ValueError:
            return
        if not names:
            yield f"subject: {request.subject.rfc4514_string() or '(empty)'}"


def _request_weak(subject: RequestSubject) -> Iterator[str]:
    key = request_key(subject.der)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        yield f"{describe_key(key)}, want rsa{_MIN_RSA_BITS} or more"
    elif key is not None and not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        yield f"{describe_key(key)}, want p256 or rsa2048"


def load_request(der: bytes) -> x509.CertificateSigningRequest | str:
    """The request, or why it cannot be read."""
    try:
        request = x509.load_der_x509_csr(der)
        _ = request.subject, request.extensions
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        return (str(error).splitlines() or [type(error).__name__])[0][:160]
    return request


def is_request_signed(request: x509.CertificateSigningRequest | str) -> bool:
    """Whether a request is signed with the key in it (RFC 2986 section 3)."""
    try:
        return not isinstance(request, str) and request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        return False


def request_key(der: bytes) -> object:
    """The request's public key, or None."""
    request = load_request(der)
    if isinstance(request, str):
        return None
    try:
        return request.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


_NEW_REQUEST = "make it anew: openssl req -new -key KEY.pem -subj /CN=sensor-01 -out {file}"

REQUEST_RULES: tuple[Rule[RequestSubject], ...] = (
    Rule("lint.request-unreadable", _E, "the certificate request cannot be read", _NEW_REQUEST,
         _request_broken),
    Rule("lint.request-signature", _E, "the request is not signed with its own key: no CA signs "
         "it", _NEW_REQUEST, _request_unsigned),
    Rule("lint.request-name", _W, "the request names nobody", _NEW_REQUEST, _request_nameless),
    Rule("lint.key-weak", _E, "the request's key is none that boards and brokers take",
         _NEW_REQUEST, _request_weak),
)  # fmt: skip
