"""From one CA to the next: what is trusted and what signs at each step, judged by openssl."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from judges import needs_openssl, strict_verdict
from keyfob_rig import Keyfob, on_a_terminal

from keyfob_host.home import Home
from keyfob_host.pki import folder, rollover
from keyfob_host.pki.ca_folder import clients_ca_path

pytestmark = needs_openssl


def device(keyfob: Keyfob, name: str) -> Path:
    return keyfob.home / "certs" / "device" / name


def verifies(cafile: Path, folder: Path) -> bool:
    chain = folder / "chain.pem"
    return strict_verdict(cafile, chain, "-untrusted", chain) == ""


def broker_takes(keyfob: Keyfob, name: str) -> bool:
    return verifies(clients_ca_path(Home(keyfob.home).ca_dir), device(keyfob, name))


def anchors(keyfob: Keyfob, name: str) -> int:
    return (device(keyfob, name) / "ca.pem").read_bytes().count(b"-----BEGIN")


@pytest.mark.parametrize("init", [(), ("--intermediate",)], ids=["root-signs", "intermediate"])
def test_old_and_new_devices_are_taken_until_the_rollover_is_over(
    keyfob: Keyfob, init: tuple[str, ...]
) -> None:
    keyfob.json("ca", "init", "--no-passphrase", *init)
    keyfob.json("cert", "device", "old")
    shutil.copytree(device(keyfob, "old"), keyfob.home / "kept")
    first = keyfob.json("ca", "show")

    begun = keyfob.json("ca", "rollover", "begin", "--no-passphrase")
    assert begun["phase"] == "begun" and begun["current"]["sha256"] == first["sha256"]
    keyfob.json("cert", "device", "between")
    assert anchors(keyfob, "old") == anchors(keyfob, "between") == 2
    assert verifies(keyfob.home / "ca" / "ca.cert.pem", device(keyfob, "between"))

    switched = keyfob.json("ca", "rollover", "switch")
    assert switched["phase"] == "switched" and switched["current"]["sha256"] != first["sha256"]
    assert switched["left"] == ["between", "old"]
    keyfob.json("cert", "device", "new")
    assert anchors(keyfob, "new") == 2
    assert not verifies(keyfob.home / "kept" / "ca.pem", device(keyfob, "new"))
    assert all(broker_takes(keyfob, name) for name in ("old", "between", "new"))

    keyfob.json("cert", "renew", "old", "between")
    assert keyfob.json("ca", "rollover", "finish")["phase"] == "none"
    assert [anchors(keyfob, name) for name in ("old", "between", "new")] == [1, 1, 1]
    assert all(broker_takes(keyfob, name) for name in ("old", "between", "new"))
    assert not verifies(clients_ca_path(Home(keyfob.home).ca_dir), keyfob.home / "kept")
    assert not (keyfob.home / "ca" / "previous").exists()


def test_the_inventory_knows_both_authorities_and_then_one(with_ca: Keyfob) -> None:
    def states() -> dict[str, str]:
        found = with_ca.json("cert", "list", "--kind", "ca")["certificates"]
        return {one["sha256"]: one["state"] for one in found}

    with_ca.json("cert", "list")
    old = with_ca.json("ca", "show")["sha256"]
    with_ca.json("ca", "rollover", "begin", "--no-passphrase")
    assert sorted(states().values()) == ["valid", "valid"]
    with_ca.json("ca", "rollover", "switch")
    assert sorted(states().values()) == ["valid", "valid"]
    with_ca.json("ca", "rollover", "finish")
    assert sorted(states().values()) == ["replaced", "valid"] and states()[old] == "replaced"


def test_a_batch_made_by_several_processes_trusts_both_too(
    with_ca: Keyfob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfob_host.pki.batch.CHUNK", 1)
    with_ca.json("ca", "rollover", "begin", "--no-passphrase")
    with_ca.json("cert", "devices", "--count", "3", "--pattern", "s-{}", "--jobs", "2")
    assert [anchors(with_ca, f"s-{number}") for number in (1, 2, 3)] == [2, 2, 2]


def test_certificates_of_the_former_ca_keep_the_rollover_open(with_ca: Keyfob) -> None:
    with_ca.json("cert", "device", "sensor-01")
    with_ca.json("cert", "device", "sensor-02")
    with_ca.json("ca", "rollover", "begin", "--no-passphrase")
    with_ca.json("ca", "rollover", "switch")
    refused = with_ca.error("ca", "rollover", "finish")
    assert refused["code"] == "ca.rollover-left"
    assert "keyfob cert renew sensor-01 sensor-02" in refused["fix"]
    with_ca.json("cert", "renew", "sensor-01")
    with_ca.json("ca", "rollover", "finish", "--force")
    assert not broker_takes(with_ca, "sensor-02")


def test_a_device_that_the_former_ca_revoked_is_not_waited_for(with_ca: Keyfob) -> None:
    with_ca.json("cert", "device", "stolen")
    with_ca.json("cert", "revoke", "stolen")
    with_ca.json("ca", "rollover", "begin", "--no-passphrase")
    assert with_ca.json("ca", "rollover", "switch")["left"] == []
    crls = (with_ca.home / "ca" / "crl.pem").read_bytes()
    assert crls.count(b"-----BEGIN X509 CRL-----") == 2  # mosquitto wants one of each issuer
    with_ca.json("ca", "rollover", "finish")


def test_steps_out_of_order_are_refused_with_the_one_that_comes_first(with_ca: Keyfob) -> None:
    refused = with_ca.error("ca", "rollover", "switch")
    assert (refused["code"], refused["fix"]) == ("ca.rollover-phase", "keyfob ca rollover begin")
    with_ca.json("ca", "rollover", "begin", "--no-passphrase")
    assert with_ca.error("ca", "rollover", "finish")["fix"] == "keyfob ca rollover switch"
    with_ca.json("ca", "rollover", "switch")
    assert with_ca.error("ca", "rollover", "begin")["fix"] == "keyfob ca rollover finish"


def test_a_step_twice_is_the_same_as_once(with_ca: Keyfob) -> None:
    with_ca.json("cert", "device", "sensor-01")
    begun = with_ca.json("ca", "rollover", "begin", "--no-passphrase")
    again = with_ca.json("ca", "rollover", "begin")
    assert again["other"]["sha256"] == begun["other"]["sha256"]
    with_ca.json("ca", "rollover", "switch")
    assert with_ca.json("ca", "rollover", "switch")["current"]["sha256"] == begun["other"]["sha256"]
    with_ca.json("cert", "renew", "sensor-01")
    with_ca.json("ca", "rollover", "finish")
    assert with_ca.json("ca", "rollover", "finish")["phase"] == "none"


@pytest.mark.parametrize("step", ["begin", "switch", "finish"])
def test_a_step_cut_short_is_completed_by_the_same_command(
    with_ca: Keyfob, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with_ca.json("cert", "device", "sensor-01")
    done = ["begin", "switch", "finish"][: ["begin", "switch", "finish"].index(step)]
    for one in done:
        with_ca.json("ca", "rollover", one, *(["--no-passphrase"] if one == "begin" else []))
    if step == "finish":
        with_ca.json("cert", "renew", "sensor-01")
    before = anchors(with_ca, "sensor-01")
    with monkeypatch.context() as patched:
        patched.setattr(
            rollover, "_hand_out", lambda home: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with_ca.run("ca", "rollover", step, *(["--no-passphrase"] if step == "begin" else []))
    assert anchors(with_ca, "sensor-01") == before
    with_ca.json("ca", "rollover", step)
    assert anchors(with_ca, "sensor-01") == (1 if step == "finish" else 2)
    assert broker_takes(with_ca, "sensor-01")


@pytest.mark.parametrize("step", ["switch", "finish"])
def test_a_step_killed_behind_its_exchange_leaves_no_keys_once_it_is_completed(
    with_ca: Keyfob, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with_ca.json("ca", "rollover", "begin", "--no-passphrase")
    if step == "finish":
        with_ca.json("ca", "rollover", "switch")
    with monkeypatch.context() as killed:
        killed.setattr(folder.shutil, "rmtree", lambda *_, **__: None)
        with_ca.json("ca", "rollover", step)
    (remains,) = with_ca.home.glob(".ca.*")
    ended = subprocess.Popen(["true"])
    ended.wait()
    remains = remains.rename(with_ca.home / f".ca.{ended.pid}-abcd1234")
    assert list(remains.rglob("ca.key.pem"))
    with_ca.json("ca", "rollover", step)
    assert not list(with_ca.home.glob(".ca.*"))


@pytest.mark.parametrize("step", ["switch", "finish"])
def test_nothing_can_be_revoked_between_reading_the_folder_and_its_exchange(
    with_ca: Keyfob, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with_ca.json("cert", "device", "lost")
    with_ca.json("cert", "revoke", "lost")
    with_ca.json("ca", "rollover", "begin", "--no-passphrase")
    if step == "finish":
        with_ca.json("ca", "rollover", "switch")
    write_folder = rollover.write_folder
    seen: list[str] = []

    def watched(*arguments: Any, **options: Any) -> None:
        # A revocation signs the CRL within a transaction; one now would be left behind.
        path = with_ca.home / "certs" / "inventory.sqlite"
        locked = pytest.raises(sqlite3.OperationalError, match="locked")
        with closing(sqlite3.connect(path, timeout=0)) as other, locked:
            other.execute("BEGIN IMMEDIATE")
        seen.append(step)
        write_folder(*arguments, **options)

    monkeypatch.setattr(rollover, "write_folder", watched)
    with_ca.json("ca", "rollover", step)
    assert seen == [step]


def test_the_key_of_the_next_ca_is_as_private_as_any(with_ca: Keyfob) -> None:
    with_ca.json("ca", "rollover", "begin", "--no-passphrase")
    assert (with_ca.home / "ca" / "next" / "ca.key.pem").stat().st_mode & 0o777 == 0o600
    with_ca.json("ca", "rollover", "switch")
    keys = list((with_ca.home / "ca").rglob("*.key.pem"))
    assert len(keys) == 2 and {one.stat().st_mode & 0o777 for one in keys} == {0o600}
    assert (with_ca.home / "ca").stat().st_mode & 0o777 == 0o700


def test_the_next_ca_can_have_a_profile_with_variables(with_ca: Keyfob, tmp_path: Path) -> None:
    profile = tmp_path / "ours.toml"
    profile.write_text(
        'kind = "authority"\nkey_type = "p256"\ndays = 100\npath_length = 0\n'
        '[subject]\norganization = "{org}"\ncommon_name = "CA {key_id}"\n'
    )
    begin = ("ca", "rollover", "begin", "--no-passphrase", "--profile", profile)
    assert with_ca.error(*begin)["code"] == "cert.variable-missing"
    assert with_ca.json(*begin, "--var", "org=Acme")["other"]["subject"].endswith("O=Acme")


def test_the_exported_ca_is_every_one_that_is_trusted(with_ca: Keyfob, tmp_path: Path) -> None:
    export = ("cert", "export", "ca", "--format", "pem", "--force", "--out", tmp_path / "out")
    for step, count in (("begin", 2), ("switch", 2), ("finish", 1)):
        with_ca.json("ca", "rollover", step, *(["--no-passphrase"] if step == "begin" else []))
        with_ca.json(*export)
        assert (tmp_path / "out" / "ca.pem").read_bytes().count(b"-----BEGIN") == count


def test_a_first_crl_in_a_rollover_does_not_shut_the_former_ca_s_devices_out(
    keyfob: Keyfob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORMER", "words of the former")
    monkeypatch.setenv("PRESENT", "words of the present")
    former, present = ("--passphrase-env", "FORMER"), ("--passphrase-env", "PRESENT")
    keyfob.json("ca", "init", *former)
    keyfob.json("cert", "device", "old", *former)
    keyfob.json("ca", "rollover", "begin", *present)
    keyfob.json("ca", "rollover", "switch")
    keyfob.json("cert", "device", "new", *present)
    for command in (("ca", "crl"), ("cert", "revoke", "new")):
        assert keyfob.error(*command, *present)["code"] == "ca.previous-locked"
        assert not (keyfob.home / "ca" / "crl.pem").exists()
    typed = ["words of the present\n", "words of the former\n"]
    status, seen = on_a_terminal(keyfob.home, typed, "ca", "crl")
    assert status == 0 and "stays locked" not in seen, seen
    keyfob.json("cert", "revoke", "new", *present)
    crls = keyfob.home / "ca" / "crl.pem"
    for name, is_taken in (("old", True), ("new", False)):
        done = subprocess.run(
            ["openssl", "verify", "-crl_check", "-CRLfile", crls, "-no-CApath", "-no-CAstore",
             "-CAfile", keyfob.home / "ca" / "clients.pem", device(keyfob, name) / "cert.pem"],
            capture_output=True,
        )  # fmt: skip
        assert (done.returncode == 0) is is_taken, (name, done.stderr)
