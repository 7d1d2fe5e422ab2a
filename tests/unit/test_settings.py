"""keyfob.config: every key, type and bound of the settings file."""

import json

from device_support import code_of, new_folder, refusal, remove_folder, write

from keyfob import config


def settings(**sections):
    """Good settings; a section given is merged into its own, or replaces it if no object."""
    made = {
        "device_id": "sensor-01",
        "wifi": {"ssid": "net", "password": "secret"},
        "ntp": {"servers": ["ntp.test:11123", "10.0.0.1"]},
        "broker": {"host": "broker.test"},
    }
    for name in sections:
        section = sections[name]
        if isinstance(section, dict) and isinstance(made.get(name), dict):
            made[name].update(section)
        else:
            made[name] = section
    return made


def load_text(content):
    folder = new_folder()
    try:
        write(folder + "/keyfob.json", content)
        return config.load(folder + "/keyfob.json")
    finally:
        remove_folder(folder)


def code_with(**sections):
    return code_of(config.check, settings(**sections))


def test_defaults_are_filled_in():
    checked = config.check(settings())
    assert checked["broker"] == {
        "host": "broker.test", "port": 8883, "keepalive_s": 30, "version": 4,
        "username": "", "password": "", "session_expiry_s": 86_400, "will_delay_s": 0,
    }  # fmt: skip
    assert checked["limits"] == {
        "rx_bytes": 4096, "tx_bytes": 4096, "payload_bytes": 2048, "packet_bytes": 0,
        "inflight": 4, "inbox": 8, "topic_aliases": 4,
    }  # fmt: skip
    assert checked["tls"] == {"engine": "mbedtls", "rsa_exchange": 0}
    assert checked["ntp"]["min_s"] == 0
    assert checked["app"] == {}


def test_what_is_given_is_kept():
    checked = config.check(
        settings(broker={"port": 1, "keepalive_s": 3600}, app={"name": "x", "n": 1})
    )
    assert (checked["broker"]["port"], checked["broker"]["keepalive_s"]) == (1, 3600)
    assert checked["app"] == {"name": "x", "n": 1}


def test_a_file_is_read():
    assert load_text(json.dumps(settings()))["device_id"] == "sensor-01"


def test_a_missing_file_is_told_with_its_path():
    error = refusal(config.load, "/nowhere/keyfob.json")
    assert error.code == "config.missing"
    assert "/nowhere/keyfob.json" in error.detail


def test_what_is_not_json_is_told():
    for content in (b"", b"{", b"{x}", b"\xff\xfe{}", json.dumps(settings())[:-1]):
        assert code_of(load_text, content) == "config.not-json", content


def test_a_file_too_large_for_settings_is_not_read_whole():
    assert code_of(load_text, " " * 2049) == "config.too-large"
    assert load_text(json.dumps(settings()) + " " * 1000)


def test_settings_must_be_an_object():
    for value in ([], "x", 5, None):
        assert code_of(config.check, value) == "config.wrong-type"


def test_an_unknown_key_is_refused_with_its_path():
    assert refusal(config.check, settings(verify=False)).detail == "verify"
    error = refusal(config.check, settings(tls={"verify_mode": 0}))
    assert (error.code, error.detail) == ("config.unknown-key", "tls.verify_mode")


def test_a_missing_key_is_named():
    for name in ("device_id", "wifi", "ntp", "broker"):
        made = settings()
        del made[name]
        error = refusal(config.check, made)
        assert error.code == "config.missing-key"
        assert error.detail.startswith(name)


def test_a_wrong_type_is_refused():
    assert code_with(device_id=5) == "config.wrong-type"
    assert code_with(wifi="net") == "config.wrong-type"
    assert code_with(broker={"port": "8883"}) == "config.wrong-type"
    assert code_with(broker={"port": True}) == "config.wrong-type"
    assert code_with(broker={"port": 8883.5}) == "config.wrong-type"
    assert code_with(broker={"host": None}) == "config.wrong-type"
    assert code_with(ntp={"servers": "a"}) == "config.wrong-type"
    assert code_with(ntp={"servers": [5]}) == "config.wrong-type"
    assert code_with(app=[]) == "config.wrong-type"


