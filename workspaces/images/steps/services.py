# ruff: noqa: INP001 (run by its path, inside images)
"""Put Broch's own packages into an environment: `services.py CHECKOUT SITE_PACKAGES BIN`. Standard library only.

Left out: the demo (its people sign in without a password) and the developer's tools.
"""

import os
import shutil
import sys
import tomllib
from pathlib import Path

LEFT_OUT = ("broch/demo", "broch/dev", "broch_api/signin/demo")
"""Folders that are in no image, as `package/folder`."""

_SCRIPT = """\
#!/opt/venv/bin/python -I
import sys
from {module} import {function}
sys.exit({function}())
"""


def packages(checkout: Path) -> list[Path]:
    """Return the folders of our packages, as pyproject.toml names them for the wheel."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())
    return [checkout / name for name in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]


def copy_package(package: Path, site: Path) -> None:
    """Copy one package without what is left out."""

    def without(folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(package.parent)
        return {
            name
            for name in names
            if name == "__pycache__" or name.endswith(".pyc") or (inside / name).as_posix() in LEFT_OUT
        }

    shutil.copytree(package, site / package.name, ignore=without, dirs_exist_ok=True)


def write_metadata(project: dict[str, object], site: Path) -> None:
    """Say what is installed, as an installer would (importlib.metadata, and whoever lists the image's packages)."""
    info = site / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    head = {"Metadata-Version": "2.4", "Name": project["name"], "Version": project["version"]}
    head |= {"Summary": project["description"], "License-Expression": project["license"]}
    (info / "METADATA").write_text("".join(f"{name}: {value}\n" for name, value in head.items()))
    (info / "INSTALLER").write_text("broch images\n")


def write_scripts(scripts: dict[str, str], folder: Path) -> None:
    """Write the commands."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in scripts.items():
        module, _, function = target.partition(":")
        script = folder / name
        script.write_text(_SCRIPT.format(module=module, function=function))
        script.chmod(0o755)


def main() -> None:
    """Fill the folders that the arguments name."""
    checkout, site, scripts = map(Path, sys.argv[1:])
    os.umask(0o022)
    site.mkdir(parents=True, exist_ok=True)
    for package in packages(checkout):
        copy_package(package, site)
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    write_metadata(project, site)
    write_scripts(project["scripts"], scripts)


if __name__ == "__main__":
    main()
