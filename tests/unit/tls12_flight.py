"""OpenSSL's flight of TLS 1.2 for an engine, whole or broken, the same on every interpreter.

The handshake was another client's. So chain and signature are judged here by what fits
it, and everything up to our Finished runs as it always does.
"""

import binascii
import sys

import keyfob.crypto
import keyfob.pki
from keyfob.errors import KeyfobError
from keyfob.tls.engine import TLS12, Engine
from keyfob.tls.protection_gcm import GcmProtection

HERE = __file__[: __file__.rfind("/")] if "/" in __file__ else "."
HOST = "broker.test"
NOW_S = 1_795_260_000
NAMES = (
    "server-hello", "certificate", "server-key-exchange", "certificate-request",
    "server-hello-done",
)  # fmt: skip
VALUES = (0, 1, 2, 3, 4, 11, 12, 13, 14, 16, 20, 22, 23, 32, 64, 65, 127, 128, 254, 255)


def load(file_name=HERE + "/../vectors/tls12.txt"):
    """Name to message."""
    found = {}
    with open(file_name) as file:
        for line in file:
            if line[:1] != "#":
                at = line.find(" ")
                found[line[:at]] = binascii.a2b_base64(line[at:])
    return found


class _Judged:
    key_kind = "p256"
    key = bytes(65)
    valid_until_s = NOW_S + 1000


class Verifier:
    """In the place of `keyfob.pki.path` and `keyfob.pki.signature`."""

    @staticmethod
    def steps(*_, **__):
        yield None
        yield _Judged

    @staticmethod
    def digest_for(scheme, content):
        return bytes(32)

    @staticmethod
    def verify_signature(*_):
        return True


class Curve:
    """In the place of `keyfob.crypto.p256`."""

    @staticmethod
    def new_secret():
        return bytes(32)

    @staticmethod
    def public_key(secret):
        return bytes(65)

    @staticmethod
    def shared_secret(secret, point):
        return bytes(32) if len(point) == 65 else None


STAND_INS = (
    (keyfob.pki, "path", Verifier),
    (keyfob.pki, "signature", Verifier),
    (keyfob.crypto, "p256", Curve),
)


class Shortcuts:
    """While it is entered, verifier and P-256 say yes to everything, in no time."""

    def __enter__(self):
        self._kept = []
        for package, name, stand_in in STAND_INS:
            full = package.__name__ + "." + name
            was = getattr(package, name, None)
            self._kept.append((package, name, was, sys.modules.get(full)))
            setattr(package, name, stand_in)
            sys.modules[full] = stand_in
        return self

    def __exit__(self, *_):
        for package, name, was, loaded in self._kept:
            full = package.__name__ + "." + name
            del sys.modules[full]
            delattr(package, name)
            if loaded:
                sys.modules[full] = loaded
            if was:
                setattr(package, name, was)


def new_engine(**options):
    """An engine that has sent its ClientHello."""
    options["versions"] = (TLS12,)
    engine = Engine(HOST, (), NOW_S, **options)
    give(engine, b"")
    return engine


def give(engine, raw, chunk=1 << 20):
    """Let the engine have ``raw``, and do all it can with it; what it sent."""
    sent = b""
    at = 0
    buffer = memoryview(bytearray(64))
    while True:
        while engine.step():
            pass
        out = engine.tx()
        if len(out):
            sent += bytes(out)
            engine.sent(len(out))
            continue
        while engine.is_open and engine.read(buffer):
            pass
        room = engine.room()
        count = min(len(room), len(raw) - at, chunk)
        if not count:
            return sent
        room[:count] = raw[at : at + count]
        engine.received(count)
        at += count


def record(kind, content):
    """A record in clear."""
    return bytes((kind, 3, 3, len(content) >> 8, len(content) & 255)) + content


def open_engine():
    """(engine, the other side's keys): open, with keys of the test's."""
    engine = new_engine()
    engine._end_handshake()
    engine.is_open = True
    engine.version = TLS12
    engine.rx_keys = GcmProtection(b"their key here..", b"salt")
    engine.tx_keys = GcmProtection(b"our key is here.", b"salt")
    return engine, GcmProtection(b"their key here..", b"salt")


def sealed(keys, kind, content):
    """A record under ``keys``."""
    buffer = bytearray(13 + len(content) + 16)
    buffer[13 : 13 + len(content)] = content
    return bytes(buffer[: keys.seal(buffer, 0, 13 + len(content), kind)])


