"""The doctor without a board: what a folder of certificates, configuration and logs says.

Flow: `gathering` (paths -> files by what they hold) -> `broker_log`, `console_log`, `tap_log`
(lines -> signs), `configuration` and `certificates` (files -> facts) -> `judging` (signs and
facts -> diagnoses). `examining` is the whole of it for other modules.
"""
