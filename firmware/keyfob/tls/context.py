"""Make the context of a TLS engine that verifies, or none at all.

Trust anchors, client certificate and key are read from the store one by one, handed
to the engine, and not kept here.
"""

import gc

import tls

from keyfob.errors import KeyfobError
from keyfob.tls.mbedtls import refuse

# What protects records, the best first.
_CIPHERS = (
    "AES-256-GCM-SHA384",
    "AES-128-GCM-SHA256",
    "CHACHA20-POLY1305-SHA256",
    "AES-256-CBC-SHA384",
    "AES-128-CBC-SHA256",
    "AES-256-CBC-SHA",
    "AES-128-CBC-SHA",
)


def make_context(identity, has_rsa_exchange: int):
    """A context that verifies the broker, and refuses its chain until it gets a better judge.

    ``identity``: `keyfob.store.Identity`. ``has_rsa_exchange``: offer the suites without
    forward secrecy too. Errors: tls.cannot-verify, tls.bad-key, x509.bad-anchor,
    x509.bad-certificate, store.*.
    """
    gc.collect()
    context = _prepared(tls.SSLContext(tls.PROTOCOL_TLS_CLIENT), identity)
    if not has_rsa_exchange:
        context.set_ciphers(_with_forward_secrecy(context))
    return context


def _with_forward_secrecy(context) -> list:
    """The names of those suites that the engine has. It would tell them (`get_ciphers`), but
    each name that it tells stays on the heap for good: 8 KB with the table that they are in."""
    found = []
    for ciphers in _CIPHERS:
        for key in ("1-3", "-ECDHE-ECDSA-WITH", "-ECDHE-RSA-WITH"):
            name = "TLS%s-%s" % (key, ciphers)
            try:
                context.set_ciphers((name,))
            except (OSError, ValueError):
                continue  # one that it does not have
            found.append(name)
    return found


def _prepared(context, identity):
    try:
        context.verify_mode = getattr(tls, "CERT_REQUIRED", None)
        context.verify_callback = refuse
    except (AttributeError, TypeError) as error:
        raise KeyfobError("tls.cannot-verify", str(error))
    check_verifies(context)
    for name in identity.names("ca"):
        try:
            context.load_verify_locations(identity.read(name))
        except (ValueError, OSError) as error:
            raise KeyfobError("x509.bad-anchor", "%s: %s" % (name, error))
    key = identity.read("key.der")
    for name in identity.names("cert"):
        try:
            # Of DER mbedTLS reads one certificate a call, and puts it behind those that it
            # has: the end-entity first, then each intermediate. It wants the key every time.
            context.load_cert_chain(identity.read(name), key)
        except (ValueError, OSError) as error:
            is_key = "key" in str(error)
            code, file = ("tls.bad-key", "key.der") if is_key else ("x509.bad-certificate", name)
            raise KeyfobError(code, "%s: %s" % (file, error))
    return context


def check_verifies(context) -> None:
    """Refuse an engine that does not verify. Errors: tls.cannot-verify.

    The ESP8266's axTLS ignores every write to the attribute and reads CERT_NONE for
    ever; its module does not even have the name CERT_REQUIRED.
    """
    required = getattr(tls, "CERT_REQUIRED", None)
    seen = getattr(context, "verify_mode", None)
    if required is None or seen != required:
        detail = "verify_mode reads %s, want %s" % (seen, required)
        raise KeyfobError("tls.cannot-verify", detail)
