"""Loading a policy: what is accepted, and how every mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import policy
from agent.policy import PolicyError, loads

HEAD = "apiVersion: secret-drift-agent/v1\nkind: HealPolicy\n"


def mistakes(text: str) -> list[str]:
    """The lines an operator would see for this text."""
    with pytest.raises(PolicyError) as caught:
        loads(text, "p.yaml")
    return [str(problem) for problem in caught.value.problems]


def only(body: str) -> str:
    """The single mistake in a policy whose first two lines are right."""
    (line,) = mistakes(HEAD + body)
    return line


def test_default_observes_and_lists_no_vault() -> None:
    """Out of the box the agent is in observe mode, and no vault may be looked at."""
    default = policy.default()
    assert (default.mode, default.vaults, default.sync, default.recycle) == ("observe", (), (), ())
    assert default.paused(0) is None


def test_first_matching_rule_wins() -> None:
    """Of two rules that hold for a namespace, the upper one is used; a namespace without a rule has none."""
    loaded = loads(
        HEAD
        + """
mode: heal
vaults: [{name: Prod-KV, namespaces: ["payments-*", legacy]}]
sync:
  - {namespaces: [legacy], steps: [recreate, force-sync], patience: 1m30s}
  - {namespaces: ["leg*", "p?"], steps: []}
recycle: [{namespaces: ["payments-*"], settle: 0s}]
""",
        "p.yaml",
    )
    legacy, other = loaded.sync_rule("legacy"), loaded.sync_rule("legal")
    assert legacy is not None
    assert (legacy.steps, legacy.patience) == (("force-sync", "recreate"), 90.0)
    assert other is not None
    assert other.steps == ()
    assert loaded.sync_rule("pqr") is None
    assert loaded.recycle_rule("payments-eu") is loaded.recycle[0]
    assert loaded.recycle_rule("payments") is None


def test_vault_is_found_by_name_or_host_for_its_namespaces_only() -> None:
    """A rule lets one vault of one cloud be looked at, for the namespaces it lists and no others."""
    loaded = loads(HEAD + "vaults: [{name: Prod-KV, namespaces: [a]}]", "p.yaml")
    rule = loaded.vaults[0]
    assert rule.host == "prod-kv.vault.azure.net"
    assert loaded.vault_rule("prod-kv", "a") is rule
    assert loaded.vault_rule("PROD-KV.vault.azure.net", "a") is rule
    assert loaded.vault_rule("prod-kv.vault.azure.cn", "a") is None
    assert loaded.vault_rule("prod-kv.vault.azure.net.evil.example", "a") is None
    assert loaded.vault_rule("prod-kv", "b") is None
    assert loaded.model_copy(update={"vaults": ()}).vault_rule("prod-kv", "a") is None


def test_s36_policy_with_ten_mistakes_names_each_once() -> None:
    """Ten mistakes of ten kinds are all told at once, each with its line, its column and what was expected."""
    text = """\
apiVersion: secret-drift-agent/v1
kind: HealPolice
mode: heel
interval: 60
vaults:
  - {name: prod-kv, namespaces: ["payments-*"], evidence: values}
sync:
  - {namespaces: ["*"], steps: [recreate]}
  - {namespaces: [legacy], steps: [force-sync]}
recycle:
  - namespaces: ["a[b]"]
    settel: 15s
    windows: [{from: "22:00", to: "4:00", timeZone: Europe/Brlin}]
