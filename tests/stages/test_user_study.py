import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from reid_aug.cli import main
from reid_aug.data.dataset import open_image, read_market1501
from reid_aug.runtime.errors import UserError
from reid_aug.stages.user_study import (
    GENERATED,
    REAL,
    UserStudyConfig,
    count_answers,
    read_key,
    write_user_study,
)

CONFIG = UserStudyConfig(count=6, practice=2, seconds=0.5)


def crops(value: int, count: int = CONFIG.needed) -> list[np.ndarray]:
    """Crops whose pixels hold their kind and number."""
    return [np.full((16, 8, 3), (value, place, 0), np.uint8) for place in range(count)]


def study_in(folder: Path, seed: int = 0) -> tuple[dict, dict]:
    """The content of the page, and the key."""
    page = write_user_study(crops(200), crops(100), CONFIG, folder, seed)
    text = re.search(r'<script id="study" type="application/json">(.*?)</script>', page.read_text())
    return json.loads(text[1]), read_key(folder / "user_study.json")


def pixel(image: str) -> tuple[int, int]:
    """(kind, number) of a crop on the page."""
    with Image.open(io.BytesIO(base64.b64decode(image.partition(",")[2]))) as picture:
        assert picture.format == "PNG"
        return picture.getpixel((3, 3))[:2]


def answers(folder: Path, key: dict, given: list[str], name: str = "a.json") -> Path:
    entries = [{"image": place, "answer": word} for place, word in enumerate(given)]
    content = {"format": "reid_aug.answers/1", "study": key["study"], "answers": entries}
    (folder / name).write_text(json.dumps(content))
    return folder / name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": [["real"]]}, "truth must be a list of 'real' and 'generated'"),
        ({"truth": None}, "truth must be a list of 'real' and 'generated'"),
        ({"truth": ["real"] * 16}, "truth must be crops of both kinds"),
        ({"practice": None}, r"practice must be a whole number in \[0, 15\], got no such key"),
        ({"practice": 99}, r"practice must be a whole number in \[0, 15\], got 99"),
        ({"study": None}, "study must be text, got no such key"),
    ],
)
def test_a_damaged_key_is_refused_by_name(tmp_path, change, message):
    study_in(tmp_path)
    path = tmp_path / "user_study.json"
    key = json.loads(path.read_text()) | change
    path.write_text(json.dumps({name: value for name, value in key.items() if value is not None}))

    with pytest.raises(UserError, match=rf"user_study\.json: {message}"):
        read_key(path)


def test_the_page_shows_every_crop_once_and_the_key_holds_its_kind(tmp_path):
    shown, key = study_in(tmp_path)

    kinds = {200: REAL, 100: GENERATED}
    pixels = [pixel(image) for image in shown["images"]]
    assert [kinds[kind] for kind, _ in pixels] == key["truth"]
    assert sorted(pixels) == sorted((kind, n) for kind in kinds for n in range(CONFIG.needed))
    assert shown["seconds"] == 0.5


def test_practice_comes_first_with_equally_many_crops_of_each_kind(tmp_path):
    shown, key = study_in(tmp_path)

    assert shown["practice"] == key["practice"] == 4
    assert sorted(key["truth"][:4]) == [GENERATED] * 2 + [REAL] * 2


def test_the_page_does_not_hold_the_kind_of_a_crop(tmp_path):
    shown, _ = study_in(tmp_path)

    assert set(shown) == {"study", "practice", "seconds", "images"}


def test_the_page_needs_nothing_else(tmp_path):
    study_in(tmp_path)

    text = (tmp_path / "user_study.html").read_text()
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)|https?://|@import|url\(", text)


def test_the_order_is_random_and_decided_by_the_seed(tmp_path):
    first, again, other = (study_in(tmp_path / str(i), seed) for i, seed in enumerate((0, 0, 1)))

    assert first == again
    assert first[1]["truth"] != other[1]["truth"]
    assert (tmp_path / "0/user_study.html").read_bytes() == (
        tmp_path / "1/user_study.html"
    ).read_bytes()


def test_another_study_is_not_overwritten(tmp_path):
    study_in(tmp_path)

    with pytest.raises(UserError, match="holds another study, and answers to it would be lost"):
        study_in(tmp_path, seed=1)


def test_answers_worked_by_hand(tmp_path):
    _, key = study_in(tmp_path)
    # all practice answers are wrong; then those to the first two real and three generated crops
    wrong = {REAL: 2, GENERATED: 3}
    given = []
    for place, truth in enumerate(key["truth"]):
        other = GENERATED if truth == REAL else REAL
        is_wrong = place < key["practice"] or wrong[truth] > 0
        wrong[truth] -= place >= key["practice"]
        given.append(other if is_wrong else truth)

    outcome = count_answers(key, [answers(tmp_path, key, given)])

    assert (outcome.real, outcome.real_as_generated) == (6, 2)
    assert (outcome.generated, outcome.generated_as_real) == (6, 3)
    assert (outcome.r2g, outcome.g2r) == (2 / 6, 3 / 6)


