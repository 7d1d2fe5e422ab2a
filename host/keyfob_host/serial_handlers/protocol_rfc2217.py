"""Where pyserial looks for ``rfc2217://`` once it was told of this package."""

from keyfob_host.rfc2217_port import Serial

__all__ = ["Serial"]
