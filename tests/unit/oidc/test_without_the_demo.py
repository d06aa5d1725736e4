"""Images for clusters have no demo: sign-in works where its package is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

API = Path(__file__).parents[3] / "api"
_SEEN = """
from broch_api.signin.assembly import HAS_DEMO, make_services, routers
from broch_api.signin.ways import SignInWay
from support.worlds import make_world
from pathlib import Path
import sys, tempfile
with tempfile.TemporaryDirectory() as name:
    world = make_world(Path(name))
    way = make_services(world.store, world.sessions, demo=True, oidc=None)[SignInWay]
paths = sorted(route.path for router in routers() for route in router.api.routes if "POST" in route.methods)
print(HAS_DEMO, type(way).__name__, *paths, *(name for name in sys.modules if "signin.demo" in name))
"""


def seen(*before: Path) -> str:
    path = os.pathsep.join(map(str, [*before, API.parent / "tests"]))
    done = subprocess.run(
        [sys.executable, "-c", _SEEN],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_the_demo_nobody_can_sign_in_to_it_even_if_settings_ask_for_it(tmp_path: Path) -> None:
    shutil.copytree(
        API / "broch_api", tmp_path / "broch_api", ignore=shutil.ignore_patterns("demo", "__pycache__")
    )
    without = seen(tmp_path)
    assert without == "False OidcSignIn /sign-in /sign-in/back-channel-logout /sign-out /theme"
    assert seen().startswith("True DemoSignIn /api/v1/sessions /sign-in ")
