"""A chip whose RTC keeps what it was set to, for a test to read."""

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = range(1, 6)
cause = PWRON_RESET
rtc_fields = []


def reset_cause():
    return cause


def unique_id():
    return b"\x24\x0a\xc4\x00\x01\xfe"


class RTC:
    def datetime(self, fields):
        rtc_fields.append(fields)


class Pin:
    def __init__(self, number):
        self.number = number
