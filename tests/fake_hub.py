"""A Hugging Face hub on this machine, as far as its clients ask for it here: one commit, branch `main`, no accounts.

Repositories lie in `root/models/owner/name` and `root/datasets/owner/name`. The paths and headers are those of
huggingface_hub 1.x: /api/{kind}/{repo}[/revision/{r}], /tree/{r}, /paths-info/{r}, and /resolve/{r}/{file}.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "5eed" * 10


class _Handler(BaseHTTPRequestHandler):
    root: Path
    asked: list[str]

    def _answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: object) -> None:
        self._answer(json.dumps(value).encode(), Content_Type="application/json")

    def _missing(self, code: str) -> None:
        self._answer(b"{}", 404, X_Error_Code=code, X_Error_Message="not found")

    def _entries(self, folder: Path) -> list[dict]:
        """Everything in a repository, as the hub lists it."""
        return [
            {"path": str(path.relative_to(folder))}
            | (
                {"type": "directory", "oid": "0" * 40}
                if path.is_dir()
                else {"type": "file", "size": path.stat().st_size, "oid": hashlib.sha1(path.read_bytes()).hexdigest()}
            )
            for path in sorted(folder.rglob("*"))
        ]

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = parse_qs(self.rfile.read(length).decode()) if length else {}
        path = unquote(urlsplit(self.path).path)
        self.asked.append(f"{self.command} {path}")
        api = re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(/.*)?)?", path)
        file = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = api or file
        kind = (api[1] if api else "datasets" if file[1] else "models") if found else "models"
        folder = self.root / kind / found[2] if found else self.root / "nothing"
        revision = (api[4] if api else file[3]) if found else None
        entries = self._entries(folder) if folder.is_dir() else []
        if not folder.is_dir():
            self._missing("RepoNotFound")
        elif revision not in (None, "main", COMMIT, COMMIT[:7]):
            self._missing("RevisionNotFound")
        elif file:
            target = folder / file[4]
            if target.is_file():
                content = target.read_bytes()
                self._answer(content, ETag=f'"{hashlib.sha1(content).hexdigest()}"')
            else:
                self._missing("EntryNotFound")
        elif api[3] == "tree":
            inside = (api[5] or "/")[1:]
            parts = [part for part in entries if not inside or part["path"].startswith(inside + "/")]
            if parse_qs(urlsplit(self.path).query).get("recursive", ["False"])[0].lower() != "true":
                depth = inside.count("/") + 1 if inside else 0
                parts = [part for part in parts if part["path"].count("/") == depth]
            self._json(parts) if parts else self._missing("EntryNotFound")
        elif api[3] == "paths-info":
            self._json([part for part in entries if part["path"] in body.get("paths", [])])
        else:
            siblings = [{"rfilename": part["path"]} for part in entries if part["type"] == "file"]
            self._json({"id": found[2], "sha": COMMIT, "siblings": siblings, "tags": [], "private": False,
                        "downloads": 0})  # fmt: skip

    do_HEAD = do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def serve(root: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub that serves `root`, and the list of what it is asked for."""
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"root": root, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def python(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    """Run Python with the hub's cache in `home`; variables of the hub are read when it is imported."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    return subprocess.run(
        [sys.executable, "-W", "ignore", *words], env=kept | {"HF_HOME": str(home), **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
