"""Go's texts and Go's reading: JSON, base64, paths, patterns, templates, SDK errors."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sandbox.actors.eso import NotReproducible, gojson, patterns, sdkerrors, templates
from agent.sandbox.actors.eso.decoding import CorruptInput, decode
from agent.sandbox.actors.eso.errors import ProviderError
from agent.sandbox.actors.eso.properties import property_of

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ('{"a":1', "unexpected end of JSON input"),
        ("fake", "invalid character 'k' in literal false (expecting 'l')"),
        ("password", "invalid character 'p' looking for beginning of value"),
        ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
        ("{'a':1}", "invalid character '\\'' looking for beginning of object key string"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("01", "invalid character '1' after top-level value"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1ex", "invalid character 'x' in exponent of numeric literal"),
        ('"\n"', "invalid character '\\n' in string literal"),
        ('"\\x"', "invalid character 'x' in string escape code"),
        ('"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
    ],
)
def test_json_errors_are_gos(text: str, error: str) -> None:
    """What is no JSON is reported in the words of Go's scanner."""
    with pytest.raises(gojson.GoJsonError) as caught:
        gojson.check(text)
    assert str(caught.value) == error


@given(json_values)
def test_all_json_is_accepted_and_indented_to_the_same_value(value: object) -> None:
    """Every JSON text passes the check, and its indented form means the same."""
    text = json.dumps(value)
    gojson.check(text)
    assert gojson.indented(text) is not None
    assert json.loads(gojson.indented(text) or "") == value


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \\\n', max_size=12))
def test_the_check_agrees_with_another_parser(text: str) -> None:
    """No text is taken for JSON, or for none, against the judgement of the standard library."""
    try:
        gojson.check(text)
        ours = True
    except gojson.GoJsonError:
        ours = False
    try:
        json.loads(text)
        theirs = True
    except ValueError:
        theirs = False
    assert ours is theirs


@given(st.binary(max_size=64))
def test_base64_decodes_what_was_encoded(value: bytes) -> None:
    """Both alphabets decode, with line ends anywhere."""
    assert decode("Base64", base64.b64encode(value)) == value
    assert decode("Base64URL", base64.urlsafe_b64encode(value)) == value
    assert decode("Base64", base64.encodebytes(value).replace(b"\n", b"\r\n")) == value


@pytest.mark.parametrize(
    ("text", "at"),
    [(b"fake value!", 4), (b"ZmFrZS12YWx1ZQ", 12), (b"A", 0), (b"=", 0), (b"AA=", 3), (b"AA==x", 4), (b"AA=x", 2),
     (b"AAA=AAAA", 4), (b"-_-_", 0)],
)  # fmt: skip
def test_base64_errors_name_gos_byte(text: bytes, at: int) -> None:
    """What is no base64 is reported at the byte that Go names."""
    with pytest.raises(CorruptInput, match=f"illegal base64 data at input byte {at}$"):
        decode("Base64", text)


def test_base64_accepts_trailing_bits_and_auto_decodes_words() -> None:
    """Non-zero trailing bits pass, and Auto takes an innocent word for base64."""
    assert decode("Base64", b"ZmFrZR==") == b"fake"
    assert decode("Auto", b"password") == base64.b64decode("password")
    assert decode("Auto", b"not base64!") == b"not base64!"


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ('{"a":{"b":[10,{"c":"x"}]}}', "a.b.1.c", b"x"),
        ('{"a":1,"a":2}', "a", b"1"),
        ('{"a":"x","a":{"b":"y"}}', "a.b", b"y"),
        ('{"a":1e400}', "a", b"+Inf"),
        ('{"a":123456789012345678901234567890}', "a", b"123456789012345678901234567890"),
        ('{"tls.crt":"x"}', "tls.crt", b"x"),
        ('{"l":[1,2,3]}', "l.#", b"3"),
    ],
)
def test_plain_property_paths(document: str, path: str, expected: bytes) -> None:
    """Plain paths lead where gjson goes: first of equal keys, numbers re-formatted, big integers kept."""
    assert property_of(document, path, "key") == expected


