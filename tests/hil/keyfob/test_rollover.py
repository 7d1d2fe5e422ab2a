"""From one CA to the next while the board stays in the field, and one that missed all of it."""

from __future__ import annotations

import pytest

from keyfob_host.pki.authority import Authority
from keyfob_host.pki.renewal import renew
from keyfob_host.rotation.delivery import Delivery
from keyfob_host.rotation.offer import anchor_files, certificate_files, make_offer
from keyfob_host.rotation.sender import board_state, deliver

pytestmark = pytest.mark.rung("client-certificate")

LIMIT_S = 120.0


@pytest.fixture(scope="module")
def next_ca() -> Authority:
    return Authority.ephemeral("Next HIL CA")


@pytest.fixture
def offered(board, broker):
    """``offered(files, signer)``: the board is sent ``files`` and is connected with them."""

    def send(files: dict[str, bytes], signer: Authority) -> None:
        board.mark()
        with broker.client() as client:
            state = board_state(client, board.device_id)
            offer = make_offer(board.device_id, files, signer.key, state.created_s + 1)
            deliver(client, Delivery(offer), state, limit_s=LIMIT_S)
        assert board.events("store.committed") != []

    return send


def test_board_goes_over_to_a_new_ca_without_a_hand_laid_on_it(
    board, broker, ca, next_ca, offered, case
) -> None:
    case.criterion(
        "Over MQTT alone the board comes to trust the next CA, gets its certificate, and "
        "trusts the old one no more."
    )
    board.provision(ca.authority.issue_device(board.device_id))  # afterwards it has another CA
    board.connected()
    both = (ca.authority, next_ca)

    # Both are trusted, the old one signs.
    broker.trust(*both)
    board.wait_event("mqtt.up")
    offered(anchor_files([one.cert for one in both]), ca.authority)

    # The new one signs: first the broker's certificate, then the board's.
    broker.show(next_ca.issue_broker(broker.host, [broker.host]))
    broker.restart()
    board.wait_event("mqtt.up")
    of_next = renew(next_ca, board.identity, new_key=False)
    offered(certificate_files(of_next), next_ca)

    # The old one is trusted no more.
    offered(anchor_files([next_ca.cert]), next_ca)
    broker.trust(next_ca)
    board.wait_event("mqtt.up")
    broker.show(ca.authority.issue_broker(broker.host, [broker.host]))
    broker.restart()
    board.wait_error("x509.*")
    assert not board.log.is_connected()


def test_board_that_was_off_for_a_whole_rollover_recovers_over_serial(
    board, broker, ca, next_ca, case
) -> None:
    case.criterion(
        "A board that knows the old CA alone refuses the new broker; provisioned again it connects."
    )
    board.connected()
    broker.trust(next_ca)
    broker.show(next_ca.issue_broker(broker.host, [broker.host]))
    broker.restart()
    error = board.wait_error("x509.*")
    assert error["retry"] == "stop"
    # keyfob provision --identity ID
    board.provision(next_ca.issue_device(board.device_id))
    board.wait_event("mqtt.up")
