"""keyfob.sntp: the packet, and each refusal of a reply."""

from device_support import code_of, refusal

from keyfob import sntp

NONCE = b"\x01\x23\x45\x67\x89\xab\xcd\xef"
FLOOR_S = 1_793_491_200  # 2026-11-01
CEILING_S = FLOOR_S + 20 * 366 * 86_400
# RFC 5905 figure 4: NTP seconds of the first day of UNIX, and of the last of 1999.
UNIX_NTP_S = 2_208_988_800
LAST_1999_NTP_S, LAST_1999_UNIX_S = 3_155_587_200, 946_598_400


def reply(unix_s=FLOOR_S + 1000, first=0x24, stratum=2, nonce=NONCE, reference=b"LOCL", fraction=0):
    """A reply laid out by hand after RFC 4330 section 4."""
    packet = bytearray(48)
    packet[0] = first
    packet[1] = stratum
    packet[12:16] = reference
    packet[24:32] = nonce
    packet[40:44] = ((unix_s + UNIX_NTP_S) % 2**32).to_bytes(4, "big")
    packet[44:48] = fraction.to_bytes(4, "big")
    return packet


def check(packet):
    return sntp.check_reply(packet, NONCE, FLOOR_S, CEILING_S)


def test_a_request_is_version_4_mode_3_with_the_nonce_as_transmit_timestamp():
    packet = bytearray(b"\xff" * 48)
    sntp.put_request(packet, NONCE)
    assert bytes(packet) == b"\x23" + bytes(39) + NONCE


def test_a_good_reply_gives_its_transmit_timestamp():
    assert check(reply()) == (FLOOR_S + 1000, 0)
    assert check(reply(fraction=0x80000000)) == (FLOOR_S + 1000, 500)


def test_the_epochs_are_those_of_rfc_5905():
    assert sntp.to_unix_s(UNIX_NTP_S, 0) == 0
    assert sntp.to_unix_s(LAST_1999_NTP_S, 0) == LAST_1999_UNIX_S


def test_the_era_rolls_over_in_2036():
    # RFC 5905 figure 4: 2036-02-07 06:28:16 UTC is second 0 of era 1.
    assert sntp.to_unix_s(0, FLOOR_S) == 2_085_978_496
    assert sntp.to_unix_s(0xFFFFFFFF, FLOOR_S) == 2_085_978_495
    assert check(reply(2_085_978_500)) == (2_085_978_500, 0)


def test_a_time_before_the_floor_stays_in_its_era_and_is_refused():
    assert sntp.to_unix_s(LAST_1999_NTP_S, FLOOR_S) == LAST_1999_UNIX_S
    assert code_of(check, reply(LAST_1999_UNIX_S)) == "clock.implausible"
    assert code_of(check, reply(FLOOR_S - 1)) == "clock.implausible"
    assert check(reply(FLOOR_S)) == (FLOOR_S, 0)


def test_a_time_beyond_the_window_is_refused_with_its_bounds():
    assert check(reply(CEILING_S)) == (CEILING_S, 0)
    error = refusal(check, reply(CEILING_S + 1))
    assert error.code == "clock.implausible"
    assert error.detail == "%d, want %d to %d" % (CEILING_S + 1, FLOOR_S, CEILING_S)


def test_a_transmit_timestamp_of_zero_is_no_time():
    packet = reply()
    packet[40:48] = bytes(8)
    assert code_of(check, packet) == "clock.implausible"


def test_a_short_packet_is_refused():
    for size in (0, 1, 47):
        assert code_of(check, reply()[:size]) == "clock.short-packet"
    assert check(reply() + b"\0" * 20) == (FLOOR_S + 1000, 0)  # authenticator, section 4


def test_a_reply_to_another_request_is_refused():
    for index in range(8):
        other = bytearray(NONCE)
        other[index] ^= 1
        assert code_of(check, reply(nonce=other)) == "clock.wrong-originate"


def test_only_mode_4_is_a_servers_reply():
    for mode in (0, 1, 2, 3, 5, 6, 7):
        assert code_of(check, reply(first=0x20 | mode)) == "clock.wrong-mode"


def test_only_our_own_version_is_taken():
    for version in (0, 1, 2, 3, 5, 6, 7):
        assert code_of(check, reply(first=version << 3 | 4)) == "clock.wrong-version"


def test_an_unsynchronized_server_is_refused():
    assert code_of(check, reply(first=0xE4)) == "clock.unsynchronized"
    assert check(reply(first=0x64)) == (FLOOR_S + 1000, 0)  # a leap second is due


def test_only_stratum_1_to_15_is_synchronized():
    for stratum in (1, 15):
        assert check(reply(stratum=stratum)) == (FLOOR_S + 1000, 0)
    for stratum in (16, 255):
        assert code_of(check, reply(stratum=stratum)) == "clock.wrong-stratum"
    assert code_of(check, reply(stratum=0, reference=bytes(4))) == "clock.wrong-stratum"


def test_a_kiss_of_death_gives_its_code():
    for kiss in ("DENY", "RSTR", "RATE"):
        error = refusal(check, reply(stratum=0, reference=kiss.encode(), first=0xE4))
        assert (error.code, error.detail) == ("clock.kiss-of-death", kiss)


def test_a_forged_kiss_of_death_is_no_answer_to_us():
    packet = reply(stratum=0, reference=b"DENY", nonce=bytes(8))
    assert code_of(check, packet) == "clock.wrong-originate"
