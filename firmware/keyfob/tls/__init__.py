"""What TLS looks like from outside the engine: records, alerts, reasons of refusal."""
