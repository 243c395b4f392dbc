"""The figures of the benchmark as a table in Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_ROWS: tuple[tuple[str, Callable[[dict[str, Any]], str], str], ...] = (
    ("ExternalSecrets / objects served", lambda f: f"{f['chains']:,} / {f['world']['objects']:,}", ""),
    ("bytes of one cycle", lambda f: f"{f['raw_bytes'] / 1e6:.0f} MB", ""),
    ("`once`, first time", lambda f: f"{f['first_seconds']:.2f} s", ""),
    ("`once`, steady world", lambda f: f"{f['steady_seconds']:.2f} s", ""),
    ("the same bytes raw", lambda f: f"{f['raw_seconds']:.2f} s", ""),
    ("`steady_ratio`", lambda f: f"{f['steady_ratio']:.2f}", "<= 2"),
    ("`peak_rss_mb`", lambda f: f"{f['peak_rss_mb']:.0f}", "<= 200"),
    ("- of `once`", lambda f: f"{f['once_rss_mb']:.0f}", ""),
    ("`idle_cpu_percent`", lambda f: _maybe(f, "idle_cpu_percent", ".2f"), "<= 1"),
    ("`idle_bytes_per_minute`", lambda f: _maybe(f, "idle_bytes_per_minute", ",.0f"), ""),
    ("API requests, first / steady", lambda f: f"{f['first_requests']['api']} / {f['steady_requests']['api']}", ""),
    ("of them writes", lambda f: f"{f['first_requests']['api_writes']} / {f['steady_requests']['api_writes']}", ""),
    ("vault requests, first / steady", lambda f: f"{f['first_requests']['vault']} / {f['steady_requests']['vault']}",
     "secrets / 25"),
    ("secrets / 25, rounded up for each vault", lambda f: str(f["vault_request_goal"]), ""),
    ("/healthz while it reads and judges all: half within",
     lambda f: _maybe(f, "healthz_p50_ms", ".0f", " ms"), ""),
    ("- 99 of 100 within", lambda f: _maybe(f, "healthz_p99_ms", ".0f", " ms"), "<= 50 ms"),
    ("- the longest wait", lambda f: _maybe(f, "healthz_max_ms", ".0f", " ms"), ""),
    ("`run` ready after", lambda f: _maybe(f, "run_start_seconds", ".1f", " s"), ""),
)  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """One column for each world that was measured."""
    sizes = [name for name in ("small", "full") if name in result]
    lines = [
        f"| | {' | '.join(sizes)} | goal |",
        f"|---|{'---|' * len(sizes)}---|",
        *(f"| {label} | {' | '.join(show(result[name]) for name in sizes)} | {goal} |" for label, show, goal in _ROWS),
        "",
        f"Importing the agent: {result['import_seconds']:.2f} s "
        f"({result['machine']['cores']} cores, Python {result['machine']['python']}).",
    ]
    if "scrape" in result:
        figures = result["scrape"]
        lines += [
            f"A scrape with {figures['drifts']:,} drifts: {figures['metrics_ms']:.0f} ms (goal 100),"
            f" {figures['metrics_bytes'] / 1e6:.2f} MB as Prometheus asks for it (goal 1), "
            f"{figures['metrics_bytes_plain'] / 1e6:.2f} MB in the clear;"
            f" {figures['metrics_ratio']:.2f} of what prometheus_client's own exposition takes."
        ]
    if "reaction" in result:
        legs = result["reaction"]
        lines += [
            f"Reaction to a rotation (interval {legs['interval_ms'] / 1000:g} s, settle "
            f"{legs['settle_ms'] / 1000:g} s): force-sync after {legs['rotated_to_force_sync_ms']:.0f} ms, "
            f"acknowledged {legs['force_sync_to_acknowledged_ms']:.0f} ms later, first eviction "
            f"{legs['settle_end_to_first_eviction_ms']:.0f} ms after the end of `settle`, all containers fresh after "
            f"{legs['rotated_to_all_fresh_ms'] / 1000:.1f} s."
        ]
    return "\n".join(lines)


def _maybe(figures: dict[str, Any], name: str, form: str, unit: str = "") -> str:
    return f"{figures[name]:{form}}{unit}" if name in figures else "-"
