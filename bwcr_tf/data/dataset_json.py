"""What nnU-Net's dataset.json says of labels, channels and files."""

import json
import re
from typing import NamedTuple

from bwcr_tf.data import coding
from bwcr_tf.system.errors import DataError


class Description(NamedTuple):
    """What a dataset.json says."""

    classes: tuple  # of the foreground
    channel_names: tuple
    ending: str  # of all files
    ignore: bool  # whether there is a label `ignore`
    patients: dict | None  # the patient of each case, where cases are not patients


def read(path):
    """The Description in a dataset.json.

    Raises:
      DataError: not of this form, or of labels that a softmax cannot tell apart.
    """
    try:
        info = json.loads(path.read_text("utf-8-sig"))
        labels = info["labels"].items()
        regions = "regions_class_order" in info or any(isinstance(v, list) for _, v in labels)
        values = {} if regions else {name: int(str(value)) for name, value in labels}
        listed = dict(info.get("channel_names", info.get("modality", {"0": "image"})))
        channel_names = tuple(str(listed[str(number)]) for number in range(len(listed)))
        patients = info.get("patients")
        "".join([*values, *channel_names]).encode()  # JSON can hold text that no file can
        ending = str(info.get("file_ending", ".nii.gz"))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        expected = "'labels': {name: integer} and 'channel_names': {\"0\": name, ...}"
        raise DataError(f"{path}: expected JSON with {expected}") from error
    if regions:
        raise DataError(
            f"{path}: labels are regions, of several values or in a 'regions_class_order'; "
            "expected one integer each, for regions overlap and a softmax gives a pixel one class"
        )
    classes, ignore = _classes(path, values)
    if not channel_names:
        raise DataError(f"{path}: no channels; expected at least one")
    if not re.fullmatch(r"(\.\w+)+", ending):
        raise DataError(f"{path}: file_ending {ending[:20]!r}; expected '.nii.gz', say")
    coding.read_codes(path)  # now rather than after the training
    return Description(classes, channel_names, ending, ignore, _patients(path, patients))


def _patients(path, patients):
    """{case: patient}, checked, or None."""
    if patients is None:
        return None
    if not isinstance(patients, dict) or not all(
        isinstance(name, str) and re.fullmatch(r"[^\0-\x1f\ud800-\udfff]+", name)
        for pair in patients.items()
        for name in pair
    ):
        raise DataError(f"{path}: 'patients'; expected {{case: name of its patient}}")
    return patients


def _classes(path, values):
    """Foreground classes of {label: value}, and whether the last label is `ignore`."""
    *names, last = sorted(values, key=values.get) or [""]
    names += [last] * (last != "ignore")
    if "ignore" in names:
        found = values["ignore"]
        raise DataError(f"{path}: label 'ignore' is {found}; expected the last value")
    if not all(name.strip() for name in names[1:]):
        raise DataError(f"{path}: a label without a name; expected the name of a structure")
    if odd := [name for name in names if re.search(r"[\0-\x1f|\\\ud800-\udfff]", name)]:
        raise DataError(
            f"{path}: label {odd[0]!r}; expected a name of one line, without | and \\"
        )
    if taken := {"all", "mean"} & set(names[1:]):
        raise DataError(f"{path}: label {min(taken)!r}; expected the name of a structure")
    columns = {f"{name}_{end}" for name in names[1:] for end in ("calibrated", "low", "high")}
    if taken := columns & set(names[1:]):  # whose volumes would take the place of those
        raise DataError(
            f"{path}: label {min(taken)!r}; expected another name, for in volumes.csv this "
            f"is a column of {min(taken).rpartition('_')[0]!r}"
        )
    found = sorted(values.values())
    if found != list(range(len(found))) or len(names) < 2:
        raise DataError(f"{path}: label values {found[:5]}; expected 0 to the last class")
    if names[0].lower() != "background":
        raise DataError(f"{path}: label {names[0]!r} is 0; expected 'background'")
    return tuple(names[1:]), last == "ignore"
