"""The broker of cases that mosquitto cannot play: what it withholds, breaks and sees."""
