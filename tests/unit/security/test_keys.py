"""The folder of keys: what is written, who may read it, and what is refused in one line."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from coordinator.cli.main import run
from coordinator.errors import UserError
from coordinator.security.keyring import Keyring
from neuron_node.curve import belong_together
from neuron_node.keys import KeysFolder, folder_from


@pytest.fixture
def folder(tmp_path: Path) -> KeysFolder:
    Keyring(tmp_path / "keys").init(86)
    return KeysFolder(tmp_path / "keys")


def refusal(folder: KeysFolder, role: str, name: str = "") -> str:
    with pytest.raises(UserError) as caught:
        folder.own([role], name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_first_keys_are_complete_and_belong_together(folder: KeysFolder) -> None:
    """Each of the four holders has a pair for CURVE, and the coordinator also has a pair for signatures."""
    holders = folder.holders()
    assert {name: holder.role for name, holder in holders.items()} == {
        "broker": "broker", "coordinator": "coordinator", "neurons": "node", "operator": "operator",
    }  # fmt: skip
    assert holders["neurons"].places == 86
    for holder in holders.values():
        own = folder.own([holder.role])
        assert own.curve_public == holder.curve_public and belong_together(own.curve_public, own.curve_secret)
    own = folder.own(["coordinator"])
    assert bytes(SigningKey(own.sign_secret).verify_key) == own.sign_public == holders["coordinator"].sign_public


def test_only_the_owner_can_read_secrets(folder: KeysFolder) -> None:
    """The umask does not matter; all can read the public parts."""
    before = os.umask(0)
    try:
        Keyring(folder.path).add("host-a", "node", 3)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in folder.path.glob("[!p]*/*.json")} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in folder.public.glob("*.json")} == {0o644}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_secret_that_others_can_reach_is_refused(folder: KeysFolder, mode: int) -> None:
    """The line names the command that corrects it."""
    folder.secret("node", "neurons").chmod(mode)
    assert f"mode {mode:04o}" in refusal(folder, "node") and "chmod 600" in refusal(folder, "node")


def test_revoked_replaced_and_missing_keys_are_refused(folder: KeysFolder) -> None:
    """An old copy of a replaced key is not the present key; a replaced key is valid again."""
    keyring = Keyring(folder.path)
    keyring.revoke("neurons")
    assert "was revoked on" in refusal(folder, "node")
    old = folder.secret("node", "neurons").read_bytes()
    keyring.rotate("neurons")
    assert folder.own(["node"]).name == "neurons" and folder.holder("neurons").places == 86
    folder.secret("node", "neurons").write_bytes(old)
    assert "is not the present key" in refusal(folder, "node")
    assert "add-viewer" in refusal(folder, "viewer")
    keyring.add("host-a", "node", 1)
    assert "--key NAME" in refusal(folder, "node")
    assert folder.own(["node"], "host-a").name == "host-a"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 4_000, b"[]", b"{}", b"\xff", b"x" * 5_000, b'{"name": "neurons"}'],
    ids=["empty", "cut", "deep", "list", "object", "no text", "large", "a field"],
)
@pytest.mark.parametrize("public", [False, True], ids=["secret", "public"])
def test_damaged_file_is_named(folder: KeysFolder, content: bytes, public: bool) -> None:
    """The error is one line with the path of the file."""
    path = folder.public / "neurons.json" if public else folder.secret("node", "neurons")
    path.write_bytes(content)
    text = refusal(folder, "node")
    assert str(path) in text and "is damaged" in text


@pytest.mark.parametrize("field", ["name", "role", "curve_public", "curve_secret", "sign_secret"])
@pytest.mark.parametrize("value", [None, 7, "", "../x", "00" * 33, []], ids=repr)
def test_wrong_field_is_refused_without_the_secret(folder: KeysFolder, field: str, value: object) -> None:
    """No error shows a secret."""
    path = folder.secret("coordinator", "coordinator")
    fields = json.loads(path.read_text())
    secrets = [fields["curve_secret"], fields["sign_secret"]]
    path.write_text(json.dumps({**fields, field: value}))
    text = refusal(folder, "coordinator", "coordinator")
    assert "is damaged" in text and not any(secret in text for secret in secrets)
    assert not any(secret in repr(KeysFolder(folder.path).holders()) for secret in secrets)


def test_text_of_keys_hides_the_secret(folder: KeysFolder) -> None:
    """A log or a traceback shows role, name and fingerprint."""
    own = folder.own(["coordinator"])
    assert repr(own) == f"SecretKeys(coordinator:coordinator, {folder.holder('coordinator').fingerprint})"


def test_commands_create_list_and_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each refusal is one line with exit code 2; the list shows no full key."""
    monkeypatch.setenv("EXMACHINA_KEYS", str(tmp_path / "keys"))
    assert run(["keys", "list"]) == 2
    assert run(["keys", "init", "--places", "5"]) == 0
    assert run(["keys", "init", "--keep"]) == 0
    assert run(["keys", "add-viewer", "ben"]) == 0
    assert run(["keys", "revoke", "ben"]) == 0
    capfd.readouterr()
    assert run(["keys", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capfd.readouterr().out)["keys"]}
    assert rows["neurons"]["places"] == 5 and rows["ben"]["revoked"] and not rows["operator"]["revoked"]
    for arguments in (
        ["init"], ["add-viewer", "ben"], ["add-node", "../x"], ["add-operator", "broker"], ["revoke", "broker"],
        ["revoke", "nobody"], ["rotate", "nobody"], ["export", "nobody", str(tmp_path / "x")],
        ["export", "operator", str(tmp_path)],
    ):  # fmt: skip
        assert run(["keys", *arguments]) == 2
        assert len(capfd.readouterr().err.splitlines()) == 1
    monkeypatch.delenv("EXMACHINA_KEYS")
    assert folder_from(None) is None and run(["keys", "list"]) == 2


def test_exported_folder_has_one_secret(folder: KeysFolder, tmp_path: Path) -> None:
    """The holder can use the exported folder or archive, which has no other secret."""
    keyring = Keyring(folder.path)
    keyring.export("operator", tmp_path / "mine")
    mine = KeysFolder(tmp_path / "mine")
    assert mine.own(["operator"]).curve_secret == folder.own(["operator"]).curve_secret
    assert mine.holders() == folder.holders()
    assert [path.name for path in mine.path.iterdir() if path.name != "public"] == ["operator"]
    archive = io.BytesIO()
    keyring.export_archive("operator", archive)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as files:
        modes = {entry.name: entry.mode for entry in files}
    assert modes["keys/operator/operator.json"] == 0o600 and len(modes) == 5