limits: {attempts: 3, attempts: 4}
"""
    assert mistakes(text) == [
        "p.yaml:2:7: kind: expected HealPolicy; found 'HealPolice' - did you mean HealPolicy?",
        "p.yaml:3:7: mode: expected one of observe, heal; found 'heel' - did you mean heal?",
        "p.yaml:4:11: interval: expected a duration with its unit, such as 15s; found the number 60: "
        "write 60s if seconds are meant",
        "p.yaml:6:59: vaults[0].evidence: evidence: values is not in this version yet; use hashes",
        "p.yaml:8:32: sync[0].steps: recreate needs force-sync, which proves first that ESO can read everything: "
        "list both",
        "p.yaml:9:18: sync[1].namespaces: this rule is never reached: sync[0], above it, already matches all of its "
        "namespaces; expected the narrower rule first",
        "p.yaml:11:18: recycle[0].namespaces[0]: only * and ? are special in a namespace pattern, [ is not supported; "
        "found 'a[b]'",
        "p.yaml:12:5: recycle[0].settel: unknown key - did you mean settle?; expected one of namespaces, settle, "
        "suspect, volumes, windows, brokenPods, gap, barePods, canary",
        'p.yaml:13:35: recycle[0].windows[0].to: expected a time of day as "HH:MM", such as "22:00"; found \'4:00\'',
        "p.yaml:13:53: recycle[0].windows[0].timeZone: expected the name of a time zone, such as Europe/Berlin or UTC; "
        "found 'Europe/Brlin'",
        "p.yaml:14:23: limits.attempts: given twice; the first is at line 14, column 10",
    ]


CASES = {
    "a bare number is no duration": (
        "interval: 90",
        "3:11: interval: expected a duration with its unit, such as 15s; found the number 90: write 90s if",
    ),
    "text is no duration": ("interval: soon", "3:11: interval: expected a duration such as 15s"),
    "a duration of nothing": ('interval: ""', "3:11: interval: expected a duration such as 15s"),
    "units in the wrong order": ("interval: 30s1m", "3:11: interval: expected a duration such as 15s"),
    "a list is no duration": (
        "interval: [1]",
        "3:11: interval: expected a duration with its unit, such as 15s; found a list",
    ),
    "a negative duration": ("interval: -5s", "3:11: interval: expected a duration such as 15s"),
    "an interval that never waits": ("interval: 0s", "3:11: interval: expected at least 0.1; found"),
    "a century": ("report: {expiryHorizon: 36500d}", "3:25: report.expiryHorizon: expected at most 3650d"),
    "true is no count": ("limits: {attempts: true}", "3:20: limits.attempts: expected a whole number; found true"),
    "text is no count": ('limits: {attempts: "3"}', "3:20: limits.attempts: expected a whole number; found '3'"),
    "a count of none": ("limits: {attempts: 0}", "3:20: limits.attempts: expected at least 1; found the number 0"),
    "above a hundred percent": (
        "limits: {disruptivePercent: 101}",
        "3:29: limits.disruptivePercent: expected at most 100; found the number 101",
    ),
    "a section that is a list": ("limits: [1]", "3:9: limits: expected a mapping of keys to values; found a list"),
    "a section that is text": ("limits: none", "3:9: limits: expected a mapping of keys to values; found 'none'"),
    "an empty section": ("limits:", "3:1: limits: has no value; give one, or leave the key out"),
    "rules that are a mapping": ("sync: {a: 1}", "3:7: sync: expected a list, such as [a, b]; found a mapping"),
    "a rule that is text": ("sync: [a]", "3:8: sync[0]: expected a mapping of keys to values; found 'a'"),
    "namespaces as text": (
        "sync: [{namespaces: legacy, steps: []}]",
        "3:21: sync[0].namespaces: expected a list, such as [a, b]; found 'legacy'",
    ),
    "no namespaces": (
        "sync: [{namespaces: [], steps: []}]",
        "3:21: sync[0].namespaces: expected at least one entry; found an empty list",
    ),
    "a number for a namespace": (
        "sync: [{namespaces: [5], steps: []}]",
        "3:22: sync[0].namespaces[0]: expected text; numbers and true or false need quotes",
    ),
    "a namespace in capitals": (
        "sync: [{namespaces: [Legacy], steps: []}]",
        "3:22: sync[0].namespaces[0]: expected a namespace of at most 63 of a-z, 0-9 and -",
    ),
    "steps left out": ("sync: [{namespaces: [a]}]", "3:8: sync[0].steps: is missing; expected: "),
    "a step twice": (
        "sync: [{namespaces: [a], steps: [force-sync, force-sync]}]",
        "3:33: sync[0].steps: each step once; found one twice",
    ),
    "a step that is no step": (
        "sync: [{namespaces: [a], steps: [force_sync]}]",
        "3:34: sync[0].steps[0]: expected one of force-sync, recreate; found 'force_sync' - did you mean force-sync?",
    ),
    "evidence by metadata": (
        "vaults: [{name: kv-a, namespaces: [a], evidence: metadata}]",
        "3:50: vaults[0].evidence: evidence: metadata is not in this version yet; use hashes",
    ),
    "evidence by guess": (
        "vaults: [{name: kv-a, namespaces: [a], evidence: guess}]",
        "3:50: vaults[0].evidence: expected hashes; found 'guess'",
    ),
    "a vault by its host": (
        "vaults: [{name: kv-a.vault.azure.net, namespaces: [a]}]",
        "3:17: vaults[0].name: expected the name alone, such as prod-kv, and the cloud's domain in suffix",
    ),
    "a vault with a name none can have": (
        "vaults: [{name: 1kv, namespaces: [a]}]",
        "3:17: vaults[0].name: expected the name of a vault: 3 to 24 letters",
    ),
    "a vault in a foreign domain": (
        "vaults: [{name: kv-a, suffix: evil.example, namespaces: [a]}]",
        "3:31: vaults[0].suffix: expected one of vault.azure.net",
    ),
    "one vault with two budgets": (
        "vaults: [{name: kv-a, namespaces: [a]}, {name: KV-A, namespaces: [b], requestsPerSecond: 5}]",
        "3:90: vaults[1].requestsPerSecond: a vault has one budget: expected 20.0, as in vaults[0]; found 5",
    ),
    "a key in Python's spelling": ("limits: {syncs_in_flight: 1}", "3:10: limits.syncs_in_flight: unknown key - did"),
    "a key with odd characters": ('"a\\nb": 1', "3:1: 'a\\nb': unknown key; expected one of apiVersion"),
    "a merge key": ("limits: &a {attempts: 3}\nreport: {<<: *a}", "4:10: report.'<<': unknown key; expected one of"),
    "a backoff that shrinks": (
        "timing: {retryBackoff: 2h}",
        "3:9: timing.retryBackoffMax: expected at least retryBackoff",
    ),
    "a pause without a reason": ("pause: {}", "3:8: pause.reason: is missing; expected: Why"),
    "a pause with an empty reason": ('pause: {reason: " "}', "3:17: pause.reason: expected a reason; found empty text"),
    "a pause of nothing": ("pause:", "3:1: pause: has no value"),
    "an end without a zone": (
        "pause: {reason: x, until: 2026-12-01T00:00:00}",
        "3:27: pause.until: expected a date and time with its zone, such as 2026-12-01T00:00:00Z; found",
    ),
    "an end on no day": ("pause: {reason: x, until: 2026-02-30T00:00:00Z}", "3:27: pause.until: expected a date"),
    "a log canary that asks nothing": (
        "recycle: [{namespaces: [a], canary: {log: {within: 5s}}}]",
        "3:43: recycle[0].canary.log: expected success, failure or both; found neither",
    ),
    "a dangerous expression": (
        'recycle: [{namespaces: [a], canary: {log: {success: "(a+)+$"}}}]',
        "3:53: recycle[0].canary.log.success: a repeat of a group that itself repeats",
    ),
    "a window without a zone": (
        'recycle: [{namespaces: [a], windows: [{from: "22:00", to: "04:00"}]}]',
        "3:39: recycle[0].windows[0].timeZone: is missing; expected: IANA name of the time zone",
    ),
    "a window on no known day": (
        "recycle: [{namespaces: [a], windows: [{days: [Tus], from: 22:00, to: 04:00, timeZone: UTC}]}]",
        "3:47: recycle[0].windows[0].days[0]: expected one of Mon, Tue, Wed, Thu, Fri, Sat, Sun; found 'Tus'",
    ),
    "a zone that is a path": (
        "recycle: [{namespaces: [a], windows: [{from: 22:00, to: 04:00, timeZone: ../../etc/passwd}]}]",
        "3:74: recycle[0].windows[0].timeZone: expected the name of a time zone",
    ),
    "a tag": ("mode: !!python/name:os.system x", "3:7: policy: tags such as"),
    "an alias of nothing": ("mode: *x", "3:7: policy: no complete value before this is marked &x"),
    "an anchor inside itself": ("sync: &x [*x]", "3:11: policy: no complete value before this is marked &x"),
    "two documents": ("---\nmode: heal", "3:1: policy: expected one document; a second one begins here"),
    "a control character": ("mode: he\x07al", "3:9: policy: this character is not allowed in YAML: '\\x07'"),
    "a list as key": ("? [a]\n: 1", "3:3: policy: expected a key; found a list"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_mistake_is_told_in_one_plain_line(case: str) -> None:
    """A policy with one mistake gets one line, at the place of the mistake, that says what was expected."""
    body, expected = CASES[case]
    line = only(body)
    assert line.startswith(f"p.yaml:{expected}"), line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "p.yaml:1:1: policy: the file is empty: expected a policy that begins with apiVersion and kind"),
        (
            "# nothing\n",
            "p.yaml:1:1: policy: the file is empty: expected a policy that begins with apiVersion and kind",
        ),
        ("- a", "p.yaml:1:1: policy: expected a mapping that begins with apiVersion and kind; found a list"),
        ("heal", "p.yaml:1:1: policy: expected a mapping that begins with apiVersion and kind; found a single value"),
        (
            "73524108",
            "p.yaml:1:1: policy: expected a mapping that begins with apiVersion and kind; found a single value",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmode: hunter2\ndata: {hunter2: hunter2}",
            "p.yaml:1:1: policy: this is no policy, so nothing of it is shown;"
            " a policy has apiVersion: secret-drift-agent/v1 and kind: HealPolicy",
        ),
    ],
)
def test_text_that_is_no_policy_at_all(text: str, expected: str) -> None:
    """What is no policy is refused as a whole, with what a policy begins with: it may be a token, or a Secret."""
    assert mistakes(text) == [expected]


def test_format_must_be_said() -> None:
    """A file that does not say which format it is in is refused, even where everything else is right."""
    assert mistakes("mode: heal") == [
        "p.yaml:1:1: apiVersion: is missing; expected: apiVersion: secret-drift-agent/v1",
        "p.yaml:1:1: kind: is missing; expected: kind: HealPolicy",
    ]


def test_syntax_error_has_its_place() -> None:
    """Broken YAML is told with the line and column where reading ended."""
    (line,) = mistakes(HEAD + "sync: [{namespaces: [a}]")
    assert line.startswith("p.yaml:3:")
    assert "this is no valid YAML" in line


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "a: " + "{a: " * 5000,
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12)),
        "- \n" * 200_000,
    ],
    ids=["deep lists", "deep mappings", "billion laughs", "endless list"],
)
def test_hostile_yaml_is_refused_in_bounded_work(text: str) -> None:
    """Nesting, aliases and length have limits: beyond them there is one line, never a crash."""
    (line,) = mistakes(text)
    assert "expected at most" in line or "more than a policy can hold" in line


def test_sound_aliases_are_allowed() -> None:
    """An anchor may be used to write a list of namespaces once."""
    loaded = loads(
        HEAD
        + """
