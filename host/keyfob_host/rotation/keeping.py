"""A certificate that a board is connected with, put where the bench keeps those in use."""

from __future__ import annotations

from keyfob_host.home import Home
from keyfob_host.pki import bench
from keyfob_host.pki.identity import Identity, Requested
from keyfob_host.pki.inventory import Inventory
from keyfob_host.pki.inventory_disk import open_inventory, row_of


def keep(home: Home, device_id: str, issued: Identity | Requested, profile: str = "") -> None:
    """``issued`` takes the place of the device's former certificate, on the same board.

    ``profile``: "" that of the former one. Errors: ``cert.inventory-*``, ``file.*``.
    """
    folder = bench.device_dir(home, device_id)
    inventory, _ = open_inventory(home)
    with inventory:
        board, former = _former(inventory, device_id)
        issued.write(folder, force=True)
        row = row_of(home, folder, kind="device", profile=profile or former)
        with inventory.writing():
            inventory.add([row])
            if board:
                inventory.set_board(str(row[0]), board)


def _former(inventory: Inventory, device_id: str) -> tuple[str, str]:
    """Board and profile of the device's certificate in use."""
    for record in inventory.named(device_id):
        if record.kind == "device" and record.stored_state == "issued":
            return record.board, record.profile
    return "", ""
