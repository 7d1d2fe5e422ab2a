"""Numbers and their meanings, one source a module; `keyfob_host.doctor.bare` puts them together."""
