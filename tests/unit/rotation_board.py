"""A store with an identity, and what a client does between it and a host that changes it."""

import binascii
import hashlib
import json
import os

from device_support import VECTORS, Console, new_folder, remove_folder, write

from keyfob import rotation, rotation_work

NOW_S = 1_795_000_100
CONFIG = {"device_id": "sensor-01", "limits": {"rx_bytes": 4096}}
SLOT_A = {"ca.der": "ca", "cert.der": "cert", "key.der": "key"}


class Vectors:
    def __init__(self):
        with open(VECTORS + "/rotation.txt") as file:
            self.contents = json.loads(file.readline())
            self.rows = [json.loads(line) for line in file]

    def content(self, name):
        return binascii.unhexlify(self.contents[name])

    def offer(self, name):
        (found,) = [row for row in self.rows if row[0] == name]
        return found[1].encode(), found[2]


MADE = Vectors()


class Board:
    """A store with slot a, and what a client does between board and host."""

    def __init__(self, files=SLOT_A, config=CONFIG):
        self.root = new_folder()
        self.config = config
        self.notes = {}
        os.mkdir(self.root + "/a")
        digests = {}
        for name in files:
            content = MADE.content(files[name])
            write(self.root + "/a/" + name, content)
            digests[name] = sha256(content)
        manifest = {"device_id": "sensor-01", "created_s": 1_794_000_000, "files": digests}
        write(self.root + "/a/manifest.json", json.dumps(manifest))
        write(self.root + "/active", "a")

    def __enter__(self):
        self.console = Console()
        self.console.__enter__()
        self.work()
        return self

    def __exit__(self, *_):
        self.console.__exit__()
        remove_folder(self.root)

    def work(self, now_s=NOW_S):
        rotation_work.work(self.config, self.notes, now_s, self.root)

    def reset(self):
        self.notes = {}
        self.work(0)

    def send(self, payload):
        """As `keyfob.rotation_blocking` does it; the state that it tells."""
        rotation.take(self.notes, payload)
        if self.notes.get("todo"):
            self.work()
        return self.state()

    def state(self):
        return json.loads(rotation.state(self.notes).decode())

    def code(self):
        outcome = self.state().get("outcome")
        return outcome["code"] if outcome else ""

    def deliver(self, name, size=200):
        """The offer ``name`` with all its files; the state at the end."""
        payload, files = MADE.offer(name)
        told = self.send(payload)
        while told.get("offer"):
            had = told["offer"]["had"]
            for one in sorted(files):
                content = MADE.content(files[one])
                if had[one] < len(content):
                    told = self.send(chunk(payload, one, had[one], content, size))
                    break
            else:
                break
        return told

    def tree(self, slot):
        """Name to content of a slot."""
        found = {}
        for name in os.listdir(self.root + "/" + slot):
            with open("%s/%s/%s" % (self.root, slot, name), "rb") as file:
                found[name] = file.read()
        return found


def sha256(content):
    return "".join("%02x" % byte for byte in hashlib.sha256(content).digest())


def chunk(offer, name, offset, content, size=200):
    created_s = json.loads(offer[offer.find(b"\n") + 1 :].decode())["created_s"]
    head = "chunk %d %s %d\n" % (created_s, name, offset)
    return head.encode() + content[offset : offset + size]


def exists(path):
    try:
        os.stat(path)
    except OSError:
        return False
    return True
