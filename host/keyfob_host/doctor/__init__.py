"""Diagnosis: what went over the wire, what it means, and what mends it."""
