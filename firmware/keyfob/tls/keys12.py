"""Secrets and keys of TLS 1.2. RFC 5246 sections 6.3, 7.4.9 and 8.1, RFC 7627."""

from keyfob.crypto.hmac import prf

_GCM_SUITES = (0xC02B, 0xC02F, 0x009C, 0x00A8)


def master_secret(hs, premaster: bytes, session_hash: bytes) -> bytes:
    """``session_hash``: of the messages up to the ClientKeyExchange."""
    if hs.is_extended:
        return prf(premaster, b"extended master secret", session_hash, 48)
    return prf(premaster, b"master secret", hs.random + hs.server_random, 48)


def make_protections(hs) -> None:
    """``hs.protections``: (ours, the server's) for the records, from ``hs.master``."""
    seed = hs.server_random + hs.random
    if hs.engine.suite in _GCM_SUITES:
        from keyfob.tls.protection_gcm import GcmProtection

        block = prf(hs.master, b"key expansion", seed, 40)
        ours = GcmProtection(block[:16], block[32:36])
        theirs = GcmProtection(block[16:32], block[36:])
    else:
        from keyfob.tls.protection_cbc import CbcProtection

        block = prf(hs.master, b"key expansion", seed, 96)
        ours = CbcProtection(block[64:80], block[:32], hs.is_mac_last)
        theirs = CbcProtection(block[80:], block[32:64], hs.is_mac_last)
    hs.protections = ours, theirs


def verify_data(hs, label: bytes) -> bytes:
    """What a Finished says of the messages up to here; ``label`` says whose it is."""
    return prf(hs.master, label, hs.transcript.digest(), 12)
