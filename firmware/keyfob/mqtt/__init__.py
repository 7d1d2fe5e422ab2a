"""MQTT 3.1.1 without I/O: `packets` is the wire format, `session` the state."""
