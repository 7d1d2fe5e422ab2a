"""Why a chain is refused where no single certificate tells: the errors and their evidence.

A part of `keyfob.pki.path`; loaded when it refuses.
"""

from keyfob.errors import KeyfobError
from keyfob.pki.certificate import common_name, who
from keyfob.pki.der import hex_text
from keyfob.pki.reading import read


def untrusted(chain, anchors) -> KeyfobError:
    """No trust anchor was found: where the chain ends, and what there is."""
    certificates = [read(der) for der in chain]
    names = [fields.subject_name for fields in certificates]
    last = certificates[0]
    # Upwards as long as there is an issuer, which there always is in a circle.
    for _ in names:
        if last.issuer_name in names and last.issuer_name != last.subject_name:
            last = certificates[names.index(last.issuer_name)]
    texts = ", ".join([who(read(der)) for der in anchors])
    detail = "chain ends with issuer %r, trust anchors " % common_name(last.issuer_name)
    return KeyfobError("x509.untrusted", detail + (texts or "none"))


def not_signed(path: list, at: int) -> KeyfobError:
    """What is at ``at`` on ``path`` is not signed by what is above."""
    fields, issuer = path[at], path[at + 1]
    wanted, seen = fields.authority_key_id, issuer.key_id
    names = (who(fields), who(issuer))
    if wanted is None or seen is None or wanted == seen:
        return KeyfobError("x509.bad-signature", "of %s, by the key of %s" % names)
    # Not the one that it asks for, but another of the same name.
    text = "%s is signed by key %s, " % (names[0], hex_text(wanted))
    return KeyfobError("x509.untrusted", text + "%s has key %s" % (names[1], hex_text(seen)))


def not_pinned(digests: list, pins) -> KeyfobError:
    """None of ``pins`` is among ``digests``, those of the path's keys."""
    texts = [" ".join([hex_text(each) for each in some]) for some in (digests, pins)]
    return KeyfobError("x509.not-pinned", "keys %s, pins %s" % tuple(texts))