@pytest.mark.parametrize(
    ("document", "path"),
    [('{"a":{"b":1}}', p) for p in ("*", "a.*", "a|b", "@this", "a.#.b", "a?", "{a}", "a.@keys", ".a", "a.", "!x")]
    + [('{"a":1,}', "a"), ('x {"a":1}', "a"), ('"{"', "a"), ('{"a":{}}', "a.#"), ('{"":1}', "a..b")],
)  # fmt: skip
def test_doubtful_properties_are_refused(document: str, path: str) -> None:
    """Wildcards, queries, modifiers and lenient documents are refused, or else absent; never guessed."""
    with pytest.raises((NotReproducible, ProviderError)):
        property_of(document, path, "key")


@pytest.mark.parametrize("pattern", ["(?!x)a", "a**", "[[:alpha:]]", r"\pL", r"a\z", "(", "a++", "a{,3}", "(?s)x"])
def test_regexps_that_could_differ_are_refused(pattern: str) -> None:
    """A pattern that Go might read differently, or not at all, is refused."""
    with pytest.raises(NotReproducible):
        patterns.compiled(pattern)


@pytest.mark.parametrize(
    "template",
    ["{{ .a | upper }}", "{{- .a }}", "{{ .a.b }}", "{{ $x }}", "{{", "{{/* c */}}", "{{ if .a }}x{{ end }}"],
)
def test_templates_with_more_than_fields_are_refused(template: str) -> None:
    """Functions, control flow, trimming and comments are refused."""
    with pytest.raises(NotReproducible):
        templates.check({"x": template})


def test_a_missing_field_is_reported_with_line_and_byte() -> None:
    """The error names the line from 1 and the byte in it from 0, as Go does."""
    with pytest.raises(templates.TemplateError, match=r'template: x:2:7: executing "x" at <.no>: map has no entry'):
        templates.rendered({"x": "one\ngr\u00fc {{.no}}"}, {})


ANSWER = sdkerrors.Answer(
    "GET",
    "https://prod-kv.vault.azure.net/secrets/k/",
    403,
    "Forbidden",
    '{"error":{"code":"Forbidden","message":"No <\\"x\\">","innererror":{"code":"ForbiddenByRbac"}}}',
)


def test_the_new_sdks_error_text() -> None:
    """The new SDK reports request, status, code and the indented body between rules."""
    rule = "-" * 80
    assert sdkerrors.new_sdk(ANSWER) == (
        f"GET https://prod-kv.vault.azure.net/secrets/k/\n{rule}\nRESPONSE 403: 403 Forbidden\nERROR CODE: Forbidden\n"
        f'{rule}\n{{\n  "error": {{\n    "code": "Forbidden",\n    "message": "No <\\"x\\">",\n    "innererror": {{\n'
        f'      "code": "ForbiddenByRbac"\n    }}\n  }}\n}}\n{rule}\n'
    )


def test_the_legacy_sdks_error_text() -> None:
    """The legacy SDK reports everything in one line, the inner error as JSON."""
    assert sdkerrors.legacy_sdk("GetSecret", ANSWER) == (
        "keyvault.BaseClient#GetSecret: Failure responding to request: StatusCode=403 -- Original Error: "
        'autorest/azure: Service returned an error. Status=403 Code="Forbidden" Message="No <\\"x\\">" '
        'InnerError={"code":"ForbiddenByRbac"}'
    )


def test_an_answer_without_a_body_or_without_json_is_reported_as_it_is() -> None:
    """No body and no JSON are said or shown as they came."""
    empty = sdkerrors.Answer("GET", "https://x/", 500, "Internal Server Error", "")
    page = sdkerrors.Answer("GET", "https://x/", 502, "Bad Gateway", "<html>")
    assert "ERROR CODE UNAVAILABLE" in sdkerrors.new_sdk(empty)
    assert "Response contained no body" in sdkerrors.new_sdk(empty)
    assert "\n<html>\n" in sdkerrors.new_sdk(page)
