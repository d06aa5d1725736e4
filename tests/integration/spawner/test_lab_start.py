"""What the start of JupyterLab's server loads: a person waits for it."""

import json
import subprocess
import sys
from pathlib import Path

LAB = Path(__file__).parents[3] / "spawner/broch_spawner/inside/lab.py"
CODE = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("lab", sys.argv[1])
lab = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lab)
if LIGHTEN:
    lab.lighten()
from jupyter_server import serverapp
from jupyterhub.singleuser import main
loaded = sorted({"lark", "alembic", "jupyterhub.handlers.base"} & set(sys.modules))
from jupyterhub import orm
print(json.dumps([loaded, orm.User.__tablename__]))
"""


def start(*, lighten):
    """Import what the server imports, as lab.py does, in a process of its own."""
    code = CODE.replace("LIGHTEN", repr(lighten))
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(LAB)], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def test_the_server_loads_no_grammar_and_no_database_but_could():
    assert start(lighten=True) == [[], "users"]


def test_without_lightening_it_would_load_them():
    loaded, table = start(lighten=False)
    assert loaded == ["alembic", "jupyterhub.handlers.base", "lark"]
    assert table == "users"
