"""The key schedule of TLS 1.3 against the secrets that RFC 8448 prints."""

import binascii
import hashlib

from rfc8448 import octets

from keyfob.tls import keys13


def digest(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def test_early_secret_is_that_of_the_rfc():
    assert keys13.early_secret() == octets("3.early")
    assert keys13.early_secret(octets("3.resumption-psk")) == octets("4.early")


def test_handshake_and_master_secret_are_those_of_the_rfc():
    handshake = keys13.next_secret(octets("3.early"), octets("3.shared-secret"))
    assert handshake == octets("3.handshake")
    assert keys13.next_secret(handshake) == octets("3.master")
    resumed = keys13.next_secret(octets("4.early"), octets("4.shared-secret"))
    assert resumed == octets("4.handshake")


def test_traffic_secrets_are_those_of_the_rfc():
    hellos = digest(octets("3.client-hello"), octets("3.server-hello"))
    handshake, master = octets("3.handshake"), octets("3.master")
    client = keys13.derive_secret(handshake, b"c hs traffic", hellos)
    assert client == octets("3.client-handshake-traffic")
    server = keys13.derive_secret(handshake, b"s hs traffic", hellos)
    assert server == octets("3.server-handshake-traffic")
    flight = octets("3.client-hello"), octets("3.server-hello"), octets("3.server-flight")
    client = keys13.derive_secret(master, b"c ap traffic", digest(*flight))
    assert client == octets("3.client-application-traffic")
    server = keys13.derive_secret(master, b"s ap traffic", digest(*flight))
    assert server == octets("3.server-application-traffic")
    behind = digest(*flight, octets("3.client-finished"))
    resumption = keys13.derive_secret(master, b"res master", behind)
    assert resumption == octets("3.resumption-master")


def test_traffic_keys_are_those_of_the_rfc():
    key, iv = keys13.traffic_keys(octets("3.server-handshake-traffic"))
    assert (key, iv) == (octets("3.server-handshake-key"), octets("3.server-handshake-iv"))


def test_finished_is_that_of_the_rfc():
    flight = octets("3.server-flight")
    until = digest(octets("3.client-hello"), octets("3.server-hello"), flight[:-36])
    made = keys13.verify_data(octets("3.server-handshake-traffic"), until)
    assert made == flight[-32:]
    until = digest(octets("3.client-hello"), octets("3.server-hello"), flight)
    made = keys13.verify_data(octets("3.client-handshake-traffic"), until)
    assert made == octets("3.client-finished")[4:]


def test_psk_of_a_ticket_and_its_binder_are_those_of_the_rfc():
    assert keys13.resumption_psk(octets("3.resumption-master"), b"\0\0") == octets(
        "3.resumption-psk"
    )
    binder_key = keys13.derive_secret(octets("4.early"), b"res binder")
    assert binder_key == octets("4.binder-key")
    assert digest(octets("4.client-hello-prefix")) == octets("4.binder-hash")
    assert keys13.verify_data(binder_key, octets("4.binder-hash")) == octets("4.binder")


def test_secret_after_a_key_update_is_that_of_openssl():
    # openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt mode:EXPAND_ONLY -kdfopt hexkey:…
    # -kdfopt prefix:"tls13 " -kdfopt label:"traffic upd" TLS13-KDF
    made = keys13.next_traffic_secret(octets("3.server-application-traffic"))
    assert made == binascii.unhexlify(
        "51921b8aa3001976eb401d0a4319a8516416a6c56001a357e5d162031e84f916"
    )
