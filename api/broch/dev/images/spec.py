"""What images there are: `workspaces/images/images.toml` as types."""

from __future__ import annotations

import platform
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

FOLDER = Path("workspaces/images")
"""Where everything about images lies, in a checkout."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
PackageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Kinds of processor by the kernel's name and by Debian's, which is OCI's too."""


class UnknownImage(ValueError):
    """An image was asked for that is not in `images.toml`."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Debian(_Model):
    """The layer below all others."""

    suite: Name
    packages: tuple[PackageName, ...]


class Environment(_Model):
    """One Python environment at `/opt/venv`, from the lock of its name."""

    on: Name | None = None
    """The environment that this one adds to; a layer of its own then."""
    project: bool = False
    """With what the services need: `dependencies` of pyproject.toml."""
    extras: tuple[Name, ...] = ()
    """With these extras of pyproject.toml."""
    requirements: tuple[str, ...] = ()


class Image(_Model):
    """One image."""

    title: str
    contents: Literal["services", "scanner", "notebook"]
    """What of ours lies in its last layer."""
    packages: tuple[PackageName, ...] = ()
    """Debian packages beside those of the layer below all others."""
    environment: Name | None = None
    login: Name = "researcher"
    """Name of account 1000, which everything runs as."""
    home: str = "/home/researcher"
    entrypoint: tuple[str, ...] = ("/opt/venv/bin/python", "-I", "/opt/broch/lab.py")
    volumes: tuple[str, ...] = ()


class Images(_Model):
    """All of `images.toml`."""

    epoch: int = Field(gt=0)
    debian: Debian
    environments: dict[Name, Environment]
    images: dict[Name, Image]

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        named = [image.environment for image in self.images.values()]
        named += [environment.on for environment in self.environments.values()]
        for name in named:
            if name is not None:
                self.stack(name)
        return self

    def stack(self, environment: str) -> tuple[str, ...]:
        """Return an environment after all that it adds to, the lowest first.

        Raises:
            ValueError: one of them is not there, or they go round in a circle.
        """
        found: list[str] = []
        name: str | None = environment
        while name is not None:
            if name in found or name not in self.environments:
                raise ValueError(f"the environment {name} stands on itself or is not there")
            found.append(name)
            name = self.environments[name].on
        return tuple(reversed(found))

    def chosen(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of images to build: those asked for.

        Raises:
            UnknownImage: one of them is not there.
        """
        unknown = [name for name in names if name not in self.images]
        if unknown:
            raise UnknownImage(
                f"no such image: {', '.join(unknown)} (here are: {', '.join(sorted(self.images))})"
            )
        return tuple(dict.fromkeys(names))


def load(root: Path) -> Images:
    """Read the images of a checkout."""
    return Images.model_validate(tomllib.loads((root / FOLDER / "images.toml").read_text()))


def lock_of(root: Path, environment: str) -> Path:
    """Return the lock file of an environment."""
    return root / FOLDER / "locks" / f"{environment}.lock"


def architecture() -> str:
    """Return Debian's name of this machine's processor; images are made for the machine that makes them."""
    return MACHINES[platform.machine()]
