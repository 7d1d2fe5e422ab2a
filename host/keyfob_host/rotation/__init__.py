"""Rotation in the field: offers of new identities, brought to boards over MQTT."""
