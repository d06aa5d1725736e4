"""Terraform or OpenTofu in tests: on copies of the modules, with the providers that are installed and no others."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broch.dev import terraform

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "terraform" / "modules"
NEED_PROVIDERS = ("versions.tf", "main.tf", "outputs.tf")
"""Files of the module `platform` that speak of resources; the others are a module of their own, without a provider."""
PLUGINS = "BROCH_TERRAFORM_PLUGINS"
"""Folder of installed providers, HOST/NAMESPACE/NAME/VERSION/SYSTEM below it."""


@dataclass(frozen=True)
class Terraform:
    """One program, kept from networks and from what this person has configured."""

    program: Path
    home: Path
    """Folder for its configuration."""

    def run(self, folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run it in a folder; `words` begin with the command."""
        configuration = self.home / "cli.tfrc"
        if not configuration.exists():
            (self.home / "mirror").mkdir(exist_ok=True)
            # Nothing is downloaded: what is not in the mirror is not there.
            configuration.write_text(
                f'provider_installation {{\n  filesystem_mirror {{\n    path = "{self.home}/mirror"\n  }}\n}}\n'
            )
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))}
        ended = subprocess.run(
            [self.program, *words, *(["-no-color"] if words[0] != "output" else [])],
            cwd=folder,
            env=kept
            | {"TF_CLI_CONFIG_FILE": str(configuration), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if check and ended.returncode:
            raise AssertionError(f"{self.program.name} {' '.join(words)} in {folder}:\n{ended.stdout}")
        return ended

    def outputs(self, folder: Path) -> dict[str, Any]:
        """Return what was put out by the last apply."""
        said = json.loads(self.run(folder, "output", "-json").stdout)
        return {name: one["value"] for name, one in said.items()}

    def offer(self, folder: Path, name: str) -> bool:
        """Put an installed provider of `hashicorp` into the mirror, under the host that this program asks."""
        found = installed(name)
        if not found:
            return False
        self.run(folder, "get")
        asked = self.run(folder, "providers").stdout
        host = re.search(rf"provider\[([^/\]]+)/hashicorp/{name}\]", asked)
        assert host, asked
        mirror = self.home / "mirror" / host[1] / "hashicorp" / name
        for one in found:
            # Only this last folder may be a link.
            there = mirror / one.parent.name / one.name
            there.parent.mkdir(parents=True, exist_ok=True)
            if not there.exists():
                there.symlink_to(one)
        return True


def ready(folder: Path) -> Terraform:
    """Return the program that `broch.dev.terraform` provides."""
    return Terraform(terraform.provide(), folder)


def installed(name: str) -> list[Path]:
    """Return the folders, one a version, of a provider of `hashicorp` that this machine has for its system."""
    processor = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    system = f"{platform.system().lower()}_{processor}"
    return [
        folder
        for place in _places()
        for folder in sorted(place.glob(f"*/hashicorp/{name}/*/{system}"))
        if any(folder.glob(f"terraform-provider-{name}*"))
    ]


def _places() -> list[Path]:
    """Return where providers lie: where one is told, what is configured, and where Terraform itself looks."""
    home = Path.home()
    configured = []
    for file in (os.environ.get("TF_CLI_CONFIG_FILE"), home / ".terraformrc", home / ".tofurc"):
        if file and Path(file).is_file():
            configured += re.findall(r'\bpath\s*=\s*"([^"]+)"', Path(file).read_text())
    told = [folder for folder in (os.environ.get(PLUGINS), os.environ.get("TF_PLUGIN_CACHE_DIR")) if folder]
    usual = [
        home / ".terraform.d/plugins",
        home / ".local/share/terraform/plugins",
        "/usr/local/share/terraform/plugins",
        "/usr/share/terraform/plugins",
        "/opt/tf-plugins",
    ]
    return [Path(place) for place in (*told, *configured, *usual)]


def copy(module: str, folder: Path) -> Path:
    """Copy a module; working files must not lie in the checkout."""
    target = folder / module
    shutil.copytree(MODULES / module, target, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    return target


def copy_values(folder: Path) -> Path:
    """Copy the part of the module `platform` that needs no provider, with its tests."""
    target = copy("platform", folder)
    for name in NEED_PROVIDERS:
        (target / name).unlink()
    for test in (target / "tests").iterdir():
        lines = test.read_text().splitlines(keepends=True)
        test.write_text("".join(line for line in lines if not line.startswith("mock_provider ")))
    (target / "values_out.tf").write_text('output "values" {\n  value = yamlencode(local.values)\n}\n')
    return target
