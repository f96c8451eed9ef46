"""Keys, certificates and small bundles for tests."""

import hashlib
import json
import zlib

from firmware.maker.signing import make_certificate, make_key, public_text, sign_document
from hal.linux.update.folders import architecture
from hal.update.bundle import MAGIC
from hal.update.signed import USES, Keyring

NOW = 1_790_000_000  # seconds since 1970
DAY = 86400


class Maker:
    """A maker with a root key, a signing key and a certificate, its files in a folder."""

    def __init__(self, folder, begin=NOW - DAY, end=NOW + DAY, uses=USES):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.root = make_key(str(folder / "root.key"))
        self.key = make_key(str(folder / "signing.key"))
        self.certificate = make_certificate(self.root, public_text(self.key), "test key", list(uses), begin, end)
        (folder / "signing.cert").write_text(json.dumps(self.certificate))
        self.content = {"roots": [public_text(self.root)], "revoked": []}
        self.keyring_path = folder / "keyring.json"
        self.keyring_path.write_text(json.dumps(self.content))

    @property
    def keyring(self):
        return Keyring(self.content)

    def document(self, use, payload):
        return sign_document(self.key, self.certificate, use, payload)

    def digest(self, data):
        return hashlib.sha256(data).hexdigest()

    def bundle(self, path, files=None, stream=None, entries=None, window_bits=15, **header):
        """Write a bundle of {path: bytes}; `header` overrides what it says, `stream` what it holds."""
        files = {"firmware/__init__.py": b"VERSION = '9.9.9'\n"} if files is None else files
        packer = zlib.compressobj(wbits=window_bits)
        packed = packer.compress(b"".join(files.values())) + packer.flush() if stream is None else stream
        payload = {
            "version": "9.9.9",
            "minVersion": "0.0.0",
            "compatible": ["simulated"],
            "architecture": architecture(),
            "size": len(packed),
            "sha256": hashlib.sha256(packed).hexdigest(),
            "files": entries
            or [
                {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for name, data in files.items()
            ],
        }
        payload.update(header)
        text = json.dumps(self.document("bundle", payload)).encode()
        path.write_bytes(MAGIC + str(len(text)).encode() + b"\n" + text + packed)
        return path
