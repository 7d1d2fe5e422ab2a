"""Freezes the device package into a MicroPython image: FROZEN_MANIFEST=…/manifest.py."""
# ruff: noqa: F821 - these names are the manifest language's

metadata(version="0.1.0", description="MQTT over verified TLS", license="MIT")
require("asyncio")
package("keyfob")
package("apps")
