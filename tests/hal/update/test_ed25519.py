"""Signatures verified with integers alone: RFC 8032's own vectors, and the library's word on random ones."""

import hashlib
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hal.runtime.ed25519 import sha512, verifies

VECTORS = [  # RFC 8032 section 7.1: public key, message, signature
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
        "655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
        "b00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
        "c027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_vectors_of_the_specification_hold(key, message, signature):
    parts = [bytes.fromhex(text) for text in (key, signature, message)]
    assert verifies(*parts)


def test_the_library_and_the_integers_say_the_same():
    rng = random.Random(5)
    for length in (0, 1, 100, 111, 112, 128, 1000):
        key = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        data = rng.randbytes(length)
        public, signature = key.public_key().public_bytes_raw(), key.sign(data)
        assert verifies(public, signature, data)
        for changed in (data + b"x", data[1:] if data else b"y"):
            assert not verifies(public, signature, changed)
        at = rng.randrange(64)
        assert not verifies(public, signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :], data)


def test_a_signature_with_a_number_beyond_the_order_is_refused():
    key = Ed25519PrivateKey.generate()
    signature = key.sign(b"data")
    beyond = int.from_bytes(signature[32:], "little") + 2**252 + 27742317777372353535851937790883648493
    assert not verifies(key.public_key().public_bytes_raw(), signature[:32] + beyond.to_bytes(32, "little"), b"data")


@pytest.mark.parametrize("length", [0, 1, 111, 112, 127, 128, 129, 500])
def test_sha512_is_sha512(length):
    data = random.Random(length).randbytes(length)
    assert sha512(data) == hashlib.sha512(data).digest()
