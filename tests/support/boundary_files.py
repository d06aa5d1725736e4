"""What a malicious researcher puts in the home folder: a server's configuration, a Lab extension, a notebook, HTML, a PDF."""

from __future__ import annotations

import json

import nbformat

from support import boundary_probes as probes
from support.boundary_probes import Ports

SERVER_CONFIG = """
# Jupyter runs this file in its server: one that answers whatever it is asked to.
from jupyter_server.serverapp import ServerApp
from tornado.web import RequestHandler

class Own(RequestHandler):
    def get(self):
        given = {name: values[-1].decode() for name, values in self.request.query_arguments.items()}
        self.set_status(int(given.pop("status", "200")), "Any")
        self.set_header("Content-Type", "text/html")
        body = given.pop("body", "<!doctype html><title>own</title><body>own")
        for name, value in given.items():
            self.set_header(name, value)
        self.finish(body)

started = ServerApp.init_webapp

def init_webapp(self):
    started(self)
    self.web_app.add_handlers(".*", [(self.base_url + "own", Own)])

ServerApp.init_webapp = init_webapp
"""
EXTENSION = {
    "name": "own",
    "version": "1.0.0",
    "jupyterlab": {
        "extension": True,
        "_build": {"load": "static/remoteEntry.js", "extension": "./extension"},
    },
}
EXTENSION_CODE = """
const plugin = {id: 'own:plugin', autoStart: true, activate: app => { app.restored.then(() => { %s; }); }};
(window._JUPYTERLAB ??= {}).own = {init: () => {}, get: () => Promise.resolve(() => ({__esModule: true, default: [plugin]}))};
"""


def pdf(link: str) -> bytes:
    """Return a page that is one link, opened by itself too."""
    action = f"<< /S /URI /URI ({link}) >>"
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R /OpenAction {action} >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Annots [4 0 R] >>",
        f"<< /Type /Annot /Subtype /Link /Rect [0 0 600 800] /A {action} >>",
    ]
    made, places = "%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    count = len(objects) + 1
    return (
        f"{made}xref\n0 {count}\n0000000000 65535 f \n{table}trailer << /Size {count} /Root 1 0 R >>\n"
        f"startxref\n{len(made)}\n%%EOF\n"
    ).encode()


def files(ports: Ports) -> dict[str, bytes]:
    """Return the files by path below the home folder."""
    output = "\n".join(probes.markup("output").values())
    by_widget = probes.by_event(probes.script(probes.SCRIPTS, "widget", ports))
    cells = [
        nbformat.v4.new_code_cell(
            "from IPython.display import HTML, Javascript, display\n"
            f"display(HTML({output!r}), Javascript({probes.script(probes.SCRIPTS, 'output', ports)!r}))"
        ),
        nbformat.v4.new_code_cell(f"import ipywidgets\nipywidgets.HTML({by_widget!r})"),
        nbformat.v4.new_markdown_cell(
            "\n\n".join(probes.markup("markdown", probes.IN_MARKDOWN).values())
            + f"\n\n[go](http://{probes.address('click', 'markdown')}/) "
            f"[gone](http://{probes.address('click-ctrl', 'markdown')}/)"
        ),
    ]
    book = nbformat.v4.new_notebook(
        cells=cells,
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    preview = (
        "<!doctype html><body>"
        + "\n".join(probes.markup("preview").values())
        + f"<script>{probes.script(probes.SCRIPTS, 'trusted', ports)}</script>"
    )
    lab = ".local/share/jupyter/labextensions/own"
    return {
        ".jupyter/jupyter_server_config.py": SERVER_CONFIG.encode(),
        f"{lab}/package.json": json.dumps(EXTENSION).encode(),
        f"{lab}/static/remoteEntry.js": (
            EXTENSION_CODE % probes.script(probes.SCRIPTS, "extension", ports)
        ).encode(),
        "probes.ipynb": nbformat.writes(book).encode(),
        "preview.html": preview.encode(),
        "paper.pdf": pdf(f"http://{probes.address('click', 'pdf')}/"),
    }
