"""Temperature scaling (Guo et al., ICML 2017): one number T that divides every logit."""

import json
import pathlib

import numpy as np
from scipy import optimize, special

from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError

RANGE = (0.05, 20.0)  # where a fitted T is looked for


def valid(choice):
    """Whether `choice` is `none`, `fit` or a number from 0.001 to 1000, as text."""
    try:
        return choice in ("none", "fit") or 1e-3 <= float(choice) <= 1e3
    except ValueError:
        return False


def fit(logits, label_map):
    """T that minimises the mean negative log-likelihood of softmax(logits / T).

    Returns:
      T, and the mean negative log-likelihood at 1 and at T, in nats.

    Args:
      logits, label_map: [N, C] and [N]. They must be chosen without a look at the labels. On a
        band around the labelled foreground, or on it alone (as the paper's ECE), T flatters
        that ECE and spoils the rest: with the band, on real hearts, T was 1.8 in place of 1.0;
        the foreground ECE fell from 0.15 to 0.09, but the loss over all pixels rose from 0.12
        to 0.22 and the expected volumes from 1.3 to 2.7 times the true ones. So `choose` takes
        all pixels.
    """
    true = np.take_along_axis(logits, label_map[:, None].astype(np.intp), axis=-1)[:, 0]

    def loss(log_temperature):
        scale = np.float32(np.exp(-log_temperature))
        return np.mean(special.logsumexp(scale * logits, axis=-1) - scale * true, dtype=float)

    found = optimize.minimize_scalar(loss, bounds=np.log(RANGE), method="bounded")
    return float(np.exp(found.x)), float(loss(0.0)), float(found.fun)


def choose(choice, network, cases):
    """temperature.json as a dict; `fit` takes all pixels of all `cases`, on the network's grid.

    Args:
      choice: `none` (T = 1), `fit`, or the value as text.
      network: keras.Model, images [N, H, W, 1] -> logits [N, H, W, C].
      cases: the validation subjects' preprocess.Cases; used by `fit` only.
    """
    if choice != "fit":
        return {"temperature": 1.0 if choice == "none" else float(choice), "choice": choice}
    from bwcr_tf.evaluation import inference  # here, as Keras in `scale`

    logits = [inference.in_batches(network, case.image) for case in cases]
    logits = np.concatenate([part.reshape(-1, part.shape[-1]) for part in logits])
    label_map = np.concatenate([case.label_map.ravel() for case in cases])
    value, before, after = fit(logits, label_map)
    return {
        "temperature": value,
        "choice": choice,
        "validation_subjects": sorted({case.subject for case in cases}),
        "pixels": len(label_map),
        "nll_before": before,
        "nll_after": after,
    }


def save(folder, record):
    """Writes the record as a run's temperature.json."""
    files.write_json(pathlib.Path(folder) / "temperature.json", record)


def load(folder):
    """The record in a run's temperature.json, which is written once the run is trained.

    Raises:
      DataError: it is not there, or has no positive temperature.
    """
    path = pathlib.Path(folder) / "temperature.json"
    if not path.exists():
        raise DataError(f"{folder}: not trained to the end; the same train.py command resumes")
    try:
        record = json.loads(path.read_text("utf-8"))
        if 0 < record["temperature"] < np.inf:
            return record
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DataError(f'{path}: expected JSON with "temperature": a positive number')


def apply(probabilities, value):
    """softmax(logits / value) from the softmax of the logits, probabilities [..., C]."""
    if value == 1:
        return probabilities
    relative = probabilities / probabilities.max(axis=-1, keepdims=True)  # or all vanish
    powers = np.power(relative, np.float32(1 / value))
    return powers / powers.sum(axis=-1, keepdims=True)


def scale(network, value):
    """The keras.Model with the same weights and logits / `value`."""
    import keras  # here, for the flags are checked before TensorFlow is imported

    return network if value == 1 else keras.Model(network.input, network.output / value)
