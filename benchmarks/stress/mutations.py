"""What happens to a file: damage of bytes, of text, of JSON, and other things under its name."""

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

ODD = (
    "null", "true", "-1", "0", "1e999", "-1e999", "NaN", "Infinity", "1e308", "9" * 30, "9" * 5000,
    "9223372036854775808", "-9223372036854775809", "2147483648", "0.5", "[]", "{}", '""', "[[]]",
    r'"\ud800"', r'"\u0000"', '"../../x"', '"' + "a" * 100_000 + '"', "[" * 2000 + "]" * 2000,
    '{"a":' * 300 + "1" + "}" * 300,
)  # fmt: skip
NUMBER = re.compile(rb"-?\d+\.?\d*")
Mutation = Callable[[Path, random.Random], None]


def flipped(path: Path, rng: random.Random) -> None:
    """Flip single bits anywhere."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def flipped_near_the_start(path: Path, rng: random.Random) -> None:
    """Replace bytes of the head."""
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 4))):
        if content:
            content[rng.randrange(min(len(content), 4096))] = rng.randrange(256)
    path.write_bytes(content)


def cut(path: Path, rng: random.Random) -> None:
    """Cut the file off."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


def inserted(path: Path, rng: random.Random) -> None:
    """Insert random bytes."""
    content = path.read_bytes()
    place = rng.randrange(len(content) + 1)
    more = rng.randbytes(rng.choice((1, 7, 300)))
    path.write_bytes(content[:place] + more + content[place:])


def doubled(path: Path, rng: random.Random) -> None:
    """Repeat a piece."""
    content = path.read_bytes()
    start = rng.randrange(len(content) + 1)
    stop = min(len(content), start + rng.randrange(1, 2000))
    path.write_bytes(content[:stop] + content[start:])


def removed(path: Path, rng: random.Random) -> None:
    """Remove a piece."""
    content = path.read_bytes()
    start = rng.randrange(len(content) + 1)
    path.write_bytes(content[:start] + content[start + rng.randrange(1, 200) :])


def other_number(path: Path, rng: random.Random) -> None:
    """Replace a number by another value."""
    content = path.read_bytes()
    places = list(NUMBER.finditer(content[:200_000]))
    if places:
        one = rng.choice(places)
        odd = rng.choice(ODD).encode()
        content = content[: one.start()] + odd + content[one.end() :]
    path.write_bytes(content)


def edited(path: Path, rng: random.Random) -> None:
    """Edit a value, or remove or rename a key, in JSON or in the metadata of safetensors."""
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        _edit_metadata(path, content, rng)
        return
    try:
        value = json.loads(content)
    except ValueError:
        other_number(path, rng)
        return
    path.write_text(_edited(value, rng), encoding="utf-8")


def _edit_metadata(path: Path, content: bytes, rng: random.Random) -> None:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    about = header.get("__metadata__", {})
    if about:
        key = rng.choice(sorted(about))
        try:
            about[key] = _edited(json.loads(about[key]), rng)
        except ValueError:
            about[key] = rng.choice(ODD)
        if rng.random() < 0.2:
            del about[key]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def _edited(value: Any, rng: random.Random) -> str:
    """The JSON text of a value with one change at a random place."""
    marker = "<here>"
    holder = {"": value}
    places = _places(holder)
    container, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.2 and container is not holder:
        del container[key]
        return json.dumps(value)
    if kind < 0.3 and isinstance(container, dict) and container is not holder:
        container[f"{key}x"] = container.pop(key)
        return json.dumps(value)
    container[key] = marker
    return json.dumps(holder[""]).replace(json.dumps(marker), rng.choice(ODD))


def _places(value: Any) -> list[tuple[Any, Any]]:
    found, waiting = [], [value]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one))
        for key in keys:
            found.append((one, key))
            if isinstance(one[key], (dict, list)):
                waiting.append(one[key])
    return found


def a_pipe(path: Path, rng: random.Random) -> None:
    """Put a named pipe there."""
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path, rng: random.Random) -> None:
    """Put a folder there."""
    path.unlink()
    path.mkdir()


def a_device(path: Path, rng: random.Random) -> None:
    """Put a link to a device there."""
    path.unlink()
    path.symlink_to(rng.choice(("/dev/zero", "/dev/urandom", "/dev/null", "/dev/stdin")))


def a_loop(path: Path, rng: random.Random) -> None:
    """Put a link to itself there."""
    path.unlink()
    path.symlink_to(path.name)


def sparse(path: Path, rng: random.Random) -> None:
    """Make the file very long, without content."""
    with path.open("r+b") as file:
        file.truncate(rng.choice((2**33, 2**38)))


def empty(path: Path, rng: random.Random) -> None:
    """Empty the file."""
    path.write_bytes(b"")


def other_file(path: Path, rng: random.Random) -> None:
    """Put a file of another format there."""
    others = [one for one in path.parent.parent.rglob("*") if one.is_file() and one != path]
    if others:
        shutil.copyfile(rng.choice(sorted(others)), path)


BYTES: tuple[Mutation, ...] = (flipped, flipped_near_the_start, cut, inserted, doubled, removed)
TEXT: tuple[Mutation, ...] = (*BYTES, other_number, other_number, edited, edited, edited, edited)
KINDS: tuple[Mutation, ...] = (a_pipe, a_folder, a_device, a_loop, sparse, empty, other_file)


def mutate(path: Path, is_text: bool, rng: random.Random) -> str:
    """Change the file at ``path``; the name of the mutation."""
    mutations = TEXT if is_text else (*BYTES, edited)
    chosen = rng.choice(KINDS if rng.random() < 0.06 else mutations)
    chosen(path, rng)
    return chosen.__name__
