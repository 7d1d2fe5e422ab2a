"""A new certificate over MQTT, as `keyfob rotate` sends one."""

from __future__ import annotations

import time

from keyfob_host.hil.bench_board import BenchBoard
from keyfob_host.mqtt_host import HostClient
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Issued
from keyfob_host.pki.renewal import renew
from keyfob_host.rotation.delivery import Delivery
from keyfob_host.rotation.offer import certificate_files, make_offer
from keyfob_host.rotation.sender import board_state, deliver

_LIMIT_S = 240.0  # a real ESP8266 makes three handshakes and judges a signature


def rotate(
    board: BenchBoard, client: HostClient, authority: Authority, signer: Authority
) -> Issued:
    """What ``authority`` issued for the board's key, in an offer signed by ``signer``: the board
    has it in use. Errors: those of `keyfob_host.rotation.sender.deliver`."""
    board.connected()
    state = board_state(client, board.device_id)
    issued = renew(authority, board.identity, new_key=False)
    created_s = max(int(time.time()), state.created_s) + 1
    offer = make_offer(board.device_id, certificate_files(issued), signer.key, created_s)
    deliver(client, Delivery(offer), state, limit_s=_LIMIT_S)
    return issued
