"""Make the context of a TLS engine that verifies, or none at all.

Trust anchors, client certificate and key are read from the store one by one, handed
to the engine, and not kept here.
"""

import gc

import tls

from keyfob.errors import KeyfobError
from keyfob.tls.mbedtls import refuse


def make_context(identity):
    """A context that verifies the broker, and refuses its chain until it gets a better judge.

    ``identity``: `keyfob.store.Identity`. Errors: tls.cannot-verify, tls.bad-key,
    x509.bad-anchor, x509.bad-certificate, store.*.
    """
    gc.collect()
    return _prepared(tls.SSLContext(tls.PROTOCOL_TLS_CLIENT), identity)


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
    names = identity.names("cert")
    try:
        context.load_cert_chain(_read_chain(identity, names), identity.read("key.der"))
    except (ValueError, OSError) as error:
        code = "tls.bad-key" if "key" in str(error) else "x509.bad-certificate"
        detail = str(error)
        if len(names) > 1:
            detail += "; with %d intermediates, which take an engine that reads PEM" % (
                len(names) - 1
            )
        raise KeyfobError(code, detail)
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


def _read_chain(identity, names: list) -> bytes:
    """The chain as `load_cert_chain` takes it: one DER, or PEM when there are several.

    mbedTLS reads one certificate of DER and stops; of PEM it reads all.
    """
    if len(names) == 1:
        return identity.read(names[0])
    import binascii  # seldom needed: most chains are one certificate

    text = b""
    for name in names:
        text += b"-----BEGIN CERTIFICATE-----\n" + binascii.b2a_base64(identity.read(name))
        text += b"-----END CERTIFICATE-----\n"
    return text
