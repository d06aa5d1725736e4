"""`python -m broch.dev`: what `./broch test`, `lint`, `bench`, `lock` and `images` run."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from broch.dev import bench, images, layers, lint, lock
from broch.dev.environment import SetUpFailed, say

ROOT = Path(__file__).resolve().parents[3]
"""The checkout."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./broch")
    commands = parser.add_subparsers(dest="command", required=True)

    test = commands.add_parser(
        "test",
        help="run the tests",
        epilog="What follows -- goes to pytest. As root on Debian, missing system packages are installed.",
    )
    test.add_argument(
        "layers",
        nargs="*",
        metavar="LAYER",
        help="lint, unit, integration, browser or cluster; all that exist if none is named",
    )
    test.add_argument("--nightly", action="store_true", help="try expensive properties many more times")
    test.add_argument("-k", metavar="EXPRESSION", help="only tests whose names match, as for pytest")

    judge = commands.add_parser("lint", help="format, rules, types, layers, locks")
    judge.add_argument("--fix", action="store_true", help="first let ruff mend what it can")

    measure = commands.add_parser("bench", help="measure")
    measure.add_argument("names", nargs="*", metavar="NAME", help="benchmarks; all if none is named")
    measure.add_argument("--json", action="store_true", help="one JSON object a line")
    measure.add_argument("--strict", action="store_true", help="exit with 1 if a goal is missed")

    pin = commands.add_parser("lock", help="make the locks anew from pyproject.toml")
    pin.add_argument(
        "--upgrade", nargs="*", metavar="NAME", help="take the newest versions, of NAMEs or of everything"
    )

    make = commands.add_parser("images", help="make container images").add_subparsers(required=True)
    built = make.add_parser("build", help="build images as OCI layouts, without a container engine")
    built.add_argument(
        "names", nargs="*", metavar="NAME", help=f"images; {' '.join(images.USUAL)} if none is named"
    )
    built.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the layouts (default: dist/images)"
    )
    built.add_argument(
        "--fresh", action="store_true", help="use nothing made before: the newest Debian packages"
    )
    return parser


def _dispatch(options: argparse.Namespace, pytest_arguments: Sequence[str]) -> int:
    match options.command:
        case "test":
            chosen = ["-k", options.k] if options.k else []
            return layers.run(ROOT, options.layers, [*chosen, *pytest_arguments], nightly=options.nightly)
        case "lint":
            if options.fix:
                lint.fix(ROOT)
            return 1 if lint.run(ROOT) else 0
        case "bench":
            return bench.run(ROOT / "benchmarks", options.names, as_json=options.json, strict=options.strict)
        case "images":
            images.build(options.names or images.USUAL, options.out, root=ROOT, fresh=options.fresh)
            return 0
        case _:
            upgrade = None if options.upgrade is None else tuple(options.upgrade)
            return lock.make(ROOT, upgrade=upgrade) or images.lock(ROOT, upgrade=upgrade)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one developer's command; return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options = _parser().parse_args(arguments[:cut])
    rest = arguments[cut + 1 :]
    if rest and options.command != "test":
        sys.stderr.write("broch: only test takes arguments after --\n")
        return 2
    try:
        return _dispatch(options, rest)
    except (layers.UnknownLayer, bench.UnknownBenchmark) as problem:
        sys.stderr.write(f"broch: {problem}\n")
        return 2
    except images.UnknownImage as problem:
        say(str(problem))
        return 2
    except SetUpFailed as problem:
        say(str(problem))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
