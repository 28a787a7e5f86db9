"""A certificate authority for one test run, by the openssl that is installed, and a port that shows a certificate."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """Files in ``directory``: ``ca.pem``, and ``NAME.pem`` with ``NAME.key`` for each issued."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._openssl(
            *(
                "req",
                "-x509",
                *_NEW_KEY,
                "-keyout",
                "ca.key",
                "-out",
                "ca.pem",
                "-days",
                "2",
                "-subj",
                "/CN=a test's CA",
            ),
            *("-addext", "keyUsage=critical,keyCertSign"),
        )

    def __getitem__(self, name: str) -> str:
        """The path of a file."""
        return str(self._directory / name)

    def issue(
        self,
        name: str,
        *,
        names: str = "DNS:localhost,IP:127.0.0.1",
        days: int = 2,
        new_key: tuple[str, ...] = _NEW_KEY,
    ) -> None:
        """A certificate for ``names`` that ends in so many ``days``; it has ended with -1."""
        extensions = f"subjectAltName={names}\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
        (self._directory / f"{name}.ext").write_text(extensions)
        self._openssl("req", "-new", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", f"{name}.pem", "-days", str(days), "-extfile", f"{name}.ext"),
        )

    def lock(self, name: str, password: str) -> None:
        """``NAME.locked.key``: the key of ``NAME``, encrypted."""
        self._openssl(
            *("ec", "-in", f"{name}.key", "-aes256", "-passout", f"pass:{password}", "-out", f"{name}.locked.key")
        )

    def _openssl(self, *words: str) -> None:
        done = subprocess.run(["openssl", *words], cwd=self._directory, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@contextmanager
def showing(authority: Authority, name: str) -> Iterator[int]:
    """A port that speaks TLS with the certificate ``name``, and nothing after that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority[f"{name}.pem"], authority[f"{name}.key"])
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    taken, _ = server.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), taken, context.wrap_socket(taken, server_side=True):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(20)
