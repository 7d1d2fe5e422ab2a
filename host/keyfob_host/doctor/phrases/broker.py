"""What mosquitto writes into its log, 2.0 and 2.1, and what its clients print.

Texts are those of ``src/`` and ``lib/`` of mosquitto 2.0.11 to 2.1.2. OpenSSL's texts, which
it logs too, are in `keyfob_host.doctor.numbers.openssl`.
"""

from __future__ import annotations

from keyfob_host.doctor.phrase import phrases

SOURCE = "mosquitto's log"
CLIENT_SOURCE = "mosquitto_pub and mosquitto_sub"

_LOGIN = "authorization.not-mapped authorization.bad-password"
_GONE = "wifi.weak-signal firmware.power firmware.crash tcp.closed-by-peer"
_TOO_LARGE = "traffic.packet-too-large authorization.denied-topic"

PHRASES = (
    *phrases(
        CLIENT_SOURCE,
        ("A network protocol error occurred when communicating",
         "what answers is no MQTT, as TLS is not", "tcp.wrong-port traffic.misused-protocol"),
        ("Unable to connect (Lookup error", "the broker's name does not resolve",
         "name.not-resolved"),
    ),
    *phrases(
        CLIENT_SOURCE,
        ("A TLS error occurred", "the TLS handshake failed; the line before says why",
         "x509.wrong-anchor x509.name-not-in-san client-certificate.unknown-ca tcp.wrong-port"),
        ("The connection was lost", "the broker closed the connection",
         "tcp.closed-by-peer client-certificate.unknown-ca authorization.denied-topic"),
        is_echo=True,
    ),
    *phrases(
        SOURCE,
        ("Client <unknown> disconnected: Protocol error", "a client was dropped before it said who "
         "it is: TLS failed, or what came was none", "tcp.wrong-port "
         "client-certificate.not-sent client-certificate.unknown-ca x509.wrong-anchor"),
        ("Socket error on client", "the connection failed, or TLS did; the line before says why",
         "tcp.closed-by-peer wifi.weak-signal"),
        is_echo=True,
    ),
    *phrases(
        SOURCE,
        ("Client * already connected, closing old connection",
         "a second client came with the same client identifier", "mqtt.same-client-id"),
        ("disconnected: session taken over",
         "a second client came with the same client identifier", "mqtt.same-client-id"),
        ("has exceeded timeout, disconnecting", "the client sent nothing for 1.5 times its keep "
         "alive", "traffic.keep-alive " + _GONE),
        ("disconnected: exceeded timeout", "the client sent nothing for 1.5 times its keep alive",
         "traffic.keep-alive " + _GONE),
        ("disconnected, not authorised", "the broker did not let this client in", _LOGIN),
        ("disconnected: not authorised", "the broker did not let this client in", _LOGIN),
        ("Connection Refused: not authorised", "the broker did not let this client in", _LOGIN),
        ("bad user name or password", "user name or password are wrong, or the certificate has no "
         "common name", "authorization.bad-password authorization.not-mapped"),
        ("bad username or password", "user name or password are wrong, or the certificate has no "
         "common name", "authorization.bad-password authorization.not-mapped"),
        ("unacceptable protocol version", "the broker does not speak this version of MQTT",
         "mqtt.protocol-version"),
        ("identifier rejected", "the broker refuses the client identifier",
         "mqtt.client-id-refused"),
        ("client identifier not valid", "the broker refuses the client identifier",
         "mqtt.client-id-refused"),
        ("Connection Refused: broker unavailable", "the broker is up and cannot serve",
         "mqtt.broker-unavailable"),
        ("Denied PUBLISH", "the ACL forbids this message, and it was dropped",
         "authorization.denied-topic"),
        ("Access denied by ACL", "the ACL forbids it", "authorization.denied-topic"),
        ("Rejected PUBLISH", "a quota is used up, and the message was dropped",
         "mqtt.too-many-connections"),
        ("Dropped too large PUBLISH", "the message is above message_size_limit, and was dropped",
         "authorization.denied-topic traffic.packet-too-large"),
        ("Dropping too large outgoing PUBLISH", "the message is larger than the client takes",
         "traffic.packet-too-large"),
        ("oversize packet", "a packet is above max_packet_size", _TOO_LARGE),
        ("oversize payload", "a payload is above message_size_limit", _TOO_LARGE),
        ("too large Will payload", "the will is larger than allowed", _TOO_LARGE),
        ("max_connections exceeded", "the broker has as many connections as it may",
         "mqtt.too-many-connections mqtt.same-client-id"),
        ("connection rate exceeded", "too many connections in too short a time",
         "mqtt.too-many-connections mqtt.same-client-id"),
        ("disconnected due to protocol error", "a packet breaks MQTT's rules, or is none",
         "tcp.wrong-port traffic.misused-protocol"),
        ("disconnected: protocol error", "a packet breaks MQTT's rules, or is none",
         "tcp.wrong-port traffic.misused-protocol"),
        ("due to malformed packet", "a packet cannot be read",
         "traffic.misused-protocol tcp.wrong-port"),
        ("disconnected: malformed packet", "a packet cannot be read",
         "traffic.misused-protocol tcp.wrong-port"),
        ("appears to be using TLS to connect to a non-TLS listener", "TLS came to the plain port",
         "tcp.wrong-port"),
        ("client did not connect using TLS", "plain MQTT came to the TLS port", "tcp.wrong-port"),
        ("QoS too high or retain not supported", "the broker does not take this QoS or retain",
         "traffic.misused-protocol"),
        ("used disallowed feature", "the broker does not take this QoS, retain or AUTH method",
         "traffic.misused-protocol"),
        ("Invalid protocol version", "the broker does not speak this version of MQTT",
         "mqtt.protocol-version"),
        ("Invalid protocol \"*\" in CONNECT", "what came is no MQTT this broker knows",
         "tcp.wrong-port mqtt.protocol-version"),
        ("sending multiple CONNECT messages", "a client sent CONNECT twice on one connection",
         "traffic.misused-protocol"),
        ("Bad socket read/write on client", "the connection failed", _GONE),
        ("disconnected: bad socket read/write", "the connection failed", _GONE),
        ("been disconnected by administrative action", "somebody closed it at the broker", ""),
        ("disconnected: administrative action", "somebody closed it at the broker", ""),
        ("denied access by tcpd", "hosts.deny on the broker's machine forbids it",
         "tcp.unreachable"),
        ("dangerous client id", "a client identifier with + or # cannot be in an ACL",
         "mqtt.client-id-refused"),
        ("dangerous username", "a user name with + or # cannot be in an ACL",
         "authorization.not-mapped"),
        ("Outgoing messages are being dropped", "a client takes messages more slowly than they "
         "come", "traffic.keep-alive wifi.weak-signal"),
        ("Address already in use", "another program has the broker's port", "tcp.listener-down"),
        ("Cannot assign requested address", "the listener's address is none of this machine's",
         "tcp.listener-down"),
        ("Unable to load server key file", "the broker cannot read its key", "tcp.listener-down"),
        ("Unable to load server certificate", "the broker cannot read its certificate",
         "tcp.listener-down x509.weak-algorithm"),
        ("Unable to load CA certificates", "the broker cannot read its cafile",
         "tcp.listener-down store.wrong-form"),
        ("Unable to load certificate revocation file", "the broker cannot read its CRL",
         "tcp.listener-down client-certificate.crl-overdue"),
        ("certificate/key are inconsistent", "the broker's certificate and key do not belong "
         "together", "tcp.listener-down"),
        ("Error when reloading certificate", "after a SIGHUP the broker could not use its new "
         "files, and goes on with the old", "x509.broker-expired tcp.listener-down"),
        ("Unable to open config file", "the configuration is not there", "tcp.listener-down"),
        ("Unknown configuration variable", "the configuration has a word that this mosquitto does "
         "not know", "tcp.listener-down"),
        ("Unable to open pwfile", "the password file cannot be read", "tcp.listener-down"),
        ("Error opening password file", "the password file cannot be read", "tcp.listener-down"),
        ("Unable to open acl_file", "the ACL cannot be read", "tcp.listener-down"),
        ("Error opening acl file", "the ACL cannot be read", "tcp.listener-down"),
        ("Unable to start any listening sockets", "no listener came up; the lines before say why",
         "tcp.listener-down"),
        ("Starting in local only mode", "no listener is configured: boards cannot reach it",
         "tcp.listener-down"),
    ),
)  # fmt: skip
