"""The scan as Markdown, rendered by the renderer that GitHub uses."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from cmarkgfm import github_flavored_markdown_to_html
from cmarkgfm.cmark import Options
from hypothesis import given, settings
from hypothesis import strategies as st
from report_events import BACKEND, CHAIN, HOSTILE, NOW, finding, refusal

from agent.memory import Halt
from agent.model import Finding, Kind, Link, ObjectKey, Refusal, Step, WorkloadKey
from agent.report.markdown import MOST_BYTES, MOST_ROWS, prose, scan_markdown
from agent.report.words import escape

OURS = {
    "h3", "p", "strong", "code", "table", "thead", "tbody", "tr", "th", "td", "details", "summary",
}  # fmt: skip
ACTIVE = re.compile(r"(?i:@\w|#\d|\bgh-\d|:[\w+-]+:|://|\bwww\.|\$\S)|\b[0-9a-f]{7,40}\b")
"""What GitHub looks for in rendered text: a person, an issue, an emoji, an address, a formula, a commit."""
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

MARKUP = (
    "@octocat", "@org/team,", "(@octocat)", "'@octocat'", "@", "#1", "octo/repo#1", "GH-1", "gh-12.", "deadbeef",
    "6557ed856d96afd220348daa4bc72c5d", "http://evil.example/", "https://evil.example/?a=b", "<https://evil.example>",
    "www.evil.example", "me@evil.example", "mailto:me@evil.example", "ftp://e", "xmpp:a@e", "![x](http://e/x.png)",
    "[x](javascript:alert(1))", "[x]: http://e", "[x]", "![", "]", "[^1]", "<img src=x onerror=alert(1)>", "<script>",
    "</details>", "<!--", "<b>", "&lt;b&gt;", "&#64;octocat", "&commat;octocat", "**bold**", "__bold__", "*i*", "_i_",
    "~~s~~", "`code`", "``", "`", "```", "~~~", "a`b|c`d", "|", "\\|", "a\\|b", "\\\\|", "a\\", "\\", "| --- |", "---",
    "===", "# heading", "- [ ] task", "1. one", "> quote", "    code", "x  \n", ":tada:", ":x:,", "+1", "$x$", "$$x$$",
    "$`x`$",
)  # fmt: skip
TEXT = st.one_of(
    st.sampled_from((*HOSTILE, *MARKUP)),
    st.text(st.sampled_from("ab1 `|\\*_~[]()<>&#@!$:./-+=\"'\n\t\u00a0"), max_size=25),
    st.lists(st.sampled_from(MARKUP), max_size=4).map("".join),
    st.lists(st.sampled_from(MARKUP), max_size=4).map(" ".join),
    st.text(st.characters(exclude_categories=()), max_size=30),
)
FINDINGS = st.lists(
    st.builds(
        Finding, chain=st.builds(ObjectKey, TEXT, TEXT), link=st.sampled_from(Link), kind=st.sampled_from(Kind),
        since=st.floats(), evidence=TEXT, cause=TEXT, remedy=TEXT,
        workload=st.none() | st.builds(WorkloadKey, TEXT, TEXT, TEXT),
    ),
    max_size=9,
)  # fmt: skip
REFUSALS = st.lists(
    st.builds(
        Refusal, step=st.sampled_from(Step), reason=TEXT, detail=TEXT, until=st.none() | st.floats(),
        chain=st.sampled_from([None, CHAIN]), workload=st.sampled_from([None, BACKEND]),
    ),
    max_size=3,
)  # fmt: skip
HALTS = st.dictionaries(
    st.builds(WorkloadKey, TEXT, TEXT, TEXT),
    st.builds(Halt, reason=TEXT, detail=TEXT, at=st.floats(), remedy=TEXT),
    max_size=2,
)
NOT_READ = st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=2)

DENIED = finding(
    kind=Kind.SYNC_FAILED, cause="access-denied", evidence="the vault answers 403", remedy="grant the right get"
)
OLD_PODS = finding(link=Link.CONTAINER, kind=Kind.STALE_POD, workload=BACKEND, evidence="backend-1 is old")


class Page(HTMLParser):
    """What a reader sees: the tags, the cells of each row, and the text that is not code."""

    def __init__(self, markdown: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, int]] = []
        self.rows: list[list[str]] = []
        self.loose: list[str] = []
        self._open: list[str] = []
        # HTML of the page itself is shown, as GitHub shows it: so is whatever a hostile text could put there.
        self.feed(github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, len(attrs)))
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag != "code":
            self.loose.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data
        self.loose[-1:] = ["".join(self.loose[-1:]) + ("\0" if "code" in self._open else data)]

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", 0))

    def handle_decl(self, decl: str) -> None:
        self.tags.append(("declaration", 0))

    def handle_pi(self, data: str) -> None:
        self.tags.append(("instruction", 0))


def active(page: Page) -> list[str]:
    """What GitHub would make more of than text, outside of code."""
    return [text for loose in page.loose if ACTIVE.search(text := STAMP.sub("", loose))]


def seen(text: str, longest: int) -> str:
    """The text as it must be read: one line, spaces at the ends aside."""
    return escape(text, longest).replace("|", "\\x7c").replace("`", "\\x60").strip(" ")


@settings(max_examples=150, deadline=None)
@given(FINDINGS, REFUSALS, HALTS, NOT_READ, st.lists(TEXT, max_size=2))
def test_nothing_of_the_cluster_becomes_more_than_text_on_the_page(
    findings: list[Finding],
    refusals: list[Refusal],
    halts: dict[WorkloadKey, Halt],
    not_read: list[tuple[str, str, str]],
    notes: list[str],
) -> None:
    """Rendered, the page has our own tags without attributes, a row for each finding, and nobody is told or linked."""
    page = Page(scan_markdown(findings, refusals, NOW, halts=halts, not_read=not_read, notes=notes))

    assert {tag for tag, _ in page.tags} <= OURS
    assert [tag for tag, attributes in page.tags if attributes] == []
    assert active(page) == []
    sections = [row for row in page.rows if row[0] in ("What", "Workload")]
    assert len(page.rows) - len(sections) == len(findings) + len(halts) + len(not_read)
    assert {len(row) for row in page.rows} <= {3, 4, 5}
    shown = sorted(row[3] for row in page.rows if len(row) == 5 and row not in sections)
    assert shown == sorted(seen(f.evidence, 800) or "—" for f in findings)


@pytest.mark.parametrize("text", [*MARKUP, *HOSTILE])
@pytest.mark.parametrize("frame", ["| a |\n| --- |\n| {} |", "Note: {}"])
def test_each_piece_of_markup_is_shown_as_it_is_written(text: str, frame: str) -> None:
    """In a cell and in a paragraph: what was there can be read, and does nothing."""
    page = Page(frame.format(prose(text)))
    assert {tag for tag, _ in page.tags} <= OURS
    assert active(page) == []
    assert "".join(page.loose).count("\0") <= len(text.split(" ")) + 1


def test_the_page_says_what_where_since_when_why_and_what_is_next() -> None:
    """The verdict first, drift as a table, halts with what to do, and the rest below."""
    halt = Halt(reason="canary-failed", detail="pod backend-2 starts and fails", at=NOW - 60, remedy="go back")
    suspect = finding(link=Link.CONTAINER, kind=Kind.SUSPECT, evidence="started at the same time")

    shown = scan_markdown(
        [suspect, OLD_PODS, DENIED],
        [refusal()],
        NOW,
        halts={BACKEND: halt},
        not_read=[("pods", "forbidden: 403", "grant the right")],
        notes=["answers of a first look"],
    )

    assert shown.splitlines() == [
        "### Secret drift remains",
        "",
        "As of 2026-11-23T22:00:00Z: 2 drifts, 1 halt, 1 suspect, 0 unknown, 0 notes.",
        "",
        "Note: answers of a first look",
        "",
        "**Drift**",
        "",
        "| What | Where | Since | Why | Next |",
        "| --- | --- | --- | --- | --- |",
        "| ESO cannot sync (access-denied) | `klinematrix-test/app-secrets` | 2026-11-23T21:56:40Z (3 min 20 s) |"
        " the vault answers 403 | grant the right get |",
        "| containers run an old value | `klinematrix-test/app-secrets`, Deployment backend |"
        " 2026-11-23T21:56:40Z (3 min 20 s) | backend-1 is old |"
        " recycle refused (outside-window): outside the policy's windows; until 2026-11-23T23:00:00Z |",
        "",
        "**Halted**",
        "",
        "| Workload | Since | Why | What to do |",
        "| --- | --- | --- | --- |",
        "| Deployment `klinematrix-test/backend` | 2026-11-23T21:59:00Z (1 min) |"
        " canary-failed: pod backend-2 starts and fails | go back |",
        "",
        "**Not looked at**",
        "",
        "| What | Why | What to do |",
        "| --- | --- | --- |",
        "| pods | forbidden: 403 | grant the right |",
        "",
        "**Suspect: may run an old value, which cannot be proved**",
        "",
        "| What | Where | Since | Why | Next |",
        "| --- | --- | --- | --- | --- |",
        "| containers may run an old value | `klinematrix-test/app-secrets` | 2026-11-23T21:56:40Z (3 min 20 s) |"
        " started at the same time | — |",
    ]


def test_the_verdict_does_not_call_a_look_clean_that_saw_too_little() -> None:
    """No drift, no drift as far as could be seen, and drift are three different headings."""
    clean = scan_markdown([], [], NOW)
    blind = scan_markdown([], [], NOW, not_read=[("pods", "forbidden", "")])
    assert (
        clean
        == "### No secret drift\n\nAs of 2026-11-23T22:00:00Z: 0 drifts, 0 halts, 0 suspects, 0 unknown, 0 notes.\n"
    )
    assert blind.startswith("### No secret drift found, but not everything could be looked at\n")
    assert scan_markdown([], [], NOW, halts={BACKEND: Halt(reason="r", detail="d", at=NOW)}).startswith(
        "### Secret drift remains\n"
    )


def test_what_is_long_and_no_drift_is_folded() -> None:
    """Six suspects are behind a line that counts them; drift is never folded."""
    suspects = [finding(chain=ObjectKey("a", f"es-{n}"), kind=Kind.SUSPECT) for n in range(6)]
    drifts = [finding(chain=ObjectKey("a", f"es-{n}")) for n in range(20)]
    shown = scan_markdown([*suspects, *drifts], [], NOW)
    page = Page(shown)
    assert shown.count("<details>") == 1
    assert "<details><summary>Suspect: may run an old value, which cannot be proved (6)</summary>" in shown
    assert len(page.rows) == 1 + 20 + 1 + 6


def test_a_summary_is_never_larger_than_github_takes() -> None:
    """A table ends at its bound of rows and of bytes, and the page counts what it leaves out."""
    many = [finding(chain=ObjectKey("a", f"es-{n:04}"), evidence="short") for n in range(MOST_ROWS + 7)]
    assert "\n… and 7 more: `secret-drift-agent scan` shows all of them.\n" in scan_markdown(many, [], NOW)

    kinds = (Kind.STALE, Kind.SUSPECT, Kind.UNKNOWN, Kind.PINNED)
    huge = [
        finding(chain=ObjectKey("a", f"{kind}-{n:03}"), kind=kind, evidence="@漢 " * 600, remedy="@漢 " * 600)
        for kind in kinds
        for n in range(MOST_ROWS)
    ]
    halts = {
        WorkloadKey("a", "Deployment", f"w-{n}"): Halt(reason="r", detail="@漢 " * 600, at=NOW) for n in range(500)
    }
    shown = scan_markdown(huge, [], NOW, halts=halts, not_read=[("@漢 " * 600,) * 3] * 500)
    assert 5 * MOST_BYTES < len(shown.encode()) < 1 << 20
    assert shown.count("more: `secret-drift-agent scan` shows all of them.") == 6
