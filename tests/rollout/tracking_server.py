# SPDX-License-Identifier: Apache-2.0
"""A tracking server of a few routes: as much of MLflow's REST API as a mirror speaks, kept in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts/"


class Held:
    """What the server was given."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}  # name -> id
        self.runs: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.credentials: set[str] = set()

    def answer(self, route: str, asked: dict[str, Any]) -> dict[str, Any] | None:
        """Do what a route is for; None: what is asked for is not there."""
        run = self.runs.get(asked.get("run_id", ""))
        if route == "experiments/get-by-name":
            found = self.experiments.get(asked["experiment_name"])
            named = {"experiment_id": found, "name": asked["experiment_name"], "lifecycle_stage": "active"}
            return None if found is None else {"experiment": named}
        if route == "experiments/create":
            self.experiments[asked["name"]] = str(len(self.experiments) + 1)
            return {"experiment_id": self.experiments[asked["name"]]}
        if route == "runs/create":
            name = f"{len(self.runs):032x}"
            info = {key: asked[key] for key in ("experiment_id", "run_name", "start_time")}
            place = {"run_id": name, "artifact_uri": f"mlflow-artifacts:/{name}", "lifecycle_stage": "active"}
            self.runs[name] = {
                "info": info | place | {"status": "RUNNING"},
                "data": {"tags": asked.get("tags", []), "params": [], "metrics": []},
            }
            return {"run": self.runs[name]}
        if route == "runs/search":
            return {"runs": list(self.runs.values())}
        if run is None:
            return None
        if route == "runs/get":
            return {"run": run}
        if route == "runs/log-batch":
            for kind in ("params", "metrics", "tags"):
                run["data"][kind] += asked.get(kind, [])
            return {}
        if route == "runs/set-tag":
            self.answer("runs/delete-tag", asked)
            run["data"]["tags"].append({"key": asked["key"], "value": asked["value"]})
            return {}
        if route == "runs/delete-tag":
            run["data"]["tags"] = [tag for tag in run["data"]["tags"] if tag["key"] != asked["key"]]
            return {}
        if route == "runs/update":
            run["info"] |= {"status": asked["status"], "end_time": asked["end_time"]}
            return {"run_info": run["info"]}
        raise AssertionError(f"nobody is to ask for {route}")


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer on a free port of this machine until the end; yields the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{found.server_port}"
        finally:
            found.shutdown()
            thread.join()


@contextmanager
def tracking_server(held: Held) -> Iterator[str]:
    """Serve what is held while it lasts; yields the address."""

    class Routes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()})

        def do_POST(self) -> None:
            self._answer(json.loads(self._body()))

        def do_PUT(self) -> None:
            held.files[self.path.removeprefix(FILES)] = self._body()
            self._send(200, {})

        def _answer(self, asked: dict[str, Any]) -> None:
            held.credentials.add(self.headers.get("Authorization", ""))
            found = held.answer(urlsplit(self.path).path.removeprefix(API), asked)
            missing = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "there is none"}
            self._send(404 if found is None else 200, missing if found is None else found)

        def _body(self) -> bytes:
            if "Content-Length" in self.headers:
                return self.rfile.read(int(self.headers["Content-Length"]))
            body = b""
            while size := int(self.rfile.readline(), 16):  # in chunks
                body += self.rfile.read(size)
                self.rfile.readline()
            return body

        def _send(self, status: int, told: dict[str, Any]) -> None:
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *told: object) -> None:
            pass

    with listening(Routes) as address:
        yield address
