"""A certificate's fields as `keyfob.pki.reading` fills them in: what the verifier works on.

They are a module of their own, so that who has them needs nothing of what reads them.
"""


class Fields:
    """``version`` (1 to 3), ``not_before_s`` and ``not_after_s`` (Unix seconds).

    Views of ``der``, which must stay as it is while they are used: ``tbs`` (what is
    signed), ``algorithm`` (AlgorithmIdentifier), ``signature``, ``issuer_name`` and
    ``subject_name`` (Name), ``spki`` (SubjectPublicKeyInfo).

    Of the extensions: ``is_ca``; ``path_length`` and ``key_usage`` (its first byte), -1
    without; ``usages`` (OIDs of the extended key usage), ``san`` and ``name_constraints``
    (their values), ``key_id`` and ``authority_key_id``, None without; ``critical``, OIDs of
    those that are critical and not among these.
    """

    version: int
    not_before_s: int
    not_after_s: int
    tbs: memoryview
    algorithm: memoryview
    signature: memoryview
    issuer_name: memoryview
    subject_name: memoryview
    spki: memoryview
    is_anchor = False
    is_ca = False
    path_length = -1
    key_usage = -1
    usages: list | None = None
    san: memoryview | None = None
    name_constraints: memoryview | None = None
    key_id: memoryview | None = None
    authority_key_id: memoryview | None = None
    critical: tuple = ()
