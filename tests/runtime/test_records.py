import json
from dataclasses import dataclass, field

import pytest

from reid_aug.runtime.errors import UserError
from reid_aug.runtime.records import Table, build, read_table


@dataclass(frozen=True)
class Inner:
    steps: int = 1

    def __post_init__(self):
        if self.steps < 1:
            raise UserError(f"steps must be 1 or more, got {self.steps}")


@dataclass(frozen=True)
class Outer:
    keep: float = 1.0
    inner: Inner = field(default_factory=Inner)


TABLE = Table(
    {"t": "a", "i": 3, "f": 0.5, "b": True, "n": None, "l": [1, 2], "d": {"e": 7}, "s": [{"x": 1}]},
    "a.json",
)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda t: t.text("i"), "i must be text, got 3"),
        (lambda t: t.text("t", ("b", "c")), "t must be one of b, c, got 'a'"),
        (lambda t: t.text("x"), "x must be text, got no such key"),
        (lambda t: t.whole("f"), "f must be a whole number, got 0.5"),
        (lambda t: t.whole("b"), "b must be a whole number, got True"),
        (lambda t: t.whole("i", 4), "i must be a whole number of at least 4, got 3"),
        (lambda t: t.whole("i", 0, 2), "i must be a whole number in [0, 2], got 3"),
        (lambda t: t.number("i", 0, 2), "i must be a finite number in [0, 2], got 3"),
        (lambda t: t.fraction("i"), "i must be a fraction in [0, 1], got 3"),
        (lambda t: t.truth("i"), "i must be true or false, got 3"),
        (lambda t: t.table("i"), "i must be a table, got 3"),
        (lambda t: t.table("d").text("e"), "d.e must be text, got 7"),
        (lambda t: t.tables("l"), "l must be a list of tables, got [1, 2]"),
        (lambda t: t.tables("s")[0].text("x"), "s[0].x must be text, got 1"),
        (
            lambda t: t.entries("l", "texts", lambda v: v == ""),
            "l must be texts, got [1, 2]",
        ),
        (lambda t: t.nullable_text("x"), "x must be text, got no such key"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named(read, message):
    with pytest.raises(UserError) as caught:
        read(TABLE)

    assert str(caught.value).startswith(f"a.json: {message}")
    assert str(caught.value).endswith("; remove the file")


def test_values_that_keep_their_rules_are_read():
    table = TABLE
    assert (table.text("t"), table.whole("i", 3, 3), table.fraction("f"), table.truth("b")) == (
        "a", 3, 0.5, True,
    )  # fmt: skip
    assert (table.nullable_text("n"), table.optional_count("x"), table.table("d").whole("e")) == (
        None, None, 7,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"must be a result, got \[\]; remove the file$"),
        ("{}", r"format must be r/1 \(a result\), got no such key; remove the file$"),
        ('{"format": ["r/1"]}', r"format must be r/1 \(a result\), got \['r/1'\]"),
        ("{", r"must be a result, got no JSON that can be read: .*; remove the file$"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)

    with pytest.raises(UserError, match=message):
        read_table(tmp_path / "a.json", "a result", format_="r/1")


def test_a_config_is_built_from_a_table():
    table = json.loads('{"keep": 1, "inner": {"steps": 4}}')

    assert build(Outer, table, "a.toml") == Outer(1.0, Inner(4))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kepe": 1}, "a.toml: unknown key 'kepe'; did you mean keep?"),
        ({"keep": "1"}, "a.toml: keep must be of type float, got '1'"),
        ({"inner": 3}, "a.toml: inner must be a table, got 3"),
        ({"inner": {"steps": True}}, "a.toml: inner: steps must be of type int, got True"),
        ({"inner": {"steps": 0}}, "a.toml: inner: steps must be 1 or more, got 0"),
    ],
)
def test_a_wrong_key_of_a_config_is_named(table, message):
    with pytest.raises(UserError) as caught:
        build(Outer, table, "a.toml")

    assert str(caught.value).endswith(message)
