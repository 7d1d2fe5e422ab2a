"""The way to the broker: station, clock, identity and verified stream, in that order."""

from keyfob import drop, stream
from keyfob.clock import Clock
from keyfob.errors import KeyfobError
from keyfob.events import emit, emit_error
from keyfob.wifi import Wifi

# What an attempt can end with that says nothing of the session it would have resumed.
_BEFORE_TLS = " tls.refused tls.unreachable tls.name-not-found tls.connect-timeout "


class Uplink:
    """``config``: the checked settings. ``clock``: the board's, for the application too.

    ``on_trial``: the identity of this attempt is (`keyfob.trial`), and nobody took it yet.
    """

    on_trial = False
    was_open = False  # since the reset: there is room for a handshake

    def __init__(self, config: dict) -> None:
        self._config = config
        self._wifi = Wifi(config["wifi"])
        self.check_up = self._wifi.check_up
        self.clock = Clock(config["ntp"])
        # How the attempt with an identity on trial ended: judged by the next one, because
        # at the end of one there is less room.
        self._failed: KeyfobError | None = None
        self._stream = None  # of Keyfob's engine
        self._session = None  # what it left to be resumed,
        self._owner = b""  # by this identity only

    async def open(self, is_flat: bool = False):
        """A verified stream to the broker. ``is_flat``, and errors: `keyfob.stream.connect`;
        one whose hands are not shaken yet is given to `tell` afterwards."""
        self.on_trial = False
        await self._wifi.join()
        if self.clock.is_due():
            try:
                await self.clock.set()
            except KeyfobError as error:
                if not self.clock.is_set():
                    raise
                emit_error(error)  # a clock that was set once goes on by itself
        identity = _load_identity(self._config["device_id"], self.clock, self._failed)
        self._failed = None
        self.on_trial = identity.on_trial
        broker, session = self._config["broker"], self._resumable(identity)
        opened = await stream.connect(
            broker["host"], broker["port"], identity, self.clock, self._config, session,
            is_flat,
        )  # fmt: skip
        if self._config["tls"]["engine"] == "keyfob":
            # It has the session now, as long as that is of use.
            self._stream, self._session = opened, None
        if not is_flat:
            self.tell(opened)
        return opened

    def tell(self, opened) -> None:
        """``opened`` is open and verified."""
        self.was_open = True
        emit("tls.up", host=self._config["broker"]["host"], **opened.facts())

    def _resumable(self, identity):
        """The session that ``identity`` may resume."""
        self._keep_session()
        owner = identity.digest()
        if owner != self._owner:
            self._owner, self._session = owner, None
        return self._session

    def _keep_session(self) -> None:
        if self._stream:
            self._session, self._stream = self._stream.session, None

    def ended(self, error: KeyfobError) -> KeyfobError:
        """A connection, or the attempt, ended with ``error``; what is behind that."""
        if self._stream:
            self._keep_session()
        elif error.code[:4] in ("tls.", "x509") and " %s " % error.code not in _BEFORE_TLS:
            self._session = None  # that may be what the broker did not like
        if error.code in ("x509.expired", "x509.not-yet-valid"):
            self.clock.doubt()  # it may be our clock that is wrong
        try:
            if not error.code.startswith("wifi."):
                self.check_up()
        except KeyfobError as lost:
            error = lost
        if self.on_trial:
            self._failed = error
        return error


def _load_identity(device_id: str, clock: Clock, failed: KeyfobError | None):
    from keyfob import store

    try:
        identity = store.load(device_id, clock=clock, failed=failed)
    finally:
        del store
        drop("store", "store_checks", "trial", empties=True)
        drop("identity")  # which runs as long as its object lives
        stream.unload()
    ends_s = identity.not_after_s
    emit("store.loaded", slot=identity.slot, cert=identity.cert_sha256(), not_after_s=ends_s)
    return identity
