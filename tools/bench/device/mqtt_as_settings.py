"""mqtt_as's settings for the benchmark; mutual and verified TLS, as Keyfob's."""

from mqtt_as import config


def settings(port, is_secure, queue):
    config["client_id"] = "bench"
    config["server"] = "localhost"
    config["port"] = port
    config["ssid"] = config["wifi_pw"] = "bench"
    config["keepalive"] = 60
    config["queue_len"] = queue
    if is_secure:
        import tls

        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.verify_mode = tls.CERT_REQUIRED
        context.load_verify_locations(_read("ca"))
        context.load_cert_chain(_read("cert"), _read("key"))
        config["ssl"] = context
        config["ssl_params"] = {"server_hostname": "localhost"}
    return config


def _read(stem):
    with open("id/" + stem + ".der", "rb") as file:
        return file.read()
