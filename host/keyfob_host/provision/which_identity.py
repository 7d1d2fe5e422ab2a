"""Which device's identity a board gets where nobody named one: its own, or the bench's only one.

What is not given stays as it is on the board, and so does who it is. Its settings are read at
its prompt only where the bench has several devices to choose from.
"""

from __future__ import annotations

import json

from keyfob_host.boards import BoardRef
from keyfob_host.errors import ExitStatus, KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.pki.names import HOST_ID
from keyfob_host.provision.provisioning import SETTINGS
from keyfob_host.transport import Transport, Via, open_transport

_SHOWN = 5


def which_identity(home: Home, ref: BoardRef, via: Via = "mpremote") -> str:
    """The device id. Errors: ``provision.no-identity``, ``provision.which-identity``,
    ``board.*``, ``port.*``."""
    known = _devices(home)
    if not known:
        raise KeyfobHostError(
            "provision.no-identity", "this bench has no device identity to give to a board",
            evidence=f"{home.certs_dir / 'device'} has none",
            fix="keyfob cert device sensor-01; "
            f"keyfob provision{ref.options} --identity sensor-01",
        )  # fmt: skip
    if len(known) == 1:
        return known[0]
    with open_transport(ref, via) as board:
        own = _device_of(board)
        if own in known:
            return own
        # Its program was interrupted for the question, and nothing else follows.
        board.reset()
    shown = ", ".join(known[:_SHOWN]) + (" …" if len(known) > _SHOWN else "")
    raise KeyfobHostError(
        "provision.which-identity", "say which device the board is to be",
        evidence=f"on the board: {own or 'none'}; this bench has: {shown}",
        fix=f"keyfob provision{ref.options} --identity {known[0]}", status=ExitStatus.USAGE,
    )  # fmt: skip


def _devices(home: Home) -> list[str]:
    found = home.certs_dir.glob("device/[!.]*/cert.pem")
    return sorted(path.parent.name for path in found if path.parent.name != HOST_ID)


def _device_of(board: Transport) -> str:
    """What its settings call it, "" if it has none that can be read."""
    try:
        told = json.loads(board.read(SETTINGS))
    except (KeyfobHostError, ValueError):
        return ""
    return str(told.get("device_id", "")) if isinstance(told, dict) else ""
