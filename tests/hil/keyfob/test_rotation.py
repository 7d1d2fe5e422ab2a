"""A new identity over MQTT: in use once the board connected with it, else given back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from rotating import rotate

from keyfob_host.errors import KeyfobHostError

pytestmark = pytest.mark.rung("client-certificate")


@pytest.fixture
def rotated(board, host_client, ca) -> Callable[..., str]:
    """``rotated(authority)``: a certificate of ``authority`` for the board's key is sent;
    its fingerprint."""

    def send(authority) -> str:
        issued = rotate(board, host_client, authority, ca.authority)
        return hashlib.sha256(issued.cert_der()).hexdigest()[:16]

    yield send
    board.provision()


def test_a_certificate_sent_over_mqtt_is_in_use(rotated, board, ca, case) -> None:
    case.criterion("A certificate sent over MQTT is in use, also after a reset.")
    new = rotated(ca.authority)
    assert board.wait_event("store.loaded", cert=new)
    board.wait_event("store.committed")
    board.reset()
    assert board.wait_event("store.loaded")["cert"] == new
    board.wait_event("mqtt.up")


def test_a_certificate_that_the_broker_refuses_is_given_back(rotated, board, ca, case) -> None:
    case.criterion(
        "A certificate that the broker refuses is given back, with the broker's reason, and "
        "the one of before used."
    )
    old = board.fingerprint()
    with pytest.raises(KeyfobHostError) as caught:
        rotated(ca.foreign)
    assert caught.value.code == "rotate.rolled-back"
    assert "tls.alert-unknown-ca" in caught.value.evidence
    board.wait_event("store.rolled-back", code="tls.alert-unknown-ca")
    assert board.wait_event("store.loaded")["cert"] == old
    board.wait_event("mqtt.up")
