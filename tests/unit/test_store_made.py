"""keyfob.store_checks and keyfob.store's choice of a slot, with what `cryptography` made."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from device_support import Console

from keyfob import store, trial
from keyfob.errors import KeyfobError
from keyfob.store_checks import check

KEY = ec.generate_private_key(ec.SECP256R1())
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
END = datetime(2027, 1, 1, tzinfo=timezone.utc)


class Slot:
    """What `check` asks of an identity."""

    def __init__(self, key: bytes, *chain: bytes, anchors: tuple[bytes, ...] = ()) -> None:
        self._files = {"key.der": key}
        for stem, ders in (("ca", anchors or (ANCHOR,)), ("cert", chain)):
            self._files |= {f"{stem}{number or ''}.der": der for number, der in enumerate(ders)}

    def names(self, stem: str) -> list[str]:
        return sorted(name for name in self._files if name.startswith(stem))

    def read(self, name: str) -> bytes:
        return self._files[name]


def issued(
    issuer: str = "ca",
    subject: str = "x",
    *extensions: x509.ExtensionType,
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None = None,
    start: datetime = START,
    end: datetime = END,
) -> bytes:
    names = [
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in (issuer, subject)
    ]
    builder = x509.CertificateBuilder(*names, key or KEY.public_key(), 5, start, end)
    for extension in extensions:
        builder = builder.add_extension(extension, True)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def usage(*, signs: bool = True, certifies: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(signs, False, False, True, False, certifies, False, False, False)


CA = x509.BasicConstraints(True, None)
ANCHOR = issued("ca", "ca", CA)
NOW_S = int(START.timestamp()) + 86_400
KEY_DER = KEY.private_bytes(
    serialization.Encoding.DER,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.NoEncryption(),
)
PAIRS = {
    "p256": [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)],
    "p384": [ec.generate_private_key(ec.SECP384R1()) for _ in range(2)],
    "rsa": [rsa.generate_private_key(65537, 2048) for _ in range(2)],
}
FORMATS = {
    "sec1-or-pkcs1": serialization.PrivateFormat.TraditionalOpenSSL,
    "pkcs8": serialization.PrivateFormat.PKCS8,
}


def refused(slot: Slot, now_s: int = NOW_S) -> KeyfobError:
    with pytest.raises(KeyfobError) as caught:
        check(slot, now_s)
    return caught.value


def end_of_public(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    numbers = key.public_key().public_numbers()
    if isinstance(numbers, rsa.RSAPublicNumbers):
        return f"{numbers.n:x}"[-16:]
    return f"{numbers.y:096x}"[-16:]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", PAIRS)
def test_a_key_that_is_not_the_certificates_is_refused(kind: str, name: str) -> None:
    own, other = PAIRS[kind]
    cert = issued(key=own.public_key())
    encoding = (serialization.Encoding.DER, FORMATS[name], serialization.NoEncryption())
    slot = Slot(own.private_bytes(*encoding), cert)
    check(slot, NOW_S)
    assert slot.not_after_s == int(END.timestamp())
    error = refused(Slot(other.private_bytes(*encoding), cert))
    assert error.code == "store.key-mismatch"
    for key in (own, other):
        assert end_of_public(key) in error.detail


def test_nothing_of_a_private_key_is_told_where_its_public_half_is_not_found() -> None:
    own, other = PAIRS["rsa"]
    pkcs1 = (serialization.Encoding.DER, FORMATS["sec1-or-pkcs1"], serialization.NoEncryption())
    private = other.private_bytes(*pkcs1)[-300:]
    detail = refused(Slot(private, issued(key=own.public_key()))).detail
    assert detail.endswith("key.der …?")


def test_a_key_without_its_public_half_is_left_to_the_engine_and_the_broker() -> None:
    secret = KEY.private_numbers().private_value.to_bytes(32, "big")
    short = bytes.fromhex("303102010104 20") + secret + bytes.fromhex("a00a06082a8648ce3d030107")
    assert serialization.load_der_private_key(short, None).public_key() == KEY.public_key()
    check(Slot(short, issued()), NOW_S)
    check(Slot(b"no key", issued()), NOW_S)


CLIENT = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])
ANY = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
LEAF = x509.BasicConstraints(False, None)


@pytest.mark.parametrize(
    "extensions", [(CLIENT,), (ANY,), (usage(),), (LEAF, usage(), CLIENT)], ids=range(4)
)
def test_a_certificate_for_tls_clients_is_taken(
    extensions: tuple[x509.ExtensionType, ...],
) -> None:
    check(Slot(KEY_DER, issued("ca", "x", *extensions)), NOW_S)


PROFILES: list[tuple[str, tuple[x509.ExtensionType, ...], str]] = [
    ("store.wrong-usage", (SERVER,), "1.3.6.1.5.5.7.3.1"),
    ("store.wrong-usage", (usage(signs=False),), "10, want 80"),
    ("store.is-ca", (CA, CLIENT), "CA true, want false"),
    ("store.is-ca", (CA, usage(certifies=True)), "CA true, want false"),
    ("x509.not-v3", (), "version 1, want 3"),
]


@pytest.mark.parametrize(("code", "extensions", "evidence"), PROFILES)
def test_a_certificate_of_another_profile_is_refused(
    code: str, extensions: tuple[x509.ExtensionType, ...], evidence: str
) -> None:
    cert = issued("ca", "x", *extensions)
    if code == "x509.not-v3":
        cert = (Path(__file__).parents[1] / "vectors" / "device-x509v1.pem").read_bytes()
        cert = x509.load_pem_x509_certificate(cert).public_bytes(serialization.Encoding.DER)
    error = refused(Slot(KEY_DER, cert))
    assert (error.code, error.detail.startswith("cert.der: ")) == (code, True)
    assert evidence in error.detail


@pytest.mark.parametrize(
    ("code", "now_s", "clock"),
    [
        ("store.expired", int(END.timestamp()) + 1, "2027-01-01T00:00:01Z"),
        ("store.not-yet-valid", int(START.timestamp()) - 1, "2025-12-31T23:59:59Z"),
    ],
)
def test_dates_that_do_not_fit_are_told_with_the_clock(code: str, now_s: int, clock: str) -> None:
    slot = Slot(KEY_DER, issued())
    error = refused(slot, now_s)
    assert error.code == code
    dates = "valid from 2026-01-01T00:00:00Z to 2027-01-01T00:00:00Z, clock "
    assert error.detail == f"cert.der: {dates}{clock}"
    assert slot.not_after_s == int(END.timestamp())
    check(slot)  # without a clock nobody can tell


def test_the_first_and_the_last_second_are_valid() -> None:
    for moment in (START, END):
        check(Slot(KEY_DER, issued()), int(moment.timestamp()))


def test_a_chain_out_of_order_is_refused() -> None:
    own, lower, upper = issued("lower"), issued("upper", "lower", CA), issued("ca", "upper", CA)
    check(Slot(KEY_DER, own, lower, upper), NOW_S)
    error = refused(Slot(KEY_DER, own, upper, lower))
    assert error.code == "store.bad-chain"
    assert error.detail == "cert1.der: 'upper', want issuer 'lower'"


@pytest.mark.parametrize("at", range(2))
def test_a_certificate_that_is_not_der_is_named(at: int) -> None:
    chain = [issued("lower"), issued("ca", "lower", CA)]
    chain[at] = chain[at][:-1]
    error = refused(Slot(KEY_DER, *chain))
    assert error.code == "x509.malformed"
    assert error.detail.startswith(f"cert{at or ''}.der: offset ")


@pytest.mark.parametrize("at", range(2))
def test_a_trust_anchor_that_is_none_is_refused(at: int) -> None:
    for other, evidence in (
        (issued(), "version 3, CA false; want 3 and true"),
        (ANCHOR[:-1], "offset "),
    ):
        anchors = [ANCHOR, ANCHOR]
        anchors[at] = other
        error = refused(Slot(KEY_DER, issued(), anchors=tuple(anchors)))
        assert error.code == "store.bad-anchor"
        assert error.detail.startswith(f"ca{at or ''}.der: {evidence}")


def test_one_trust_anchor_that_is_valid_is_enough() -> None:
    past = issued("ca", "ca", CA, start=START - timedelta(days=9), end=START)
    check(Slot(KEY_DER, issued(), anchors=(past, ANCHOR)), NOW_S)
    slot = Slot(KEY_DER, issued(), anchors=(past, past))
    error = refused(slot)
    assert error.code == "store.anchor-expired"
    assert "to 2026-01-01T00:00:00Z, clock 2026-01-02T00:00:00Z" in error.detail
    check(slot)


class Clock:
    """A clock that was set to ``NOW_S``."""

    is_doubted = False

    def now_s(self) -> int:
        return NOW_S

    def doubt(self) -> None:
        self.is_doubted = True


class Root:
    """The folder ``id`` of a board that is called ``x``."""

    def __init__(self, folder: Path, active: str = "a") -> None:
        self.folder = folder
        self.clock = Clock()
        (folder / "active").write_text(active)

    def put(self, slot: str, cert: bytes, device_id: str = "x") -> None:
        files = {"ca.der": ANCHOR, "cert.der": cert, "key.der": KEY_DER}
        (self.folder / slot).mkdir(exist_ok=True)
        for name, content in files.items():
            (self.folder / slot / name).write_bytes(content)
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        manifest = {"device_id": device_id, "created_s": 1, "files": digests}
        (self.folder / slot / "manifest.json").write_text(json.dumps(manifest))

    def load(self) -> store.Identity:
        return store.load("x", str(self.folder), self.clock)

    def refused(self) -> KeyfobError:
        with pytest.raises(KeyfobError) as caught:
            self.load()
        return caught.value


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


EXPIRED = issued(end=START)
FOR_SERVERS = issued("ca", "x", SERVER)


def test_the_other_slot_is_used_where_the_active_one_fails_a_check(root: Root) -> None:
    for bad, code in ((EXPIRED, "store.expired"), (FOR_SERVERS, "store.wrong-usage")):
        root.put("a", bad)
        root.put("b", issued())
        for _ in range(2):  # told each time
            with Console() as console:
                identity = root.load()
            assert (identity.slot, identity.on_trial) == ("b", False)
            assert identity.not_after_s == int(END.timestamp())
            event = console.named("store.fallback")[0]
            assert (event["slot"], event["code"]) == ("b", code)
            assert event["detail"].startswith("cert.der: ")
        assert (root.folder / "active").read_text() == "a"


def test_a_damaged_file_in_the_active_slot_makes_the_other_one_used(root: Root) -> None:
    for name in ("ca.der", "cert.der", "key.der", "manifest.json"):
        root.put("a", issued())
        root.put("b", issued())
        (root.folder / "a" / name).write_bytes(b"{")
        with Console() as console:
            assert root.load().slot == "b"
        assert console.named("store.fallback")[0]["code"] in (
            "store.hash-mismatch", "store.bad-manifest",
        )  # fmt: skip


def test_where_both_slots_are_damaged_both_reasons_are_told(root: Root) -> None:
    root.put("a", FOR_SERVERS)
    root.put("b", issued(), device_id="y")
    error = root.refused()
    assert error.code == "store.no-identity"
    assert "a: store.wrong-usage: cert.der" in error.detail
    assert "b: store.wrong-device: " in error.detail


def test_a_board_provisioned_once_is_told_the_reason_itself(root: Root) -> None:
    root.put("a", FOR_SERVERS)
    assert root.refused().code == "store.wrong-usage"


def test_dates_that_do_not_fit_leave_the_clock_in_doubt(root: Root) -> None:
    root.put("a", FOR_SERVERS)
    root.refused()
    assert not root.clock.is_doubted
    for bad in (EXPIRED, issued(start=END - timedelta(days=1))):
        root.clock.is_doubted = False
        root.put("a", bad)
        assert root.refused().code in ("store.expired", "store.not-yet-valid")
        assert root.clock.is_doubted


def test_a_look_without_a_clock_judges_files_only_and_tries_nothing(root: Root) -> None:
    root.put("a", EXPIRED)
    root.put("b", issued())
    trial.begin("b", str(root.folder))
    assert store.load("x", str(root.folder)).slot == "a"
    assert (root.folder / "trial").read_text() == "b3"


def test_the_slot_on_trial_goes_first_while_attempts_are_left(root: Root) -> None:
    root.put("a", issued())
    root.put("b", issued())
    trial.begin("b", str(root.folder))
    with Console() as console:
        loaded = [root.load() for _ in range(4)]
    assert [(one.slot, one.on_trial) for one in loaded] == [("b", True)] * 3 + [("a", False)]
    assert console.named("store.rolled-back")[0]["code"] == "store.trial-cut-short"
    assert console.named("store.fallback") == []


def test_a_slot_on_trial_that_is_not_whole_is_given_up_in_the_same_attempt(root: Root) -> None:
    root.put("a", issued())
    root.put("b", FOR_SERVERS)
    trial.begin("b", str(root.folder))
    with Console() as console:
        identity = root.load()
    assert (identity.slot, identity.on_trial) == ("a", False)
    assert console.named("store.rolled-back")[0]["code"] == "store.wrong-usage"
    found = trial.take_report(str(root.folder))
    assert found and found["code"] == "store.wrong-usage"


def test_a_confirmed_trial_is_loaded_as_the_active_slot(root: Root) -> None:
    root.put("a", issued())
    root.put("b", issued())
    trial.begin("b", str(root.folder))
    with Console():
        assert root.load().on_trial
        trial.confirm(str(root.folder))
    identity = root.load()
    assert (identity.slot, identity.on_trial) == ("b", False)
