"""keyfob.crypto.entropy: what a broken generator looks like, and that a good one passes."""

from device_support import code_of

from keyfob.crypto import entropy


class Generator:
    """Stands in for `os`, with draws that a function of the draw's number makes."""

    def __init__(self, draw):
        self.draw = draw
        self.draws = 0

    def urandom(self, size):
        self.draws += 1
        return self.draw(self.draws, size)


def with_generator(draw, function, *arguments):
    real = entropy.os
    entropy.os = generator = Generator(draw)
    try:
        return function(*arguments), generator.draws
    finally:
        entropy.os = real


def counting(seed, size):
    """Bytes that do not repeat, another run of them for each seed."""
    return bytes((seed * 89 + index * 7 + (index >> 2)) & 255 for index in range(size))


def test_random_bytes_are_as_many_as_asked_and_new_each_time():
    for size in (1, 12, 32, 40, 256):
        one, other = entropy.random_bytes(size), entropy.random_bytes(size)
        assert len(one) == len(other) == size
        assert size < 12 or one != other


def test_generator_that_stands_still_is_refused():
    for byte in (b"\0", b"\xff", b"\x5a"):
        refused = with_generator(lambda n, size: byte * size, code_of, entropy.random_bytes, 32)  # noqa: B023
        assert refused == ("tls.no-randomness", 3)


def test_generator_that_runs_in_a_circle_is_refused():
    for period in (2, 3, 4, 8, 12):
        ring = bytes(range(1, period + 1))
        refused = with_generator(
            lambda n, size: (ring * size)[:size],  # noqa: B023
            code_of,
            entropy.random_bytes,
            40,
        )
        assert refused == ("tls.no-randomness", 3)


def test_generator_that_gives_the_same_each_time_is_refused():
    with_generator(lambda n, size: counting(200, size), entropy.random_bytes, 32)
    refused = with_generator(lambda n, size: counting(200, size), code_of, entropy.random_bytes, 32)
    assert refused == ("tls.no-randomness", 3)


def test_one_bad_draw_is_drawn_again():
    draw, draws = with_generator(
        lambda n, size: bytes(size) if n < 3 else counting(n, size), entropy.random_bytes, 32
    )
    assert draws == 3 and draw == counting(3, 56)[24:]
