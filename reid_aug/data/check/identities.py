"""Checks of identities and cameras."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from reid_aug.data.check.faults import Fault, like_it, some
from reid_aug.data.dataset import (
    DISTRACTOR,
    NO_CAMERA,
    PersonImage,
    by_identity,
    matching_cameras,
)

Groups = dict[int, list[PersonImage]]


def check_identities(
    train: Sequence[PersonImage], query: Sequence[PersonImage], gallery: Sequence[PersonImage]
) -> Iterator[Fault]:
    """Identities with one image or camera, in training and test, and queries without a match."""
    groups = by_identity(train)
    single = [pid for pid, group in groups.items() if len(group) == 1]
    if single:
        text = f"{len(single)} of {len(groups)} training identities have one image only"
        yield Fault(False, f"{text}: pid {some(single)}", "one image")
    has_cameras = all(image.camid != NO_CAMERA for image in (*train, *query, *gallery))
    if has_cameras:
        yield from _check_cameras(groups, by_identity(i for i in (*query, *gallery) if i.pid))
    yield from _check_both(groups, query, gallery)
    yield from _check_matches(query, gallery, has_cameras)


def _check_cameras(groups: Groups, test: Groups) -> Iterator[Fault]:
    """Training identities under one camera, and what only the test shows.

    Args:
        groups: the training images by identity.
        test: the query and gallery images by identity, without distractors.
    """
    single = [pid for pid, group in groups.items() if len(_cameras(group)) == 1]
    several = [pid for pid, group in test.items() if len(_cameras(group)) > 1]
    if single and len(single) == len(groups) and several:
        text = (
            f"two cameras only in the test: {len(several)} of {len(test)} query and gallery "
            f"identities are under several cameras, and each of the {len(groups)} training "
            f"identities is under one, so no training can compare cameras"
        )
        yield Fault(False, f"{text}; test pid {some(several)}", "two cameras only in test")
    elif single:
        text = f"{len(single)} of {len(groups)} training identities have one camera only"
        note = "they can be used; no real image shows them under another camera"
        yield Fault(False, f"{text}: pid {some(single)}; {note}", "one camera")
    seen = _cameras(image for group in groups.values() for image in group)
    counts = Counter(image.camid for group in test.values() for image in group)
    if seen and (unseen := sorted(counts.keys() - seen)):
        images = sum(counts[camid] for camid in unseen)
        text = f"{len(unseen)} cameras are in the test only, with {images} of its images"
        yield Fault(False, f"{text}: camera {some(unseen)}", "camera only in test")


def _cameras(images: Iterable[PersonImage]) -> set[int]:
    return {image.camid for image in images}


def _check_both(
    groups: Groups, query: Sequence[PersonImage], gallery: Sequence[PersonImage]
) -> Iterator[Fault]:
    both = sorted(groups.keys() & ({i.pid for i in (*query, *gallery)} - {DISTRACTOR}))
    if both:
        files = tuple(image.path for pid in both for image in groups[pid])
        test = {image.pid for image in query}
        where = "in query" if both[0] in test else "in the gallery"
        more = f" and {len(both) - 1} more are" if len(both) > 1 else " is"
        text = f"pid {both[0]}{more} in training and {where}"
        yield Fault(True, text, "training and test", files)


def _check_matches(
    query: Sequence[PersonImage], gallery: Sequence[PersonImage], has_cameras: bool
) -> Iterator[Fault]:
    cameras = matching_cameras(query, gallery)
    unmatched = [image for image, seen in cameras.items() if not seen]
    other = "under another camera" if has_cameras else "beside the query itself"
    if query and gallery and len(unmatched) == len(query):
        yield Fault(True, f"no query has a match in the gallery {other}", "no match")
    elif unmatched and gallery:
        text = f"queries have no match in the gallery {other} and are not counted"
        yield Fault(
            False,
            f"{len(unmatched)} of {len(query)} {text}: {some([i.name for i in unmatched])}",
            "no match",
        )


def check_labels(labels: Iterable[str]) -> Iterator[Fault]:
    """Identities whose texts differ in case or leading zeros only, and are two identities here."""
    alike: dict[str, list[str]] = {}
    for label in sorted(labels):
        alike.setdefault(label.lstrip("0").casefold(), []).append(label)
    if same := [group for group in alike.values() if len(group) > 1]:
        text = f"{' and '.join(map(repr, same[0]))} differ in case or leading zeros only, and count"
        text += " as two identities"
        yield Fault(False, text + like_it(len(same) - 1, "such group"), "similar identities")
