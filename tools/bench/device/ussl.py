"""What umqtt.simple imports for TLS: mutual and verified, as Keyfob's."""

import tls


def wrap_socket(sock, server_hostname):
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    context.load_verify_locations(_read("ca"))
    context.load_cert_chain(_read("cert"), _read("key"))
    return context.wrap_socket(sock, server_hostname=server_hostname)


def _read(stem):
    with open("id/" + stem + ".der", "rb") as file:
        return file.read()