sync: [{namespaces: &mine [a, b], steps: [force-sync]}]
recycle: [{namespaces: *mine}]
""",
        "p.yaml",
    )
    assert loaded.recycle[0].namespaces == ("a", "b")


def test_scalars_mean_what_they_look_like() -> None:
    """An unquoted 22:00 is a time and a namespace called `no` or `on` is a name, whatever YAML 1.1 made of them."""
    loaded = loads(
        HEAD
        + """
sync: [{namespaces: [no, on, y], steps: []}]
recycle: [{namespaces: [a], windows: [{from: 22:00, to: 04:00, timeZone: UTC}]}]
pause: {reason: x, until: 2026-12-01T01:00:00+01:00}
""",
        "p.yaml",
    )
    assert loaded.sync[0].namespaces == ("no", "on", "y")
    assert (loaded.recycle[0].windows[0].opens, loaded.recycle[0].windows[0].closes) == ("22:00", "04:00")
    assert loaded.pause is not None
    assert loaded.pause.until == 1_796_083_200.0


def test_pause_ends_at_its_time() -> None:
    """A pause holds while it is present, and with an end only until then."""
    text = HEAD + "pause: {reason: migration, until: 2026-12-01T00:00:00Z}"
    pause = loads(text, "p.yaml").paused(1_796_083_199.9)
    assert pause is not None
    assert pause.reason == "migration"
    assert loads(text, "p.yaml").paused(1_796_083_200.0) is None
    assert loads(HEAD + "pause: {reason: migration}", "p.yaml").paused(9e9) is not None


def test_rule_covered_by_several_earlier_ones_is_an_error() -> None:
    """Rules that only together match all of a later one make it unreachable, too, and all of them are named."""
    line = only(
        """sync:
  - {namespaces: ["a*"], steps: []}
  - {namespaces: [b], steps: []}
  - {namespaces: [b, "ab?"], steps: []}
