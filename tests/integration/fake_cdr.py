"""Stands in for the `cdr` command under `cdr up`: each role only lives, and the receiver says that it is ready."""

from __future__ import annotations

import http.server
import os
import signal
import sys
import threading


class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class SharedPort(http.server.ThreadingHTTPServer):
    allow_reuse_port = True


def main() -> None:
    role = sys.argv[1]
    sys.stdout.write(f"{role} started\n")
    if role == os.environ.get("FAKE_FAILING_ROLE"):
        sys.exit(f"{role} has a wrong setting")
    if role == "migrate":
        sys.exit(0)
    if role == "receiver":
        server = SharedPort((os.environ["CDR_HOST"], int(os.environ["CDR_PORT"])), Ready)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
