"""pyserial's way to another class for a kind of URL: ``protocol_NAME.py`` in a named package."""
