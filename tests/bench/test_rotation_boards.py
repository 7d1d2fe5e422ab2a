"""Rotation in the field: real boards of both kinds, mosquitto, and everything that goes wrong.

The boards of this file live as long as its tests, since a rotation leaves a board as good as
it found it.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rotation_rig import DEVICE_ID, Rig, fingerprint, rotation_rig

from keyfob_host.errors import KeyfobHostError
from keyfob_host.home import Home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import read_issued
from keyfob_host.pki.renewal import renew
from keyfob_host.rotation.delivery import Delivery
from keyfob_host.rotation.offer import anchor_files, certificate_files
from keyfob_host.rotation.policy import Policy
from keyfob_host.rotation.renewer import Decision, Renewer
from keyfob_host.virtual import micropython32

pytestmark = pytest.mark.mosquitto
KINDS = ("virtual-esp32", "virtual-esp8266")
UTC = datetime.timezone.utc


def _needs_32_bit(kind: str) -> None:
    if kind == "virtual-esp8266":
        try:
            micropython32.fetch()
        except micropython32.Unavailable as why:
            pytest.skip(f"no 32-bit MicroPython: {why}")


@pytest.fixture(scope="module", params=KINDS)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A board of each kind, connected."""
    _needs_32_bit(request.param)
    with rotation_rig(tmp_path_factory.mktemp("rotation"), request.param) as made:
        yield made


@pytest.fixture
def board(rig: Rig) -> Rig:
    """The same, with a state to begin with: reset, so that nothing of the last test is left."""
    rig.relay.clear()
    rig.forget()
    rig.virtual.reset()
    rig.event("store.loaded")  # so that it has an identity, whichever test is the first
    return rig


def next_certificate(rig: Rig) -> dict[str, bytes]:
    return certificate_files(renew(rig.authority, rig.device, new_key=False))


def refused(rig: Rig, work: Callable[[], object], code: str) -> KeyfobHostError:
    """``work`` ends with the board's ``code``, and the board is connected as before."""
    before = rig.identity()
    with pytest.raises(KeyfobHostError) as caught:
        work()
    assert code in caught.value.evidence
    assert rig.identity() == before
    return caught.value


def test_a_new_certificate_is_in_use_after_its_trial(board: Rig) -> None:
    before = board.state()
    offer = board.offer(next_certificate(board))
    board.deliver(offer)
    assert board.identity() == fingerprint(offer.files["cert.der"])
    assert board.events("store.committed")
    after = board.last
    assert after.slot != before.slot and after.cert != before.cert


def test_new_trust_anchors_are_in_use_and_may_sign(board: Rig) -> None:
    other = Authority.ephemeral(common_name="Next CA")
    own = board.authority.cert
    board.deliver(board.offer(anchor_files([own, other.cert])))
    board.deliver(board.offer(next_certificate(board), key=other.key))
    board.deliver(board.offer(anchor_files([own])))
    refused(board, lambda: board.deliver(board.offer(next_certificate(board), key=other.key)),
            "rotate.bad-signature")  # fmt: skip


def test_a_certificate_that_the_broker_does_not_take_is_rolled_back(board: Rig) -> None:
    foreign = Authority.ephemeral(common_name="Foreign CA")
    files = certificate_files(renew(foreign, board.device, new_key=False))
    told = refused(board, lambda: board.deliver(board.offer(files)), "tls.alert-unknown-ca")
    assert told.code == "rotate.rolled-back"
    assert board.events("store.rolled-back")


def test_certificates_that_cannot_do_are_refused_before_a_trial(board: Rig) -> None:
    now = datetime.datetime.now(UTC)
    day = datetime.timedelta(days=1)
    issue = board.authority.issue_device
    for issued, code in (
        (issue(DEVICE_ID), "store.key-mismatch"),
        (board.reissued(not_before=now - 9 * day, not_after=now - day), "store.expired"),
        (board.reissued(eku=["serverAuth"]), "store.wrong-usage"),
        (board.reissued(name="sensor-02"), "rotate.wrong-device"),
    ):
        files = certificate_files(issued)
        refused(board, lambda files=files: board.deliver(board.offer(files)), code)  # type: ignore[misc]
    if board.ref.kind.chip == "esp32":  # at boot, dates are judged by the trial
        assert not board.events("identity.trial")


def test_the_link_may_be_cut_at_each_stage(board: Rig) -> None:
    for at in range(4):
        offer = board.offer(next_certificate(board))
        delivery = board.begin(offer)
        sent = 0
        while not delivery.is_committed:
            message = board.step(delivery)
            if sent == at:
                board.relay.cut()
            if message is not None:
                board.send(message)
            sent += 1
        assert board.identity() == fingerprint(offer.files["cert.der"])


def test_a_board_that_is_reset_goes_on_where_it_was(board: Rig) -> None:
    both = [board.authority.cert, Authority.ephemeral(common_name="Next CA").cert]
    offer = board.offer({**anchor_files(both), **next_certificate(board)})
    delivery = board.begin(offer)
    while delivery.sent_bytes < delivery.total_bytes // 2:
        message = board.step(delivery)
        if message is not None:
            board.send(message)
    had = delivery.sent_bytes
    board.forget()
    board.virtual.reset()
    while not delivery.is_committed:
        message = board.step(delivery)
        assert delivery.sent_bytes >= had  # and never from its start
        if message is not None:
            board.send(message)
    assert board.identity() == fingerprint(offer.files["cert.der"])


