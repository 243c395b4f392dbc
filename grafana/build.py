"""Writes the dashboards: the JSON that Grafana imports, and the copies that kustomize and the chart install.

python -m grafana.build                      # writes them
python -m grafana.build --check              # exit 1 if they are not what would be written
python -m grafana.build --runbooks URL       # with links to your own place
"""

from __future__ import annotations

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.dashboards import DASHBOARDS
from k8s.monitoring.build import RUNBOOKS, main

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


if __name__ == "__main__":
    sys.exit(main("the dashboards", files))
