"""The report of a run of the suites: its data, its files, and two of them compared."""
