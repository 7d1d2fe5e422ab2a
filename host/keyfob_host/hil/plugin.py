"""The pytest plugin of the hardware-in-the-loop bench.

Loaded in every pytest run of an environment that has keyfob installed, so it imports
nothing of the bench until a test asks for one of its fixtures.
"""
