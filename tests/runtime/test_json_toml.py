import pytest

from reid_aug.runtime.errors import Remedy, UserError
from reid_aug.runtime.json_toml import DEEPEST, parse_json, parse_toml, read_json

REFUSED = {
    "[1": "must be JSON, got Expecting ',' delimiter: line 1",
    "[NaN]": "[0] must be a finite number, got nan",
    "-Infinity": "a value must be a finite number, got -inf",
    '{"a": {"b": [1, 1e999]}}': "a.b[1] must be a finite number, got inf",
    "9" * 30: "a value must be an integer of 64 bits, got a larger one",
    "9" * 5000: "a value must be an integer of 64 bits, got a larger one",
    '{"a": -9223372036854775809}': "a must be an integer of 64 bits, got a larger one",
    r'["\ud800"]': r"[0] must be text in UTF-8 without NUL, got '\ud800'",
    r'{"a\u0000": 1}': r"a key of the table must be text in UTF-8 without NUL, got 'a\x00'",
    "[" * 100_000: "must have at most 64 levels of nesting, got more",
    "[" * 66 + "]" * 66: "must have at most 64 levels of nesting, got more",
    '{"a":' * 900 + "1" + "}" * 900: "must have at most 64 levels of nesting, got more",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:12])
def test_json_that_code_could_not_handle_is_refused(text):
    with pytest.raises(UserError) as caught:
        parse_json(text, "a.json")

    assert str(caught.value).startswith(f"a.json: {REFUSED[text]}")


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
        ("a = ", "must be TOML, got Invalid value"),
        ("[a]\nb = nan", "a.b must be a finite number, got nan"),
        ("a = " + "9" * 5000, "a value must be an integer of 64 bits"),
        ("a = " + "[" * 5000 + "]" * 5000, "must have at most 64 levels of nesting"),
        (".".join("a" * 100) + " = 1", "must have at most 64 levels of nesting"),
        ("\n" + ".".join("a" * 100_000) + " = 1", "line 2 must have at most 256 dots"),
        ("#" * 300_000, "must have at most 262144 characters, got 300000"),
    ],
    ids=lambda text: text[:20],
)
def test_toml_that_code_could_not_handle_is_refused(text, found):
    with pytest.raises(UserError) as caught:
        parse_toml(text, "a.toml")

    assert str(caught.value).startswith(f"a.toml: {found}")


def test_toml_is_read():
    assert parse_toml("a.b = [1, 0.5]\n[c]\nd = 'e'", "") == {"a": {"b": [1, 0.5]}, "c": {"d": "e"}}