def test_a_broker_that_is_gone_during_the_trial_costs_the_new_identity_only(board: Rig) -> None:
    offer = board.offer(next_certificate(board))
    board.event("mqtt.up")
    before = board.identity()
    delivery = board.begin(offer)
    is_last = False
    while not is_last:
        message = board.step(delivery)
        if message is not None:
            is_last = message.startswith(b"chunk ")  # there is one only
            if is_last:
                board.relay.target = ("127.0.0.1", 9)  # nobody, for connections to come
            board.send(message)
    board.event("store.rolled-back")
    board.relay.target = ("127.0.0.1", board.broker.port)
    state = board.state(lambda one: one.outcome == "rolled-back")
    assert state.code.startswith("tls.") and state.outcome_s == offer.created_s
    assert board.identity() == before


def test_nonsense_leaves_the_board_connected(board: Rig) -> None:
    board.state()
    for payload, code in (
        (b"", "rotate.malformed"),
        (b"hello", "rotate.malformed"),
        (b"offer " + b"A" * 500, "rotate.malformed"),
        (b"chunk 1 cert.der 0\n" + b"x" * 300, "rotate.malformed"),
        (b"chunk 9999999999 cert.der 0\n" + b"x" * 300, "rotate.no-offer"),
    ):
        board.send(payload)
        if payload[:7] != b"chunk 1":
            board.event("identity.refused", code=code)
            board.forget_events()
    # At once; an ESP8266 has no room for the twenty that a broker sends before it is answered.
    for _ in range(40 if board.ref.kind.chip == "esp32" else 2):
        board.send(b"chunk 9999999999 cert.der 0\n" + b"x" * 400)
    board.deliver(board.offer(next_certificate(board)))


def test_a_lying_clock_does_not_let_an_old_offer_in(board: Rig) -> None:
    files = next_certificate(board)
    now_s = board.state().created_s
    for created_s, code in (
        (now_s, "rotate.replayed"),
        (now_s - 86_400, "rotate.replayed"),
        (now_s + 3 * 86_400, "rotate.from-the-future"),
    ):
        offer = board.offer(files, created_s=created_s)
        board.forget()
        board.send(offer.payload)
        state = board.state(lambda one, made=created_s: one.outcome_s == made)  # type: ignore[misc]
        assert state.code == code


def cut_at(rig: Rig, operation: int) -> bool:
    """Rotate with a power cut at that flash operation; whether it came to one."""
    offer = rig.offer(next_certificate(rig))
    old, new = rig.state().cert, fingerprint(offer.files["cert.der"])
    rig.forget()
    rig.virtual.flash_fault(operation)
    delivery = Delivery(offer)
    rig.send(offer.payload)
    was_cut = False
    while not delivery.is_committed:
        if not was_cut and rig.virtual.info()["state"] == "off":
            was_cut = True
            rig.virtual.power(True)
            rig.event("mqtt.up")
            assert rig.identity() in (old, new)
            rig.send(offer.payload)
        try:
            message = delivery.next(rig.state(wait_s=1.0), time.monotonic())
        except KeyfobHostError as error:
            if error.code == "rotate.refused" and "rotate.replayed" in error.evidence and was_cut:
                break  # it is committed, and the state of that is a retained one to come
            if error.code != "broker.no-message":
                raise
            message = None if was_cut else delivery.last
            continue
        if message is not None:
            rig.send(message)
    rig.virtual.flash_fault(None)
    assert rig.identity() == new
    return was_cut


def sweep(rig: Rig, stride: int) -> int:
    operation, cuts = 1, 0
    while cut_at(rig, operation):
        cuts += 1
        operation += stride
    print(f"{cuts} power cuts, at every {stride}. of {operation - 1} flash operations")
    return cuts


@pytest.fixture
def esp32(tmp_path: Path) -> Iterator[Rig]:
    with rotation_rig(tmp_path) as made:
        made.event("mqtt.up")
        yield made


def test_a_power_cut_leaves_the_old_identity_or_the_new_one(esp32: Rig) -> None:
    assert sweep(esp32, 13) >= 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_power_cut_at_every_flash_operation_leaves_a_whole_identity(esp32: Rig) -> None:
    assert sweep(esp32, 1) >= 40


@pytest.mark.parametrize(
    "kind", ["virtual-esp8266", pytest.param("virtual-esp32", marks=pytest.mark.slow)]
)
def test_a_board_renews_its_certificate_itself(tmp_path: Path, kind: str) -> None:
    _needs_32_bit(kind)
    now = datetime.datetime.now(UTC)
    day = datetime.timedelta(days=1)
    with rotation_rig(
        tmp_path, kind, dates={"not_before": now - 80 * day, "not_after": now + 20 * day}
    ) as rig:
        home = Home(tmp_path / "bench")
        rig.device.write(home.certs_dir / "device" / DEVICE_ID)
        (home.ca_dir).mkdir(parents=True)
        (home.ca_dir / "ca.cert.pem").write_bytes(rig.authority.cert_pem())
        decisions: list[Decision] = []
        over = threading.Event()

        def decided(one: Decision) -> None:
            decisions.append(one)
            if one.what in ("delivered", "failed"):
                over.set()

        renewer = Renewer(home, rig.authority, Policy(), decided, over.is_set)
        with rig.host() as client:
            timer = threading.Timer(60, over.set)
            timer.start()
            renewer.run(client)
            timer.cancel()
        assert [one.what for one in decisions] == ["issued", "delivered"], decisions
        folder = home.certs_dir / "device" / DEVICE_ID
        assert not (folder / "key.pem").exists()
        issued = read_issued(folder)
        assert rig.identity() == fingerprint(issued.cert_der())
        assert issued.cert.public_key() != rig.device.cert.public_key()
        rig.forget()
        rig.virtual.reset()  # key and request are tidied up, and nothing is asked for again
        rig.event("mqtt.up")
        assert rig.state().cert == fingerprint(issued.cert_der())
        assert not rig.events("error")
