"""Loads the verifier's modules, which it would otherwise unload behind each use."""

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
