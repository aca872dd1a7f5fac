"""curate label: a page on a loopback port, or the terminal, on which a person says which triplets are good."""

from __future__ import annotations

import sys
from pathlib import Path

from curate.steer.label_server import LabelServer
from curate.steer.label_terminal import label_in_terminal
from curate.steer.labelling import Labelling


def label_run(run: Path, *, port: int, terminal: bool) -> None:
    """Label until stopped; every label is saved at once and the next call goes on."""
    session = Labelling(run)
    if terminal:
        label_in_terminal(session)
    else:
        _serve(session, port)
    state = session.state()
    print(f"{state['good'] + state['bad']} of {state['total']} labelled ({state['good']} good, {state['bad']} bad) in "
          f"{session.file.path}", file=sys.stderr)


def _serve(session: Labelling, port: int) -> None:
    with LabelServer(session, port) as server:
        print(f"label at {server.url} (Ctrl-C ends; on another machine: ssh -L {server.server_port}:127.0.0.1:"
              f"{server.server_port} HOST, or --terminal)", file=sys.stderr, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print(file=sys.stderr)
