"""Names of the cipher suites that the engine speaks, spelled as mbedTLS spells them."""

_NAMES = {
    0xC02B: "ECDHE-ECDSA-WITH-AES-128-GCM-SHA256",
    0xC02F: "ECDHE-RSA-WITH-AES-128-GCM-SHA256",
    0xC023: "ECDHE-ECDSA-WITH-AES-128-CBC-SHA256",
    0xC027: "ECDHE-RSA-WITH-AES-128-CBC-SHA256",
    0x009C: "RSA-WITH-AES-128-GCM-SHA256",
    0x003C: "RSA-WITH-AES-128-CBC-SHA256",
    0x00A8: "PSK-WITH-AES-128-GCM-SHA256",
    0x00AE: "PSK-WITH-AES-128-CBC-SHA256",
}


def suite_name(number: int) -> str:
    """The name of suite ``number``; of TLS 1.3 there is one."""
    name = _NAMES.get(number)
    return "TLS-" + name if name else "TLS1-3-AES-128-GCM-SHA256"


def facts(engine) -> dict:
    """Of the connection of ``engine``, which stands: see
    `keyfob.tls.engine_stream.EngineStream.facts`."""
    found = {
        "version": "TLSv1.%d" % (engine.version - 0x0301),
        "cipher": suite_name(engine.suite),
        "resumed": engine.is_resumed,
    }
    if engine.alpn:
        found["alpn"] = engine.alpn.decode()
    return found