def test_several_people_are_counted_together(tmp_path):
    _, key = study_in(tmp_path)
    swap = {REAL: GENERATED, GENERATED: REAL}
    right = answers(tmp_path, key, key["truth"], "right.json")
    wrong = answers(tmp_path, key, [swap[truth] for truth in key["truth"]], "wrong.json")

    other = answers(tmp_path, key, [REAL] * len(key["truth"]), "other.json")
    outcome = count_answers(key, [right, wrong, other])

    assert (outcome.people, outcome.real) == (3, 18)
    assert (outcome.r2g, outcome.g2r) == pytest.approx((1 / 3, 2 / 3))


def test_the_same_answers_twice_count_once(tmp_path):
    _, key = study_in(tmp_path)
    first = answers(tmp_path, key, key["truth"], "first.json")
    second = answers(tmp_path, key, key["truth"], "second.json")

    assert count_answers(key, [first, first, second]).people == 1


def test_a_page_of_rendered_people_does_not_speak_of_photographs(tmp_path):
    for are_photographs, word in ((True, "photographs"), (False, "rendered")):
        folder = tmp_path / word
        page = write_user_study(crops(200), crops(100), CONFIG, folder, 0, are_photographs)
        assert (word in page.read_text(), "photographs" in page.read_text()) == (
            True, are_photographs,
        )  # fmt: skip


def test_a_reload_resumes(tmp_path):
    text = write_user_study(crops(200), crops(100), CONFIG, tmp_path, 0).read_text()

    assert "localStorage.setItem(memory" in text
    assert "localStorage.getItem(memory)" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": "x"},
            "format must be reid_aug.answers/1 .answers to a user study., got 'x'",
        ),
        ({"study": "abc"}, "must be answers to study"),
        ({"answers": [{"image": 0}]}, r"answers.0..answer must be text, got no such key"),
        ({"answers": 3}, "answers must be a list of tables, got 3"),
        ({"answers": [{"image": 0, "answer": "maybe"}]}, "the answer to image 0 must be 'real' or"),
        ({"answers": []}, "the answer to image 0 must be 'real' or 'generated', got None"),
    ],
)
def test_wrong_answers_are_one_sentence(tmp_path, change, message):
    _, key = study_in(tmp_path)
    path = answers(tmp_path, key, key["truth"])
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    with pytest.raises(UserError, match=message):
        count_answers(key, [path])


@pytest.mark.parametrize("values", [{"count": 0}, {"practice": -1}, {"seconds": 0}])
def test_an_impossible_study_is_refused(values):
    with pytest.raises(UserError, match="must be"):
        UserStudyConfig(**values)


def run(*words: object):
    return CliRunner().invoke(main, ["generator", "user-study", *map(str, words)])


def generated_images(people: Path, folder: Path) -> Path:
    folder.mkdir()
    for image in read_market1501(people).train[:8]:
        black = np.zeros_like(open_image(image.path))
        Image.fromarray(black).save(folder / f"{image.name}___{image.name}.png")
    return folder


def test_from_generated_images_to_an_outcome(people, tmp_path):
    folder, out = generated_images(people, tmp_path / "drawn"), tmp_path / "run"
    words = ("--data", people, "--out", out)

    made = run(*words, "--images", folder, "--count", 5, "--practice", 1)

    assert made.exit_code == 0, made.output
    assert made.stdout == f"{out / 'user_study.html'}\n"
    key = read_key(out / "user_study.json")
    told = answers(tmp_path, key, [REAL] * 12)
    counted = run(*words, "--answers", told, "--answers", told)
    assert counted.stdout.startswith(
        "people: 1\nR2G: 0.00 %, 0.0 to 43.4 % (0 of 5)\nG2R: 100.00 %, 56.6 to 100.0 % (5 of 5)\n"
    )
    saved = json.loads((out / "user_study_result.json").read_text())
    assert (saved["people"], saved["g2r"], saved["study"]) == (1, 1.0, key["study"])


def test_the_bank_of_the_run_folder_is_shown(people, tmp_path):
    words = ("--data", people, "--out", tmp_path / "run")
    bank = ["synthesize", "--generator", "demo", "--ratio", "0.5", *words]
    assert CliRunner().invoke(main, list(map(str, bank))).exit_code == 0

    result = run(*words, "--count", 5, "--practice", 0)

    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "user_study.html").is_file()


def test_too_few_generated_images_are_one_sentence(people, tmp_path):
    result = run(
        "--data",
        people,
        "--out",
        tmp_path / "run",
        "--images",
        generated_images(people, tmp_path / "d"),
    )

    assert result.exit_code == 2
    assert "a study of 55 crops needs as many of either kind, got 8" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_dry_run_prints_the_cost_and_writes_nothing(people, tmp_path):
    folder = generated_images(people, tmp_path / "d")
    words = ("--data", people, "--out", tmp_path / "run", "--images", folder)

    result = run(*words, "--count", 5, "--practice", 1, "--dry-run")

    assert result.exit_code == 0, result.output
    assert re.search(r"would write \S+user_study.html: about \d+ s on cpu, \d", result.stdout)
    assert not (tmp_path / "run").exists()
