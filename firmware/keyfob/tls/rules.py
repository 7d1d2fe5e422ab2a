"""The rules of `keyfob.pki.path` for an unusual chain, whose signatures mbedTLS has judged.

mbedTLS takes chains that RFC 5280 and RFC 9525 refuse; `keyfob.tls.chain` says where. A board
refuses the same chains with either engine. Loaded once such a handshake is over, before
anything is sent in it: within mbedTLS's own callback a chip's stack might not do for it.
"""

from micropython import const

from keyfob import drop

# digitalSignature or keyEncipherment: which of them the suite needs mbedTLS has judged.
_ANY_KEY_USE = const(0xA0)


def check(chain: list, host: str, now_s: int, has_anchor: bool) -> None:
    """``chain``: DER of certificates that are a path for mbedTLS, end-entity first, each below
    the next. ``now_s``: Unix seconds. ``has_anchor``: the last is the trust anchor, and no
    intermediate below it. Errors: x509.*, as `keyfob.pki.path` has them."""
    try:
        from keyfob.pki.reading import read

        path = [read(der) for der in chain]
        del read
        drop("pki.reading")
        from keyfob.pki import search

        search.judge_end_entity(path[0], now_s, _ANY_KEY_USE)
        path[-1].is_anchor = has_anchor
        # Names that are equal for mbedTLS alone make no path.
        found = search.find(path[:-1], path[-1:], now_s, 0) if path[1:] else path
        del search
        drop("pki.search", "pki.constraints")
        if len(found) != len(chain):
            from keyfob.pki.refusal import untrusted

            raise untrusted(chain, chain[-1:])
        from keyfob.pki.names import check_host

        check_host(path[0], host)
        del check_host
    finally:
        drop(
            "pki.reading", "pki.search", "pki.constraints", "pki.names", "pki.refusal",
            "pki.certificate", "pki.general_names", "pki.fields", "pki.der",
        )  # fmt: skip
