"""Boards behind labgrid: places acquired and released, and labgrid's failures explained."""
