"""Pictures of the dashboards, with the data of a real Prometheus that watched the real agent while stories were played.

PYTHONPATH=tests python -m support.preview DIRECTORY     # one picture for each dashboard
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from PIL import Image
from support.dashboards import NAMES, dashboard, filled
from support.drawing import Page, Series
from support.stories import CLUSTER, PAYMENTS, Part, Played, played

_COLOURS = 128
"""A palette of so many keeps a picture small."""
_RATE = "5s"


def draw(name: str, seen: Played, directory: Path) -> Path:
    """One dashboard."""
    part = seen.running if name.endswith("cronjob") else seen.following
    chosen = {"cluster": CLUSTER, "__rate_interval": _RATE}
    if name.endswith("team"):
        chosen["namespace"] = PAYMENTS

    def asked(expr: str) -> list[Series]:
        coarse = "_bucket" in expr and "histogram_quantile" not in expr
        return seen.values(filled(expr, chosen), part, 2.0 if coarse else 0.5)

    found = dashboard(name)
    path = directory / f"{name}.png"
    Page(found, asked, _notes(name, seen, part, chosen), part.begin, part.end).save(str(path))
    with Image.open(path) as image:
        image.convert("RGB").quantize(_COLOURS).save(path, optimize=True)
    return path


def _notes(name: str, seen: Played, part: Part, chosen: dict[str, str]) -> list[tuple[float, str]]:
    """When each annotation began."""
    noted = []
    for each in dashboard(name)["annotations"]["list"]:
        expr = re.sub(r"\[1m\]", "[2s]", filled(each["target"]["expr"], chosen))
        for _, values in seen.values(expr, part):
            last = 0.0
            for at, _ in values:
                if at - last > 1:
                    noted.append((at, each["iconColor"]))
                last = at
    return noted


def main(directory: Path) -> None:
    """Play, and draw."""
    directory.mkdir(parents=True, exist_ok=True)
    with played() as seen:
        for name in NAMES:
            path = draw(name, seen, directory)
            print(f"{path}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
