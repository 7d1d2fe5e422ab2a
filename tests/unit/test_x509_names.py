"""keyfob.pki.names: RFC 9525 section 6.3 (DNS names, wildcards), 6.4 (addresses).

The addresses are the examples of RFC 4291 section 2.2 and RFC 5952; hostile forms are
those that resolvers and other parsers are known to take.
"""

from keyfob.pki.names import address_of, matches


def test_a_name_matches_itself():
    assert matches(b"broker.keyfob.test", b"broker.keyfob.test")
    assert matches(b"localhost", b"localhost")
    assert matches(b"a_b.keyfob.test", b"a_b.keyfob.test")


def test_a_wildcard_stands_for_one_whole_label():
    assert matches(b"*.example.test", b"foo.example.test")
    for host in (b"example.test", b"bar.foo.example.test", b".example.test", b"foo.example.testx"):
        assert not matches(b"*.example.test", host), host


def test_a_wildcard_elsewhere_is_none():
    for pattern, host in (
        (b"f*.example.test", b"foo.example.test"),
        (b"*oo.example.test", b"foo.example.test"),
        (b"foo.*.test", b"foo.example.test"),
        (b"*.*.test", b"foo.example.test"),
        (b"*", b"localhost"),
        (b"*", b"foo.example.test"),
        (b"*.", b"foo."),
        (b"**.example.test", b"foo.example.test"),
        (b"xn--*.example.test", b"xn--foo.example.test"),
    ):
        assert not matches(pattern, host), pattern


def test_a_wildcard_has_two_labels_behind_it():
    assert not matches(b"*.test", b"example.test")
    assert not matches(b"*..test", b"example..test")
    assert matches(b"*.a.b", b"x.a.b")


def test_nothing_matches_no_host():
    for pattern in (b"", b"*", b"*.", b"*.example.test", b"."):
        assert not matches(pattern, b""), pattern


def test_other_names_do_not_match():
    for pattern in (b"", b"broker.keyfob.test.", b"broker.keyfob.test\0.evil.test", b".keyfob.test",
                    b"broker.keyfob.tes", b"xbroker.keyfob.test", b"keyfob.test"):  # fmt: skip
        assert not matches(pattern, b"broker.keyfob.test"), pattern


def test_ipv4_addresses_are_four_plain_numbers():
    assert address_of("192.0.2.1") == bytes((192, 0, 2, 1))
    assert address_of("10.0.0.0") == b"\n\0\0\0"
    assert address_of("255.255.255.255") == b"\xff" * 4
    for text in ("192.0.2", "192.0.2.1.", "192.0.2.256", "192.0.2.01", "192.0.2.0x1", "1.2.3.4.5",
                 "192.0..1", "192.0.2.+1", "192.0.2. 1", "3221225985", "", "192.0.2.1000",
                 "192.0.2.\u0661", "broker.keyfob.test"):  # fmt: skip
        assert address_of(text) is None, text


def test_ipv6_addresses_are_those_of_rfc_4291():
    for text, octets in (
        ("2001:db8:0:0:8:800:200c:417a", "20010db8000000000008 0800200c417a"),
        ("2001:DB8::8:800:200C:417A", "20010db80000000000080800200c417a"),
        ("ff01::101", "ff010000000000000000000000000101"),
        ("::1", "00000000000000000000000000000001"),
        ("::", "00000000000000000000000000000000"),
        ("1::", "00010000000000000000000000000000"),
        ("::13.1.68.3", "0000000000000000000000000d014403"),
        ("0:0:0:0:0:ffff:129.144.52.38", "00000000000000000000ffff81903426"),
        ("::ffff:129.144.52.38", "00000000000000000000ffff81903426"),
        ("1:2:3:4:5:6:7::", "00010002000300040005000600070000"),
        ("::2:3:4:5:6:7:8", "00000002000300040005000600070008"),
    ):
        octets = octets.replace(" ", "")
        expected = bytes(int(octets[at : at + 2], 16) for at in range(0, 32, 2))
        assert address_of(text) == expected, text


def test_what_is_no_ipv6_address_is_none():
    for text in (":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "::1:2:3:4:5:6:7:8",
                 "1:2:3:4:5:6:7:8::", "12345::", "g::", "::1%eth0", "[::1]",
                 "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.4::", "::1.2.3", "::1.2.3.4:5", ":1.2.3.4",
                 "1:", ":1", "::+1", ":: 1", "::1.2.3.04", "broker.keyfob.test:8883"):  # fmt: skip
        assert address_of(text) is None, text
