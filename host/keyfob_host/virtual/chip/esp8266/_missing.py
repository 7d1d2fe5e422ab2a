"""What the ESP8266 port is built without (mpconfigport.h), taken away from the modules.

A builtin function cannot be removed; it is replaced by one that raises what its
absence would. (`hasattr` on the builtins module still finds it.)
"""

import builtins
import hashlib
import math
import random

_FUNCTIONS = ("compile", "execfile", "complex", "delattr", "setattr")
# What each module keeps. math: no constants but e and pi, no special functions.
_KEPT = {
    "random": (random, "getrandbits seed"),
    "hashlib": (hashlib, "sha1 sha256"),
    "math": (
        math,
        "e pi sqrt pow exp log cos sin tan acos asin atan atan2 ceil copysign fabs floor "
        "fmod frexp ldexp modf isfinite isinf isnan trunc radians degrees",
    ),
}


def take_away(modules):
    """Replace builtins, and put what is left of the modules into ``modules``."""
    for name in _FUNCTIONS:
        setattr(builtins, name, _absent(name))
    builtins.pow = _pow
    for name, (real, kept) in _KEPT.items():
        modules[name] = type(name, (), {word: _kept(real, word) for word in kept.split()})


def _pow(base, exponent):
    return base**exponent


def _kept(real, word):
    found = getattr(real, word)
    return found if isinstance(found, (int, float, type)) else staticmethod(found)


def _absent(name):
    def function(*_, **__):
        raise NameError("name '%s' isn't defined" % name)

    return function
