"""The certificate authorities of a suite: its own, and a foreign one that nobody trusts.

Made anew for every run and kept in memory, unless the device under test trusts a CA
already (`hil.external`); only the identities that mosquitto and the host's client read
from files are written, over those of the run before.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from keyfob_host.files import write_atomic
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import certs_pem
from keyfob_host.pki.names import HOST_ID


class BenchCa:
    """``folder`` takes what must be a file. Issue with `authority` and with `foreign`.

    ``authority``: one that is there already; by default one is made for the run.
    """

    def __init__(self, folder: Path, authority: Authority | None = None) -> None:
        self.folder = folder
        self.authority = authority or Authority.ephemeral("Keyfob HIL CA")
        self.ca_pem = folder / "ca.pem"
        self.is_widened = False
        write_atomic(self.ca_pem, _trusted(self.authority))

    def trust(self, *authorities: Authority) -> None:
        """What mosquitto and the host's client trust when they start next, instead of
        `authority`; the host's identity is of the last one."""
        self.is_widened = authorities != (self.authority,)
        write_atomic(self.ca_pem, b"".join(map(_trusted, authorities)))
        authorities[-1].issue_host().write(self.host_identity, force=True)

    @cached_property
    def foreign(self) -> Authority:
        """A CA that neither the broker nor a board of this bench trusts."""
        return Authority.ephemeral("Foreign HIL CA")

    @cached_property
    def host_identity(self) -> Path:
        """The folder of the host's own client identity, which the broker's ACL lets do all."""
        return self.authority.issue_host().write(self.folder / HOST_ID, force=True)


def _trusted(authority: Authority) -> bytes:
    """What leads to ``authority``: its anchors, and itself where it is an intermediate, so
    that a client without its chain is let in too."""
    return certs_pem((*authority.intermediates, *authority.anchors))
