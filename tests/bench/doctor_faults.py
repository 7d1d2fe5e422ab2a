"""All faults to be seeded on a bench, by rows of the field's catalogue, and what none reaches."""

from __future__ import annotations

import doctor_faults_broker
import doctor_faults_device
import doctor_faults_network
import doctor_faults_programs
from doctor_bench import ESP32, Fault

FAULTS: tuple[Fault, ...] = tuple(
    sorted(
        (
            *doctor_faults_broker.FAULTS,
            *doctor_faults_device.FAULTS,
            *doctor_faults_network.FAULTS,
            *doctor_faults_programs.FAULTS,
        ),
        key=lambda one: one.row or 99,
    )
)

# Rows that a kind of board cannot fail by, or not on this bench, and why.
NOT_REACHED = {
    (21, ESP32): "mbedTLS takes PKCS#8 and EC keys",
    (25, ESP32): "mbedTLS takes its memory beside MicroPython's heap, which a bench does not limit",
    (39, ESP32): "mbedTLS verifies, and Keyfob's firmware asks it to",
}


def faults_of(kind: str) -> list[Fault]:
    """Those that this kind of board can have."""
    return [fault for fault in FAULTS if kind in fault.kinds]
