"""A certificate that signs itself, for servers on this machine."""

import os
import ssl
import subprocess


def make(folder):
    """The files, as `feed.tls` names them."""
    files = {name: os.path.join(folder, f"{name}.pem") for name in ("certificate", "key")}
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
                    "-days", "2", "-out", files["certificate"], "-keyout", files["key"]], check=True, capture_output=True)
    return files


def trust(files):
    """For a client's socket; it connects to an address, and names localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(files["certificate"])
    return context
