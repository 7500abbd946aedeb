import pytest

from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.json_toml import DEEPEST, parse_json, parse_toml, read_json

REFUSED = {
    "[1": "Expecting ',' delimiter: line 1",
    "[NaN]": "nan, which is not a finite number",
    "[-Infinity]": "-inf, which is not a finite number",
    "[1e999]": "inf, which is not a finite number",
    "9" * 30: "an integer beyond 64 bits",
    "9" * 5000: "an integer beyond 64 bits",
    '{"a": -9223372036854775809}': "an integer beyond 64 bits",
    r'["\ud800"]': r"text that is not UTF-8, '\\ud800'",
    r'{"a\u0000": 1}': r"text with a NUL character, 'a\\x00'",
    "[" * 100_000: f"nesting deeper than {DEEPEST}",
    "[" * (DEEPEST + 2) + "]" * (DEEPEST + 2): f"nesting deeper than {DEEPEST}",
    '{"a":' * 900 + "1" + "}" * 900: f"nesting deeper than {DEEPEST}",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:12])
def test_json_that_code_could_not_handle_is_refused(text):
    with pytest.raises(UserError, match=rf"^a.json: must be JSON, got .*{REFUSED[text]}"):
        parse_json(text, "a.json")


def test_json_at_the_limits_is_read():
    text = "[" * DEEPEST + '9223372036854775807, -9223372036854775808, 1e308, "é"' + "]" * DEEPEST
    innermost = parse_json(text, "a.json")
    while isinstance(innermost[0], list):
        innermost = innermost[0]

    assert innermost == [2**63 - 1, -(2**63), 1e308, "é"]
    assert parse_json('{"a": [2, 2.5, "é", null, true]}', "") == {"a": [2, 2.5, "é", None, True]}


def test_the_message_names_the_kind_of_the_file_and_the_remedy(tmp_path):
    (tmp_path / "a.json").write_text("{")

    with pytest.raises(UserError, match=r"a.json: must be a result, got no JSON that can be read: "
                       r"Expecting .*; remove the file$"):  # fmt: skip
        read_json(tmp_path / "a.json", "a result", "remove the file")
    with pytest.raises(UserError, match=r"b.json is missing; make it with: reid-aug demo$"):
        read_json(tmp_path / "b.json", remedy=Remedy(("demo",)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a = ", "Invalid value"),
        ("a = nan", "nan, which is not a finite number"),
        ("a = " + "9" * 5000, "an integer beyond 64 bits"),
        ("a = " + "[" * 5000 + "]" * 5000, "nesting deeper"),
        (".".join("a" * 100) + " = 1", "nesting deeper"),
        ("\n" + ".".join("a" * 100_000) + " = 1", "more than 256 dots in line 2"),
        ("#" * 300_000, "a text of 300000 characters, more than 262144"),
    ],
    ids=lambda text: text[:20],
)
def test_toml_that_code_could_not_handle_is_refused(text, found):
    with pytest.raises(UserError, match=rf"^a.toml: must be TOML, got .*{found}"):
        parse_toml(text, "a.toml")


def test_toml_is_read():
    assert parse_toml("a.b = [1, 0.5]\n[c]\nd = 'e'", "") == {"a": {"b": [1, 0.5]}, "c": {"d": "e"}}
