"""Who gets in and who may write what, seen by a real MQTT client against a real mosquitto."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from judges import needs_mosquitto

from keyfob_host.broker import MosquittoBroker
from keyfob_host.broker_probe import connect_packet
from keyfob_host.errors import KeyfobHostError
from keyfob_host.mqtt_host import HostClient
from keyfob_host.pki.authority import Authority

pytestmark = needs_mosquitto

NAME = "broker.keyfob.test"


class Bench:
    """A running broker and a client for each identity."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.authority = Authority.create(root / "ca")
        self.ca = root / "ca" / "ca.cert.pem"
        self.authority.issue_broker(NAME, [NAME, "127.0.0.1"]).write(root / "id" / NAME)
        self.authority.issue_host().write(root / "id" / "keyfob-host")
        for name in ("sensor-01", "sensor-02"):
            self.authority.issue_device(name).write(root / "id" / name)
        self.broker = MosquittoBroker(
            root / "run", identity_dir=root / "id" / NAME, ca_pem_path=self.ca,
            host_identity_dir=root / "id" / "keyfob-host",
        )  # fmt: skip

    def client(self, identity: str, **options: object) -> HostClient:
        options = {"server_name": NAME, "timeout_s": 5.0, **options}
        return HostClient(
            "127.0.0.1", self.broker.port, self.root / "id" / identity, self.ca,
            **options,  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("bench"))
    with made.broker:
        yield made


@pytest.fixture
def host(bench: Bench) -> Iterator[HostClient]:
    with bench.client("keyfob-host") as client:
        client.subscribe("#")
        yield client


def code_of(bench: Bench, identity: str, **options: object) -> str:
    with pytest.raises(KeyfobHostError) as refused:
        bench.client(identity, **options).connect()
    return refused.value.code


def test_a_device_writes_below_its_own_id_only(bench: Bench, host: HostClient) -> None:
    with bench.client("sensor-01") as device:
        for topic in (
            "devices/sensor-02/reading", "devices/sensor-0", "devices", "other",
            "devices/sensor-011/reading", "devices/keyfob-host/x", "DEVICES/sensor-01/x",
        ):  # fmt: skip
            device.publish(topic, "intruder")
        device.publish("devices/sensor-01/reading", "own")
    # MQTT 3.1.1 acknowledges what the ACL drops; the order of delivery proves the drop.
    message = host.wait_message("#", lambda m: not m.retain)
    assert (message.topic, message.payload) == ("devices/sensor-01/reading", b"own")
    assert bench.broker.log().count("Denied PUBLISH from") >= 7


def test_a_device_reads_below_its_own_id_only(bench: Bench, host: HostClient) -> None:
    with bench.client("sensor-01") as device:
        device.subscribe("#")
        device.subscribe("$SYS/#")
        host.publish("devices/sensor-02/command", "not yours")
        host.publish("news", "not yours")
        host.publish("devices/sensor-01/command", "yours")
        message = device.wait_message("#")
        assert (message.topic, message.payload) == ("devices/sensor-01/command", b"yours")


def test_the_host_reads_the_brokers_own_topics(host: HostClient) -> None:
    host.subscribe("$SYS/broker/version")
    assert b"mosquitto" in host.wait_message("$SYS/#").payload


def test_a_retained_message_is_marked(bench: Bench, host: HostClient) -> None:
    with bench.client("sensor-02") as device:
        device.publish("devices/sensor-02/status", "online", retain=True)
        device.subscribe("devices/sensor-02/status")
        assert device.wait_message("devices/+/status").retain
    host.publish("devices/sensor-02/status", b"", retain=True)


def test_without_acl_every_client_of_the_ca_may_write(bench: Bench) -> None:
    with (
        MosquittoBroker(
            bench.root / "open", identity_dir=bench.root / "id" / NAME, ca_pem_path=bench.ca,
            acl=False,
        ) as broker,
        HostClient(
            "127.0.0.1", broker.port, bench.root / "id" / "sensor-01", bench.ca, NAME
        ) as device,
    ):  # fmt: skip
        device.subscribe("anything")
        device.publish("anything", "x")
        assert device.wait_message("anything").payload == b"x"


