"""Certificate profiles are read strictly: field and line are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfob_host.data import data_path
from keyfob_host.errors import KeyfobHostError
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.profiles import load_profile

GOOD = """\
kind = "device"
key_type = "p256"
days = 30
extended_key_usage = ["clientAuth"]

[subject]
common_name = "{name}"
organization = "Ferry & Sons"
"""


def profile(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_every_profile_that_ships_is_good() -> None:
    given = {"watson-like": {"org": "abc123"}}
    kinds = {
        path.stem: load_profile(path.stem, variables=given.get(path.stem)).kind
        for path in data_path("certs").glob("*.toml")
    }
    assert kinds == {
        "ca": "authority", "root": "authority", "intermediate": "intermediate",
        "broker": "broker", "watson-like": "broker", "device": "device", "aws-like": "device",
    }  # fmt: skip


def test_a_profile_of_ones_own_shapes_the_certificate(tmp_path: Path) -> None:
    chosen = load_profile(profile(tmp_path, GOOD), kind="device")
    cert = Authority.ephemeral("CA").issue_device("sensor-01", profile=chosen).cert
    assert cert.subject.rfc4514_string() == "CN=sensor-01,O=Ferry & Sons"
    assert (cert.not_valid_after_utc - cert.not_valid_before_utc).days <= 31


@pytest.mark.parametrize(
    ("old", "new", "field", "line"),
    [
        ("days = 30", "dais = 30", "dais", 3),
        ("days = 30", "days = 0", "days", 3),
        ("days = 30", 'days = "30"', "days", 3),
        ('"p256"', '"p521"', "key_type", 2),
        ('["clientAuth"]', '["codeSigning"]', "extended_key_usage", 4),
        ('["clientAuth"]', "[]", "extended_key_usage", 4),
        ("days = 30", "days = 30\npath_length = 1", "path_length", 4),
        ('"{name}"', '"{key_id}"', "subject.common_name", 7),
        ('"{name}"', '"fixed"', "subject.common_name", 7),
        ('"{name}"', '"{name.__class__}"', "subject.common_name", 7),
        ('organization = "Ferry & Sons"', 'country = "Germany"', "subject.country", 8),
        ("organization", "organisation", "subject.organisation", 8),
        ('kind = "device"', 'kind = "broker"', "kind", 1),
        ('kind = "device"\n', "", "kind", 1),
    ],
)
def test_a_faulty_field_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, field: str, line: int
) -> None:
    path = profile(tmp_path, GOOD.replace(old, new))
    with pytest.raises(KeyfobHostError) as refused:
        load_profile(path, kind="device")
    assert refused.value.code.startswith("toml.")
    assert field in refused.value.cause
    assert f"{path}:{line}:" in refused.value.evidence


def test_an_authority_with_usages_is_refused(tmp_path: Path) -> None:
    text = GOOD.replace('"device"', '"authority"').replace("{name}", "{key_id}")
    with pytest.raises(KeyfobHostError) as refused:
        load_profile(profile(tmp_path, text))
    assert "extended_key_usage" in refused.value.cause


def test_missing_profiles_and_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(KeyfobHostError) as refused:
        load_profile("watch")
    assert refused.value.code == "cert.profile-unknown"
    assert "broker, ca, device" in refused.value.evidence
    with pytest.raises(KeyfobHostError) as refused:
        load_profile(tmp_path / "none.toml")
    assert refused.value.code == "file.missing"
    with pytest.raises(KeyfobHostError) as refused:
        load_profile(profile(tmp_path, "kind = \n"))
    assert refused.value.code == "toml.syntax"
