"""Texts and their meanings, one kind of source a module; matched by `keyfob_host.doctor.phrase`."""