def test_a_client_of_another_ca_is_refused(bench: Bench) -> None:
    Authority.ephemeral().issue_device("sensor-01").write(bench.root / "id" / "stranger")
    assert code_of(bench, "stranger") == "broker.unreachable"
    assert "certificate verify failed" in bench.broker.log()


def test_a_brokers_certificate_is_no_client(bench: Bench) -> None:
    assert code_of(bench, NAME) == "broker.unreachable"


def test_the_client_refuses_another_name_and_another_ca(bench: Bench, tmp_path: Path) -> None:
    assert code_of(bench, "keyfob-host", server_name="other.keyfob.test") == "broker.not-trusted"
    with bench.client("keyfob-host", server_name="127.0.0.1"):
        pass  # an address that is in the SAN
    (tmp_path / "ca.pem").write_bytes(Authority.ephemeral().cert_pem())
    with pytest.raises(KeyfobHostError) as refused:
        HostClient(
            "127.0.0.1", bench.broker.port, bench.root / "id" / "keyfob-host",
            tmp_path / "ca.pem", NAME,
        ).connect()  # fmt: skip
    assert refused.value.code == "broker.not-trusted"


def raw_context(bench: Bench, identity: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=bench.ca)
    if identity:
        folder = bench.root / "id" / identity
        context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    return context


def raw_connack(bench: Bench, context: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", bench.broker.port), 5) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as link,
    ):
        link.sendall(connect_packet("raw"))
        return link.recv(4)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_client_certificate_no_session(bench: Bench, version: ssl.TLSVersion) -> None:
    context = raw_context(bench, None)
    context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        raw_connack(bench, context)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_2_is_accepted_and_1_1_refused_by_the_broker(bench: Bench) -> None:
    context = raw_context(bench, "sensor-01")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else this side would not even offer 1.1
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert raw_connack(bench, context) == b"\x20\x02\x00\x00"
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError) as refused:
        raw_connack(bench, context)
    assert "ALERT_PROTOCOL_VERSION" in str(refused.value)


def test_no_message_is_told_with_what_came_instead(host: HostClient) -> None:
    host.publish("elsewhere", "12345")
    host.wait_message("elsewhere")
    host.publish("elsewhere", "12345")
    with pytest.raises(KeyfobHostError) as refused:
        host.wait_message("devices/sensor-01/state", timeout_s=0.2)
    assert refused.value.code == "broker.no-message"
    assert "elsewhere (5 bytes)" in refused.value.evidence


def test_messages_are_chosen_by_predicate_and_kept_for_others(host: HostClient) -> None:
    for payload in ("1", "2", "3"):
        host.publish("numbers", payload)
    assert host.wait_message("numbers", lambda m: m.payload == b"2").payload == b"2"
    assert host.wait_message("numbers").payload == b"1"
    assert host.wait_message("numbers").payload == b"3"


def test_a_broker_that_goes_away_is_told_at_once(bench: Bench) -> None:
    folder = bench.root / "id"
    broker = MosquittoBroker(bench.root / "short", identity_dir=folder / NAME, ca_pem_path=bench.ca)
    with (
        broker.start(),
        HostClient("127.0.0.1", broker.port, folder / "keyfob-host", bench.ca, NAME) as client,
    ):
        broker.stop()
        with pytest.raises(KeyfobHostError) as lost:
            client.wait_message("#", timeout_s=20)
        assert "the connection ended" in lost.value.evidence
        for action in (lambda: client.publish("a", "b"), lambda: client.subscribe("a")):
            with pytest.raises(KeyfobHostError) as refused:
                action()
            assert refused.value.code == "broker.unreachable"
    with pytest.raises(KeyfobHostError) as refused:
        HostClient("127.0.0.1", broker.port, folder / "keyfob-host", bench.ca, NAME).connect()
    assert refused.value.code == "broker.unreachable"
