"""X.509 on the device."""