class Numbers:
    """Numbers that look like chance and are the same each time (xorshift of 32 bits)."""

    def __init__(self, seed):
        self._state = seed * 2654435761 % 0xFFFFFFFB + 1

    def below(self, limit):
        state = self._state
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        self._state = state
        return state % limit


def broken(content, numbers):
    """``content`` changed in one to three places; never as it was."""
    changed = bytearray(content)
    left = 1 + numbers.below(3)
    while left > 0 or changed == content:
        left -= 1
        at = numbers.below(len(changed) + 1)
        kind = numbers.below(6)
        if kind < 2 and at < len(changed):
            changed[at] = numbers.below(256) if kind else VALUES[numbers.below(len(VALUES))]
        elif kind == 2 and at < len(changed):
            changed[at] ^= 1 << numbers.below(8)
        elif kind == 3:
            changed = changed[:at] + changed[at + numbers.below(9) :]
        elif kind == 4:
            changed = changed[:at] + bytes(numbers.below(9)) + changed[at:]
        else:
            changed = changed[:at] + changed[at : at + numbers.below(40)] + changed[at:]
    return bytes(changed)


def refuses(engine, raw, chunk):
    """Whether the engine refused ``raw``, for good; it must never be done with it."""
    try:
        give(engine, raw, chunk)
    except KeyfobError as error:
        if error is not engine.error or len(engine.room()):
            raise ValueError("an engine that failed went on")  # noqa: B904 - MicroPython
        return True
    # It waits for more, which will not come; a device unloads what it brought before the next
    # (`keyfob.stream.unload`).
    engine._end_handshake()
    return False


def fuzz_messages(messages, seed, count):
    """``count`` handshakes with one message broken: (how many there were, how many of them
    were refused). The others wait for more."""
    numbers = Numbers(seed)
    done = refused = 0
    while done < count:
        which = numbers.below(len(NAMES))
        raw = b""
        for index, name in enumerate(NAMES):
            message = messages[name]
            if index == which:
                message = broken(message, numbers)
                if numbers.below(4):  # with its length right, more of it is looked at
                    size = max(len(message) - 4, 0)
                    message = message[:1] + bytes((0, size >> 8, size & 255)) + message[4:]
            raw += message
        cut = numbers.below(len(raw)) if numbers.below(2) else 700
        done += message_is_broken(messages, raw)
        raw = record(22, raw[:cut]) + record(22, raw[cut:])
        engine = new_engine()
        refused += refuses(engine, raw, 1 + numbers.below(300))
        if engine.is_open:
            raise ValueError("open without Finished")
        engine = raw = message = None  # before there is another one
    return done, refused


def message_is_broken(messages, raw):
    """Whether ``raw`` is not the flight as it was: a length may have been all that broke."""
    at = 0
    for name in NAMES:
        message = messages[name]
        if raw[at : at + len(message)] != message:
            return True
        at += len(message)
    return at != len(raw)


def fuzz_records(messages, seed, count):
    """``count`` streams of records, in clear or protected, that are broken or do not belong
    there: (how many there were, how many were refused)."""
    numbers = Numbers(seed)
    # Not all of the certificate: the heap of an ESP8266 has little room for copies.
    whole = b"".join(record(22, messages[name][:160]) for name in NAMES)
    done = refused = 0
    while done < count:
        if done % 2:
            engine = new_engine()
            raw = broken(whole, numbers)
        else:
            engine, keys = open_engine()
            kind = (20, 21, 22, 23, 23, 24)[numbers.below(6)]
            size = (0, 1, 2, 4, 30, 200)[numbers.below(6)]
            raw = sealed(keys, kind, bytes((numbers.below(3),)) * size)
            raw += sealed(keys, 23, b"data")
            if kind == 23 or numbers.below(3):
                raw = broken(raw, numbers)
        refused += refuses(engine, raw, 1 + numbers.below(300))
        engine = raw = None
        done += 1
    return done, refused


def main(file_name, arguments):
    """``FUZZ COUNT SEED``, for a process of its own."""
    what, count, seed = arguments
    fuzz = {"messages": fuzz_messages, "records": fuzz_records}[what]
    with Shortcuts():
        done, refused = fuzz(load(file_name), int(seed), int(count))
    print(what, done, "refused", refused)
