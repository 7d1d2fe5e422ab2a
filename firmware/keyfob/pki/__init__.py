"""X.509 on the device: `path` verifies a chain, from DER to who the peer is.

It reads certificates with `reading` (`der`, `certificate`, `fields`, `general_names`), looks for
the way to a trust anchor with `search` (`constraints`), checks signatures with `algorithms`,
`signature` and `pss` over `keyfob.crypto`, the host name with `names`, and says what is wrong with
`refusal`. Of the board's own: `private_key` (`private_key_ec`, `private_key_rsa`) and `request`.
"""
