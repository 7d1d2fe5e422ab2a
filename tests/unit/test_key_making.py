"""keyfob.crypto.p256_make: keys in range and distinct, and what stops a broken generator."""

from device_support import code_of
from test_crypto_entropy import counting, with_generator

from keyfob.crypto import p256, p256_curve, p256_make

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# The generator's bytes behind the 24 that are drawn to be looked at.
HEAD = 24


def first_draws(*numbers):
    """A generator whose first draws are these numbers; what follows is sound."""

    def draw(n, size):
        if n <= len(numbers):
            # Another beginning for each draw, and no group of 4 bytes that repeats.
            return counting(n, HEAD) + numbers[n - 1]
        return counting(n + 40, size)

    return draw


def number(value):
    return value.to_bytes(32, "big")


def above(seed):
    """A draw of 32 bytes that is above n, in which nothing repeats."""
    return b"\xff\xff\xff\xff" + counting(seed, 28)


def test_key_is_sec1_der_with_its_public_key():
    der = p256_make.make()
    assert len(der) == 121
    # RFC 5915, with the numbers of RFC 5480 for the curve.
    assert der[:7] == bytes([0x30, 119, 2, 1, 1, 4, 32])
    assert der[39:56] == b"\xa0\x0a\x06\x08*\x86H\xce=\x03\x01\x07\xa1\x44\x03\x42\x00"
    assert p256.public_key(der[7:39]) == der[56:]


def test_keys_are_distinct_and_in_range():
    secrets = [p256_make._draw() for _ in range(200)]
    assert len(set(secrets)) == 200
    assert all(0 < int.from_bytes(secret, "big") < N for secret in secrets)


def test_bits_of_keys_are_set_as_often_as_not():
    count = 400
    numbers = [int.from_bytes(p256_make._draw(), "big") for _ in range(count)]
    for bit in range(256):
        # The 32 highest bits of n are set: what is refused there is not to be seen. Seven
        # standard deviations (of sqrt(400) / 2) to each side; 1 in 10 ** 12 for a bit.
        assert 130 < sum(value >> bit & 1 for value in numbers) < 270


def test_draws_up_to_the_order_are_taken_and_others_drawn_again():
    # Given behind what looks at them: in n, and in 1, groups of 4 bytes repeat.
    real = p256_make.random_bytes
    try:
        for value, want in ((0, 1), (N - 2, N - 1), (N - 1, 8), (N, 8), (2**256 - 1, 8)):
            draws = [number(7), number(value)]
            p256_make.random_bytes = lambda size: draws.pop()  # noqa: B023
            assert p256_make._draw() == number(want)
            assert len(draws) == (want != 8)
    finally:
        p256_make.random_bytes = real


def test_draw_above_the_order_is_drawn_again():
    drawn, draws = with_generator(first_draws(above(1)), p256_make._draw)
    assert draws == 2
    assert drawn == number(int.from_bytes(counting(42, 56)[HEAD:], "big") + 1)


def test_three_draws_above_the_order_are_no_chance():
    refused = with_generator(first_draws(above(1), above(2), above(3)), code_of, p256_make._draw)
    assert refused == ("tls.no-randomness", 3)


def test_generator_that_stands_still_makes_no_key():
    for byte in (b"\0", b"\xff", b"\x5a"):
        draw = lambda n, size: byte * size  # noqa: B023, E731
        assert with_generator(draw, code_of, p256_make.make) == ("tls.no-randomness", 3)


def test_generator_that_repeats_itself_makes_no_second_key():
    with_generator(lambda n, size: counting(200, size), p256_make._draw)
    refused = with_generator(lambda n, size: counting(200, size), code_of, p256_make.make)
    assert refused == ("tls.no-randomness", 3)


def test_key_that_does_not_verify_what_it_signs_does_not_leave():
    real = p256_curve.verify
    p256_curve.verify = lambda point, digest, r, s: False
    try:
        assert code_of(p256_make.make) == "tls.bad-key"
    finally:
        p256_curve.verify = real
