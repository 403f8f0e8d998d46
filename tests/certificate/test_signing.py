"""Signatures: DSSE's own example of what is signed, the right key, another key, other bytes, no key."""

import subprocess

import pytest

from jaxunlearn.certificate import signing
from jaxunlearn.errors import InputError

pytest.importorskip("cryptography", reason="signatures need cryptography")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two private keys, and the public key of the first, as PEM files."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    folder = tmp_path_factory.mktemp("keys")
    mine, other = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    plain = s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()
    (folder / "mine.pem").write_bytes(mine.private_bytes(*plain))
    (folder / "other.pem").write_bytes(other.private_bytes(*plain))
    (folder / "public.pem").write_bytes(
        mine.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    )
    (folder / "rsa.pem").write_bytes(rsa.generate_private_key(65537, 1024).private_bytes(*plain))
    return folder


def test_what_is_signed_is_dsses_encoding():
    """The example of protocol.md of secure-systems-lab/dsse."""
    assert signing.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_a_signature_holds_for_its_key_and_its_bytes_alone(keys):
    body, private = b'{"_type": "x"}', signing.private_key(keys / "mine.pem")
    made, public = signing.envelope(body, private), signing.public_key(keys / "public.pem")
    assert made["payloadType"] == "application/vnd.in-toto+json" and signing.fault(made, body, public) == ""
    assert made["signatures"][0]["keyid"] == signing.key_id(signing.public_key(keys / "mine.pem"))
    assert "no signature by the key" in signing.fault(made, body, signing.public_key(keys / "other.pem"))
    assert "another statement" in signing.fault(made, body + b" ", public)
    for broken in ({}, made | {"signatures": [{}]}, made | {"payload": "%"}):
        assert "no DSSE envelope" in signing.fault(broken, body, public)


def test_openssl_agrees(keys, tmp_path):
    made = signing.envelope(b"body", signing.private_key(keys / "mine.pem"))
    import base64

    (tmp_path / "signed").write_bytes(signing.pae(signing.PAYLOAD, b"body"))
    (tmp_path / "sig").write_bytes(base64.b64decode(made["signatures"][0]["sig"]))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-rawin", "-inkey", str(keys / "public.pem")]
    try:
        done = subprocess.run(
            [*command, "-in", "signed", "-sigfile", "sig"], cwd=tmp_path, capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("needs openssl")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("none.pem", None, "cannot be read: No such file"),
        ("odd.pem", "no key", "holds no private key that can be read .*openssl genpkey"),
        ("rsa.pem", None, "a key of another kind; expected Ed25519"),
        ("public.pem", None, "holds no private key"),
    ],
)
def test_a_key_that_cannot_sign_is_named(keys, name, text, says):
    if text:
        (keys / name).write_text(text)
    with pytest.raises(InputError, match=says):
        signing.private_key(keys / name)


def test_without_the_library_the_extra_is_named(monkeypatch, keys):
    import sys

    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.serialization", None)
    with pytest.raises(InputError, match=r"pip install 'jaxunlearn\[sign\]'"):
        signing.private_key(keys / "mine.pem")
