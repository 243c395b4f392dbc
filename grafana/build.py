"""Writes the dashboards: the JSON that Grafana imports, and the copies that kustomize and the chart install.

python -m grafana.build                      # writes them
python -m grafana.build --check              # exit 1 if they are not what would be written
python -m grafana.build --runbooks URL       # with links to your own place
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.dashboards import DASHBOARDS
from k8s.monitoring.build import RUNBOOKS

_ROOT = Path(__file__).parents[1]
COPIES = tuple(_ROOT / place for place in ("k8s/components/dashboards", "k8s/chart/files/dashboards"))
"""Neither kustomize nor helm reads a file outside its own folder: so each has a copy. It is without spaces, since what
kubectl applies is kept in an annotation of 256 KiB at most."""


def files(runbooks: str = RUNBOOKS) -> dict[Path, str]:
    """Each file with what belongs in it."""
    wanted: dict[Path, str] = {}
    for name, make in DASHBOARDS.items():
        made = make(runbooks)
        wanted[_ROOT / "grafana" / f"{name}.json"] = JSONEncoder(indent=2, ensure_ascii=False).encode(made) + "\n"
        small = JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode(made) + "\n"
        wanted.update({place / f"{name}.json": small for place in COPIES})
    return wanted


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description="Makes the dashboards.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if something would change")
    parser.add_argument("--runbooks", default=RUNBOOKS, metavar="URL", help=f"default: {RUNBOOKS}")
    arguments = parser.parse_args()
    made = files(arguments.runbooks)
    old = {path: text for path, text in made.items() if not path.exists() or path.read_text() != text}
    for path, text in old.items():
        if arguments.check:
            sys.stderr.write(f"{path.relative_to(_ROOT)} is not what the code makes: run make monitoring\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if arguments.check and old else 0


if __name__ == "__main__":
    sys.exit(main())
