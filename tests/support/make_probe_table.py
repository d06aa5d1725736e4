"""Write docs/probes-kernel.md anew: `PYTHONPATH=tests .venv/bin/python -m support.make_probe_table`."""

from pathlib import Path

from support.kernel_bombs import BOMBS
from support.kernel_probes import PLACES, PROBES

TITLES = {
    "files": "Data and imports",
    "network": "Packets and sockets",
    "others": "What belongs to others",
    "kernel": "The kernel's own doors",
}
HEAD = """# What a kernel of a workspace may try

The list behind `tests/integration/boundary_kernel`; this page is written from it (`python -m support.make_probe_table`).
Each attack runs in a workspace that is made by the code that makes workspaces, and once more where nothing stands in
its way, the *control*. It counts only when it goes through there. *Becomes of it* is what the workspace answers; `lost`
means sent, and seen by no listener.
"""


def table():
    """Return the text of the page."""
    text = HEAD
    for group, title in TITLES.items():
        text += f"\n## {title}\n\n| attempt | becomes of it | control: goes through in |\n|---|---|---|\n"
        for probe in PROBES:
            if probe.group == group:
                name = probe.name + (f" ({probe.machine})" if probe.machine else "")
                text += f"| {name} | {', '.join(probe.refused)} | {PLACES[probe.control]} |\n"
    text += "\n## Bombs\n\nWhile each runs, a neighbour workspace answers a small request within the bound that the test holds.\n"
    text += "\n| attempt | what bounds it | control: without that |\n|---|---|---|\n"
    for bomb in BOMBS:
        text += f"| {bomb.name} | {bomb.bounded_by} | {bomb.control} |\n"
    return text


if __name__ == "__main__":
    (Path(__file__).parents[2] / "docs" / "probes-kernel.md").write_text(table())
