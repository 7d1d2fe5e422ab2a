"""Certificates and keys: profiles, the authority that issues, the identities it issues.

Flow: `profiles` (TOML) -> `authority` (signs) -> `identity` (key, certificate, chain), or,
for a key made elsewhere, `request` -> `authority` -> `identity.Requested`. `plan` and
`making` do that for a whole bench. Below them: `names` judges what goes into a certificate,
`template` assembles it, `keys` and `folder` keep it on disk. Beside it: `inventory` (what
there is and was), `revocation` with `crl`, `renewal`, and `rollover` from one CA to the next.
"""
