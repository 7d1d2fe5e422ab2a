"""ECDSA verified, and the arithmetic of points, on the prime curves of FIPS 186.

SP 800-186, SEC 1. A curve is ``(p, n, b, base, size)``: y**2 = x**3 - 3 x + b modulo p,
of prime order n; G, 3 G, 5 G and 7 G, x and y of ``size`` bytes each; cofactor 1.

Residues are reduced by Python's ``%``. The primes' special forms would replace one of
those by a dozen shifts, masks and sums, each an object of its own, and that was measured
to be slower.

Time: `verify` and `read_point` are for public values and follow them; `double` and `add`
have one sequence of operations, but for infinity and for points that are equal.
"""

from keyfob.crypto.modular import inverse


def verify(curve: tuple, point, digest, r: int, s: int) -> bool:
    """Whether (r, s) is the signature of ``point``'s owner over ``digest``, of which as
    many bytes count as n has: FIPS 186-5 section 6.4.2."""
    p, n, _, base, size = curve
    # What has to be in one piece comes first, while the heap has large pieces.
    digits = bytearray(8 * size + 1)
    multiples = bytearray(8 * size)
    place = read_point(curve, point)
    if not place or not 0 < r < n or not 0 < s < n:
        return False
    shorter = inverse(s, n)
    _put_digits(digits, 0, int.from_bytes(digest[:size], "big") * shorter % n, size)
    _put_digits(digits, 4, r * shorter % n, size)
    put_odd_multiples(p, place[0], place[1], multiples, size)
    x = y = z = 0
    # Shamir's trick: both products share the doublings.
    for index in range(8 * size, -1, -1):
        if z:
            x, y, z = double(p, x, y, z)
        for digit, table in ((digits[index] & 15, base), (digits[index] >> 4, multiples)):
            if digit:
                at = ((digit if digit < 8 else 16 - digit) >> 1) * 2 * size
                y2 = _number(table, at + size, size)
                x2 = _number(table, at, size)
                x, y, z = add(p, x, y, z, x2, y2 if digit < 8 else p - y2)
    if not z:
        return False
    zz = z * z % p
    return (r * zz - x) % p == 0 or (r + n < p and ((r + n) * zz - x) % p == 0)


def read_point(curve: tuple, point):
    """(x, y) of an uncompressed point that is one of the curve, otherwise None."""
    p, _, b, _, size = curve
    if len(point) != 2 * size + 1 or point[0] != 4:
        return None
    x, y = _number(point, 1, size), _number(point, 1 + size, size)
    if x >= p or y >= p or (y * y - (x * x - 3) * x - b) % p:
        return None
    return x, y


def _number(data, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _put_digits(digits: bytearray, shift: int, scalar: int, size: int) -> None:
    """Width-4 NAF into half of each byte, lowest digit first: 0, or odd, modulo 16; no two
    that are not 0 within four places."""
    bits = scalar.to_bytes(size + 2, "little")
    carry = at = 0
    while at < len(digits):
        window = (bits[at >> 3] | bits[(at >> 3) + 1] << 8) >> (at & 7)
        window = (window & 15) + carry
        if window & 1:
            digits[at] |= (window & 15) << shift
            carry = window >> 3 & 1
            at += 4
        else:
            # An even sum leaves the carry as it is: a 1 with a 1 carries on.
            at += 1


def put_odd_multiples(p: int, x: int, y: int, table: bytearray, size: int) -> None:
    """Fill ``table`` with affine multiples 1, 3, 5 … of a point, ``size`` bytes of x and of
    y each.

    Worked out on the isomorphic curve on which its double is affine; the formula of
    `add` knows no coefficient of the curve. One inverse serves all.
    """
    x2, y2, z2 = double(p, x, y, 1)
    zz = z2 * z2 % p
    x, y, z = x * zz % p, y * (zz * z2 % p) % p, 1
    product = z2
    # As bytes: an integer that was reduced takes three times its size.
    last = len(table) - 2 * size
    zs = bytearray(last + 2 * size)  # z, and the product of all up to it
    for at in range(0, last + 1, 2 * size):
        if at:
            x, y, z = add(p, x, y, z, x2, y2)
            product = product * (z * z2 % p) % p
        _put(table, at, size, x, y)
        _put(zs, at, size, z, product)
    shorter = inverse(product, p)
    for at in range(last, -1, -2 * size):
        z = _number(zs, at, size) * z2 % p
        one = shorter
        if at:
            one = shorter * _number(zs, at - size, size) % p
        shorter = shorter * z % p
        square = one * one % p
        x = _number(table, at, size) * square % p
        _put(table, at, size, x, _number(table, at + size, size) * (square * one % p) % p)


def _put(table: bytearray, at: int, size: int, one: int, other: int) -> None:
    table[at : at + size] = one.to_bytes(size, "big")
    table[at + size : at + 2 * size] = other.to_bytes(size, "big")


def double(p: int, x: int, y: int, z: int) -> tuple:
    """Twice a point in Jacobian coordinates, with z = 0 at infinity."""
    delta = z * z % p
    gamma = y * y % p
    beta = x * gamma % p
    alpha = (x - delta) * (x + delta) * 3 % p
    x = (alpha * alpha - (beta << 3)) % p
    return (
        x,
        (alpha * ((beta << 2) - x) - (gamma * gamma << 3)) % p,
        (y * z << 1) % p,
    )


def add(p: int, x: int, y: int, z: int, x2: int, y2: int) -> tuple:
    """The sum of a Jacobian point and an affine one, whichever they are."""
    if not z:
        return x2, y2, 1
    zz = z * z % p
    h = (x2 * zz - x) % p
    r = (y2 * (zz * z % p) - y) % p
    if not h:
        return (0, 0, 0) if r else double(p, x, y, z)
    hh = h * h % p
    v = x * hh % p
    hhh = hh * h % p
    x = (r * r - hhh - (v << 1)) % p
    return x, (r * (v - x) - y * hhh) % p, z * h % p


def randomized(p: int, x: int, y: int) -> tuple:
    """The affine point in Jacobian coordinates with a random Z (of p below 2**320)."""
    from keyfob.crypto.entropy import random_bytes

    z = int.from_bytes(random_bytes(40), "big") % (p - 1) + 1
    zz = z * z % p
    return x * zz % p, y * (zz * z % p) % p, z
