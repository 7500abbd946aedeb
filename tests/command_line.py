"""Commands of reid-aug, run in this process."""

from click.testing import CliRunner, Result

from reid_aug.cli import main


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def run(*words: object) -> Result:
    result = call(*words)
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result


def refused(*words: object) -> str:
    """The sentence of a command that must be refused."""
    result = call(*words)
    assert result.exit_code == 2, (words, result.output, result.exception)
    return result.stderr.splitlines()[-1]