"""
    )
    assert line.startswith("p.yaml:6:18: sync[2].namespaces: this rule is never reached: sync[0] and sync[1], above it")


def test_rules_for_different_vaults_do_not_hide_each_other() -> None:
    """A vault listed for all namespaces leaves the other vaults' rules reachable, but not its own later ones."""
    loads(HEAD + 'vaults: [{name: kv-a, namespaces: ["*"]}, {name: kv-b, namespaces: [a]}]', "p.yaml")
    line = only('vaults: [{name: kv-a, namespaces: ["*"]}, {name: KV-A, namespaces: [a]}]')
    assert "vaults[1].namespaces: this rule is never reached: vaults[0]" in line


def test_unreadable_files_are_told_like_mistakes(tmp_path: Path) -> None:
    """A file that is absent, is a directory, is too large or is no UTF-8 gets one line with its name."""
    large, binary = tmp_path / "large.yaml", tmp_path / "binary.yaml"
    large.write_bytes(b"#" * (1024 * 1024 + 1))
    binary.write_bytes(b"mode: heal\nab\xff")
    expected = {
        tmp_path / "absent.yaml": "1:1: policy: cannot be read: No such file or directory",
        tmp_path: "1:1: policy: cannot be read: Is a directory",
        large: "1:1: policy: expected at most 1048576 bytes; the file is larger",
        binary: "2:3: policy: expected UTF-8 text; this byte is not",
    }
    for path, line in expected.items():
        with pytest.raises(PolicyError) as caught:
            policy.load(path)
        assert str(caught.value) == f"{path}:{line}"


