"""A certificate authority of a test's own, made with the real openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.real_parts import require


def make_authority(folder: Path) -> Path:
    """In this folder: an authority (`ca`), and certificates with keys for a server (`localhost`) and a client."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    extensions = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    subject = ("-subj", "/CN=test authority")
    _openssl(folder, "req", "-x509", *key, *extensions, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", *subject)
    (folder / "localhost.ext").write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n")
    (folder / "agent.ext").write_text("extendedKeyUsage=clientAuth\nauthorityKeyIdentifier=keyid\n")
    for name in ("localhost", "agent"):
        _openssl(folder, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signer = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signer, "-out", f"{name}.crt")
    return folder


def _openssl(folder: Path, *arguments: str) -> None:
    require("openssl")
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
