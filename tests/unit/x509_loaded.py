"""Loads the verifier's modules and common arithmetic, which it would unload behind each use."""

from keyfob.crypto import p256, rsa  # noqa: F401
from keyfob.pki import (  # noqa: F401
    algorithms,
    certificate,
    constraints,
    names,
    pss,
    refusal,
    search,
    signature,
)
