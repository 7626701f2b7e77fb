# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian mirror for guests that install: passes requests on to Debian's, keeps packages in the cache, and offers of the
installer's components only those that are there.

What it serves as SUITE, the installer's components, is signed by nobody. All else passes through as it is, and the guest
checks its signatures."""
import concurrent.futures
import gzip
import hashlib
import http.server
import os
import re
import threading
import time
import urllib.error
import urllib.request

from . import paths
from .ui import LabError

UPSTREAM = "http://deb.debian.org/debian"
SUITE = "trixie"  # of the installer's components
INDEX = "main/debian-installer/binary-amd64/Packages"
# For components that the index names in a version which is not on the mirror: one that is.
INSTEAD = {"e2fsprogs-udeb": ("1.47.2-3+b11", "pool/main/e/e2fsprogs/e2fsprogs-udeb_1.47.2-3+b11_amd64.udeb"),
           **{name: ("2.41-5", f"pool/main/u/util-linux/{name}_2.41-5_amd64.udeb")
              for name in ("eject-udeb", "fdisk-udeb", "libfdisk1-udeb", "libmount1-udeb", "libsmartcols1-udeb")}}
TIMEOUT = 60  # seconds
ATTEMPTS = 3
REQUESTS = 12  # at once


def _fetch(path, method="GET"):
    request = urllib.request.Request(f"{UPSTREAM}/{path}", method=method)
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code in (403, 404) or attempt + 1 == ATTEMPTS:
                raise
        except OSError:
            if attempt + 1 == ATTEMPTS:
                raise
        time.sleep(1 << attempt)
    raise AssertionError("unreachable")


def fetched(path, digest=None):
    """The file of the cache that holds a package, by its path on the mirror; `digest`: its SHA-256, if it must have one."""
    target = paths.CACHE / "mirror" / path
    if not target.exists():
        try:
            data = _fetch(path)
        except OSError as error:
            raise LabError(f"{UPSTREAM}/{path}: {error}") from None
        if digest and hashlib.sha256(data).hexdigest() != digest:
            raise LabError(f"{UPSTREAM}/{path} is not the file that is expected: its SHA-256 differs")
        partial = paths.ensure(target.parent) / f".{os.getpid()}-{threading.get_ident()}-{target.name}"
        partial.write_bytes(data)
        partial.rename(target)
    return target


def _is_there(path):
    try:
        _fetch(path, "HEAD")
        return True
    except urllib.error.HTTPError:
        return False


def _another_version(stanza):
    """The stanza of the index for the version that is offered instead; nothing when there is none."""
    name = re.match(r"Package: (\S+)", stanza)[1]
    if name not in INSTEAD:
        return None
    version, path = INSTEAD[name]
    data = fetched(path).read_bytes()
    fields = {"Version": version, "Filename": path, "Size": len(data), "MD5sum": hashlib.md5(data).hexdigest(),
              "SHA256": hashlib.sha256(data).hexdigest()}
    for field, value in fields.items():
        stanza = re.sub(rf"^{field}: .*$", f"{field}: {value}", stanza, flags=re.MULTILINE)
    return stanza


def _of_what_is_there(index):
    stanzas = [stanza for stanza in index.strip().split("\n\n") if stanza]
    files = [re.search(r"^Filename: (\S+)", stanza, re.MULTILINE)[1] for stanza in stanzas]
    with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
        there = list(pool.map(_is_there, files))
    kept = [stanza if found else _another_version(stanza) for stanza, found in zip(stanzas, there)]
    return "\n\n".join(filter(None, kept)) + "\n"


def _installer_index():
    """Made once for each version of the index: half a minute of questions to the mirror."""
    packed = _fetch(f"dists/{SUITE}/{INDEX}.gz")
    made_of = hashlib.sha256(packed + repr(INSTEAD).encode()).hexdigest()
    kept = paths.ensure(paths.CACHE / "mirror") / f"installer-{made_of}.gz"
    if not kept.exists():
        partial = kept.with_name(f".{os.getpid()}-{kept.name}")
        index = _of_what_is_there(gzip.decompress(packed).decode())
        partial.write_bytes(gzip.compress(index.encode(), mtime=0))
        partial.rename(kept)
    return kept.read_bytes()


def _installer_suite():
    """The two files of the installer's suite, by their paths."""
    index = _installer_index()
    release = f"""Suite: stable
Codename: {SUITE}
Architectures: amd64
Components: main
SHA256:
 {hashlib.sha256(index).hexdigest()} {len(index)} {INDEX}.gz
"""
    return {f"dists/{SUITE}/Release": release.encode(), f"dists/{SUITE}/{INDEX}.gz": index}


class Mirror:
    """Use as a context manager: serves http://127.0.0.1:PORT/debian."""

    def __init__(self):
        self.missing = []  # paths that were asked for in vain
        self._indices = _installer_suite()
        self._lock = threading.Lock()
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self._answer(True)

            def do_HEAD(self):
                self._answer(False)

            def _answer(self, with_body):
                data = mirror._file(self.path)
                self.send_response(200 if data is not None else 404)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                if with_body and data:
                    self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def _file(self, request):
        path = re.sub(r"/+", "/", request.split("?")[0])
        if not path.startswith("/debian/") or ".." in path:
            return None
        path = path.removeprefix("/debian/")
        try:
            if path.startswith("pool/"):
                return fetched(path).read_bytes()
            with self._lock:  # indices of one moment, for as long as this mirror lives
                if path not in self._indices:
                    if path.startswith(f"dists/{SUITE}/"):
                        return None
                    self._indices[path] = _fetch(path)
                return self._indices[path]
        except (OSError, LabError):
            self.missing.append(path)
            return None

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
