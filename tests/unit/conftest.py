"""Puts the firmware and the fakes of a board's modules on the path before any test file."""

import device_support  # noqa: F401
