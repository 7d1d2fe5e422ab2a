"""Powers and inverses in a residue class: MicroPython's `pow` takes no third argument.

Time: both follow the bits of their inputs and are for public values, or for secret ones
that the caller has blinded by a random factor.
"""


def pow_mod(base: int, exponent: int, modulus: int) -> int:
    """``base ** exponent % modulus`` for ``exponent`` and ``modulus`` above 0."""
    bit = 1
    while bit <= exponent:
        bit <<= 1
    bit >>= 2
    result = base = base % modulus
    while bit:
        result = result * result % modulus
        if exponent & bit:
            result = result * base % modulus
        bit >>= 1
    return result


def inverse(value: int, modulus: int) -> int:
    """The number whose product with ``value`` leaves 1; 0 if there is none."""
    divisor, rest = modulus, value % modulus
    before, factor = 0, 1
    while rest:
        quotient, remainder = divmod(divisor, rest)
        divisor, rest = rest, remainder
        before, factor = factor, before - quotient * factor
    return before % modulus if divisor == 1 else 0
