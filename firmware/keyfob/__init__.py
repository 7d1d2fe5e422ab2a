"""Keyfob's device package: MQTT over verified TLS. See `keyfob.client`."""

__version__ = "0.1.0"
