"""What layers of tests need done that takes minutes the first time. It is done while other layers run already."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from broch.dev import images
from broch.dev.environment import SetUpFailed, say

PREPARED = "BROCH_TEST_PREPARED"
"""Environment variable: the folder where it is told how a preparation ended."""
SECONDS = 3000
"""How long tests wait for it: machines of two cores that run other tests meanwhile need some 25 minutes."""


def build_test_bed(root: Path) -> str:
    """Build the programs of the cluster that tests make; return what went wrong."""
    if os.environ.get("BROCH_TEST_KUBECONFIG"):
        return ""
    script = root / "tests" / "cluster" / "testbed" / "testbed"
    # Where the machine has no Go it comes as a wheel, by a pip that works: the system's Python may have none.
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(
        [script, "build"], env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
    )
    return f"{script.name} build ended with {done.returncode}; the reason is above" if done.returncode else ""


def build_images(root: Path) -> str:
    """Build the images that tests start on the cluster; return what went wrong."""
    began = time.monotonic()
    try:
        images.build(root=root)
    except (SetUpFailed, OSError) as problem:
        return f"no images: {problem}"
    say(f"images ready in {time.monotonic() - began:.0f} s")
    return ""


def prepare_cluster(root: Path) -> str:
    """Do what the layer `cluster` needs done before the time of its tests runs; return what went wrong."""
    return build_test_bed(root) or build_images(root)


PREPARATIONS: Mapping[str, Callable[[Path], str]] = {"cluster": prepare_cluster}
"""What a layer needs done that takes minutes the first time; answers what went wrong, or the empty string."""


@contextmanager
def beside(root: Path, layers: Sequence[str]) -> Iterator[Path]:
    """Prepare `layers` beside what the caller does; give the folder for `PREPARED`."""
    with TemporaryDirectory(prefix="broch-prepared-") as folder, ThreadPoolExecutor(max_workers=1) as worker:
        for layer in layers:
            if layer in PREPARATIONS:
                worker.submit(_prepare, layer, root, Path(folder))
        yield Path(folder)


def _prepare(layer: str, root: Path, folder: Path) -> None:
    wrong = "it was not prepared"
    try:
        wrong = PREPARATIONS[layer](root)
    except Exception as error:
        wrong = f"preparing it failed: {error!r}"
        raise
    finally:
        part = folder / f"{layer}.part"
        part.write_text(json.dumps(wrong))
        part.replace(folder / f"{layer}.json")


def wait_for(layer: str, seconds: float = SECONDS) -> str:
    """Wait until a layer is prepared; return what went wrong. Nobody prepares where pytest was called by hand."""
    if not (folder := os.environ.get(PREPARED)):
        return ""
    told = Path(folder, f"{layer}.json")
    end = time.monotonic() + seconds
    while not told.exists():
        if time.monotonic() > end:
            return f"it was not prepared within {seconds:.0f} s"
        time.sleep(0.5)
    return str(json.loads(told.read_text()))