def test_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """A policy saved by an editor that begins files with a byte order mark loads like any other."""
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.encode())
    assert policy.load(path) == policy.default()


def test_digest_follows_the_content_alone() -> None:
    """Comments, order and spelled-out defaults do not change a policy's digest; a value does, also in a copy."""
    plain = loads(HEAD, "p.yaml")
    same = loads("# said otherwise\nkind: HealPolicy\nmode: observe\ninterval: 60s\n" + HEAD.splitlines()[0], "q.yaml")
    other = loads(HEAD + "interval: 61s", "p.yaml")
    assert plain.digest == same.digest
    assert plain == same
    assert len({plain.digest, other.digest, plain.model_copy(update={"interval": 61.5}).digest}) == 3


WORDS = st.sampled_from(
    [
        "mode",
        "sync",
        "recycle",
        "vaults",
        "namespaces",
        "steps",
        "windows",
        "days",
        "limits",
        "pause",
        "canary",
        "log",
        "heal",
        "15s",
        "1",
        "0.5",
        "true",
        "~",
        "22:00",
        "a*",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "- ",
        "\n",
        "  ",
        "*",
        "&a ",
        "*a",
        "!!int ",
        '"',
        "'",
        ">",
        "?",
        "---",
        "#",
        "\x00",
        "\u2028",
        "é",
        "😀",
        "%",
        "@",
        "\t",
    ]
)


def told(text: str) -> tuple[policy.Problem, ...]:
    """The mistakes in this text; none where it is a policy."""
    try:
        loads(text, "p.yaml")
    except PolicyError as error:
        return error.problems
    return ()


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(WORDS, max_size=40).map("".join)))
def test_any_text_is_a_policy_or_a_list_of_mistakes(text: str) -> None:
    """Whatever is in the file, the answer is a policy, or mistakes with a place in the file and one line each."""
    for whole in (text, HEAD + text):
        lines = whole.count("\n") + whole.count("\r") + whole.count("\x85") + whole.count("\u2028") + 2
        for problem in told(whole):
            assert 1 <= problem.line <= lines
            assert problem.column >= 1
            assert "\n" not in problem.path + problem.message
    assert told(text), "a policy says its apiVersion first"
