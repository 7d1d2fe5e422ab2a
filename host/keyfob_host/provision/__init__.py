"""Provisioning: a device's identity and settings, judged here, written whole there."""