BOUNDS = (
    ("wifi", "ssid", ("x", "x" * 32), ("", "x" * 33)),
    ("wifi", "password", ("", "x" * 64), ("x" * 65,)),
    ("ntp", "min_s", (0, 0xFFFFFFFF), (-1, 0x100000000)),
    ("ntp", "servers", (["a"], ["a"] * 4), ([], ["a"] * 5)),
    ("broker", "host", ("x", "x" * 253), ("", "x" * 254)),
    ("broker", "port", (1, 65535), (0, 65536, -1)),
    ("broker", "keepalive_s", (5, 3600), (4, 3601, 0)),
    ("limits", "rx_bytes", (128, 65536), (127, 65537)),
    ("limits", "tx_bytes", (2112, 65536), (127, 65537)),
    ("limits", "payload_bytes", (16, 4032), (15, 65537)),
    ("limits", "inflight", (1, 64), (0, 65)),
)


def test_every_bound_is_checked_on_both_sides():
    for section, key, good, bad in BOUNDS:
        for value in good:
            assert config.check(settings(**{section: {key: value}}))[section][key] == value
        for value in bad:
            error = refusal(config.check, settings(**{section: {key: value}}))
            assert error.code == "config.out-of-range", (section, key, value)
            assert error.detail.startswith(section + "." + key)


def test_the_largest_payload_must_fit_the_buffer():
    assert code_with(limits={"payload_bytes": 4033}) == "config.out-of-range"


def test_a_device_id_is_one_level_of_a_topic():
    for good in ("a", "Z9", "x-y_z.1", "x" * 64):
        assert config.check(settings(device_id=good))["device_id"] == good
    for bad in ("a/b", "a b", "+", "#", "\0", "ä", '"'):
        assert code_with(device_id=bad) == "config.bad-value", bad
    for bad in ("", "x" * 65):
        assert code_with(device_id=bad) == "config.out-of-range"


def test_only_an_engine_that_is_there_can_be_named():
    assert code_with(tls={"engine": "axtls"}) == "config.bad-value"
    for engine in ("mbedtls", "keyfob"):
        assert config.check(settings(tls={"engine": engine}))["tls"]["engine"] == engine


def test_what_only_keyfobs_engine_can_do_is_not_asked_of_another():
    pin = "0123456789abcdef" * 4
    asked = {"versions": ["1.3"], "alpn": ["mqtt"], "pins": [pin], "rsa_exchange": 1, "psk_ke": 1}
    checked = config.check(settings(tls=dict(asked, engine="keyfob")))["tls"]
    assert checked == dict(asked, engine="keyfob")
    both = {"engine": "mbedtls", "rsa_exchange": 1}
    assert config.check(settings(tls=both))["tls"] == both
    for name in ("versions", "alpn", "pins", "psk_ke"):
        refused = refusal(config.check, settings(tls={name: asked[name]}))
        assert refused.code == "config.bad-value"
        assert refused.detail == "tls.%s: takes tls.engine keyfob" % name


def test_settings_of_keyfobs_engine_are_looked_at():
    for bad in (
        {"versions": ["1.1"]}, {"versions": [1.2]}, {"alpn": [""]}, {"alpn": ["x" * 64]},
        {"alpn": [5]}, {"pins": ["ab"]}, {"pins": ["G" * 64]}, {"pins": [None]},
    ):  # fmt: skip
        assert code_with(tls=dict(bad, engine="keyfob")) == "config.bad-value", bad
    for bad in ({"versions": []}, {"rsa_exchange": 2}, {"psk_ke": 2}, {"pins": ["0" * 64] * 5}):
        assert code_with(tls=dict(bad, engine="keyfob")) == "config.out-of-range", bad
    assert code_with(tls={"engine": "keyfob", "rsa_exchange": True}) == "config.wrong-type"


def test_servers_have_a_host_and_maybe_a_port():
    assert config.split_server("a.test") == ("a.test", 123)
    assert config.split_server("a.test:11123") == ("a.test", 11123)
    assert config.split_server("10.0.0.1:65535") == ("10.0.0.1", 65535)
    for bad in ("", ":123", "a:", "a:0", "a:65536", "a:x", "a:1:2", "a:-1", "x" * 254, "a:000123"):
        assert code_of(config.split_server, bad) == "config.bad-value", bad


def test_an_app_is_named_by_an_identifier():
    assert config.check_app_name("sensor_2") == "sensor_2"
    for bad in ("../x", "a.b", "A", "a b", "a-b"):
        assert code_of(config.check_app_name, bad) == "config.bad-value", bad
    for bad in ("", "x" * 33, 5, None, ["sensor"]):
        assert code_of(config.check_app_name, bad) == "config.wrong-type", bad
