"""What the flags of a run are for: which of them are the same where it resumes or is compared."""

from bwcr_tf.system.errors import DataError

PLACES = ("data_dir", "runs_dir", "cache_dir")  # may differ when a run is resumed elsewhere
_AFTERWARDS = ("calibration", "coverage", "temperature")  # do not change the training
_APART = (  # may differ in runs that are compared: methods, draws, what split.json has, speed
    "method", "radius", "run", "members", "size", "pixel_mm", "n4_shrink", "num_calibration",
    "jit",
)  # fmt: skip
# Of versions without these flags:
_LATER = {"labels": "first", "mixed_precision": "False", "jit": "False"}


def training_flags(flags):
    """The flags that the result of training depends on."""
    return {k: v for k, v in flags.items() if k not in (*PLACES, *_AFTERWARDS)}


def at_places(flags, new):
    """The flags of a run with the PLACES of the dict `new`."""
    own = {name: value for name, value in flags.items() if name not in PLACES}
    return own | {name: value for name, value in new.items() if name in PLACES}


def protocol(flags):
    """The flags that are the same in runs that are averaged or compared, {name: text}."""
    found = _LATER | training_flags(flags)
    return {name: value for name, value in found.items() if name not in _APART}


def compare(folder, old, new, old_spec, spec):
    """Raises DataError where two dicts of flags of a run differ; what one lacks is its default."""
    asked = sorted(training_flags(old | new))
    if old_spec:
        old, new = with_defaults(old, old_spec), with_defaults(new, spec)
    for name in asked:
        if old.get(name) != new.get(name):
            raise DataError(
                f"{folder}: made with --{name}={old.get(name)}, not {new.get(name)}; "
                "use its flags, another --runs_dir, or delete it"
            )


def with_defaults(flags, spec):
    """Flags as texts with those that a run has if they are not given, in one form each."""
    size = ",".join(map(str, spec.settings.shape))
    return _LATER | flags | {"size": size, "pixel_mm": str(spec.settings.pixel_mm)}
