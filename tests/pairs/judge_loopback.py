"""A small server that speaks the OpenAI protocol on the loopback, with all kinds of manners."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What the server says to one request."""

    text: str | None = "A"
    status: int = 200
    delay_s: float = 0.0
    refusal: str | None = None
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def better(question: str) -> str:
    """The verdict of an honest judge: the longer response is better."""
    a, b = (_between(question, name) for name in ("response_a", "response_b"))
    return "C" if len(a) == len(b) else "A" if len(a) > len(b) else "B"


def _between(text: str, name: str) -> str:
    return text.partition(f"<{name}>\n")[2].partition(f"\n</{name}>")[0]


class Loopback:
    """The server with its log; `manners(question, number)` decides each reply."""

    def __init__(self, manners: Callable[[str, int], Reply]) -> None:
        self.questions: list[str] = []
        self.keys: list[str] = []
        self.times: list[float] = []
        log, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                asked = json.loads(self.rfile.read(size))
                question = asked["messages"][-1]["content"]
                with lock:
                    log.questions.append(question)
                    log.keys.append(self.headers["Authorization"])
                    log.times.append(time.monotonic())
                    number = len(log.questions)
                reply = manners(question, number)
                time.sleep(reply.delay_s)
                # A client that has waited long enough is gone.
                with suppress(BrokenPipeError, ConnectionResetError):
                    self._send(reply, asked["model"])

            def _send(self, reply: Reply, model: str) -> None:
                content = (reply.body or json.dumps(_body(reply, model))).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "Loopback":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _body(reply: Reply, model: str) -> dict[str, Any]:
    if reply.status != 200:
        return {"error": {"message": f"status {reply.status}", "type": "error"}}
    message = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102},
    }
