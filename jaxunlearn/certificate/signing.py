"""Signatures by Ed25519 in a DSSE envelope, as in-toto puts them around a statement.

https://github.com/secure-systems-lab/dsse: the signature is over PAE(type, body), "DSSEv1 LEN(type) type LEN(body)
body". The envelope holds the statement's bytes, so that nothing has to be written again in the same way. Keys are PEM
files, as `openssl genpkey -algorithm ed25519` makes them. A time stamp (RFC 3161) is left to the user.
"""

import base64
import binascii
import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

from jaxunlearn.errors import InputError

PAYLOAD = "application/vnd.in-toto+json"


def library() -> Any:
    """Return the modules of cryptography that are used here; InputError says how to install it."""
    try:
        serialization = import_module("cryptography.hazmat.primitives.serialization")
        ed25519 = import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
    except ImportError:
        raise InputError("signatures need the library cryptography: pip install 'jaxunlearn[sign]'") from None
    return serialization, ed25519


def pae(kind: str, body: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding of a payload: what is signed."""
    name = kind.encode()
    return b" ".join([b"DSSEv1", str(len(name)).encode(), name, str(len(body)).encode(), body])


def private_key(path: Path) -> Any:
    """Return the private key in a PEM file. Raises InputError where it holds none of Ed25519, or is encrypted."""
    serialization, ed25519 = library()
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:
        how = "make one: openssl genpkey -algorithm ed25519 -out key.pem"
        raise InputError(f"--key {path} holds no private key that can be read ({_short(error)}); {how}") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise InputError(f"--key {path} holds a key of another kind; expected Ed25519")
    return key


def public_key(path: Path) -> Any:
    """Return the public key in a PEM file, or that of the private key in it. Raises InputError where there is none."""
    serialization, ed25519 = library()
    data = _read(path)
    if b"PRIVATE" in data:
        return private_key(path).public_key()
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, TypeError) as error:
        how = "make one: openssl pkey -in key.pem -pubout -out public.pem"
        raise InputError(f"--key {path} holds no public key that can be read ({_short(error)}); {how}") from None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise InputError(f"--key {path} holds a key of another kind; expected Ed25519")
    return key


def _read(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"--key {path} cannot be read: {error.strerror}") from None


def _short(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:100]


def key_id(public: Any) -> str:
    """Return the SHA-256 of a public key's 32 bytes."""
    serialization, _ = library()
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()


def envelope(body: bytes, private: Any) -> dict[str, Any]:
    """Return the DSSE envelope of a statement's bytes, signed."""
    signature = private.sign(pae(PAYLOAD, body))
    return {
        "payloadType": PAYLOAD, "payload": base64.b64encode(body).decode(),
        "signatures": [{"keyid": key_id(private.public_key()), "sig": base64.b64encode(signature).decode()}],
    }  # fmt: skip


def fault(found: dict[str, Any], body: bytes, public: Any) -> str:
    """Return why an envelope is not this key's signature of these bytes, "" where it is."""
    wrong = import_module("cryptography.exceptions").InvalidSignature
    try:
        payload = base64.b64decode(found["payload"], validate=True)
        signatures = [base64.b64decode(s["sig"], validate=True) for s in found["signatures"]]
        kind = str(found["payloadType"])
    except (KeyError, TypeError, ValueError, binascii.Error):
        return "is no DSSE envelope"
    if payload != body or kind != PAYLOAD:
        return "holds another statement than statement.json"
    for signature in signatures:
        try:
            public.verify(signature, pae(kind, payload))
            return ""
        except wrong:
            continue
    return "has no signature by the key that was given"
