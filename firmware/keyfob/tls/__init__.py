"""TLS, through one of two engines that both verify; `keyfob.stream` chooses.

The firmware's own, mbedTLS: `mbedtls` makes a `context` and has `handshake` drive it, while `tap`
and `records` see the records go by and `chain` the certificates; `rules` judges what mbedTLS
does not. `mbedtls_stream` is what stands then.

Keyfob's own: `opening` makes an `engine`, and `engine_stream` carries its bytes. Each phase of a
handshake is a module, loaded for it and dropped behind it by `phases`:

- `client_hello`, with `hello13` where 1.3 is offered;
- TLS 1.2: `handshake12`, `judge`, `exchange12`, `client12`, `finish12`;
- TLS 1.3: `handshake13`, `certificate13`, `judge`, `verify13`, `finished13` with `client13`;
- a session taken up goes from the second to the last.

`judge` has the chain verified by `keyfob.pki.path`. What they share: `wire` (reads messages),
`sinks` (certificates as they come), `suites`, `keys13`. Records are protected by
`protection_gcm`, `protection_cbc` or `protection13`; `session` is what the next connection may
take up, `late13` what comes behind a handshake of 1.3.

What failed, in words: `alerts`, `reasons`, `os_errors`, `refusals`, `evidence`.
"""
