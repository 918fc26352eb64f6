import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from bwcr_tf import unet
from bwcr_tf.methods import METHODS
from bwcr_tf.system.errors import DataError
from bwcr_tf.trainer import Trainer
from bwcr_tf.training import build, checkpoints
from bwcr_tf.training import selection as module

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras 3.15


class Killed(BaseException):
    pass


def killed(*_):
    raise Killed


def network():
    image = keras.Input((8, 8, 1))
    return keras.Model(image, keras.layers.Conv2D(2, 1)(image))


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A function to a new Selection in `tmp_path`, whose validation finds a Dice of 0.5."""
    monkeypatch.setattr(
        module, "Validation", lambda _: types.SimpleNamespace(dice=0.5, predictions=[])
    )

    def selection():
        trainer = Trainer(network(), METHODS["da"])
        trainer.compile(keras.optimizers.Adam(1e-3))
        return module.Selection(trainer, network(), [], tmp_path, 1, 9, lambda *_: None)

    return selection


def train(selection, value):
    """A step after which all averages are `value`."""
    for average in selection.trainer.averages:
        average.assign(np.full(average.shape, value))
    selection.on_train_batch_end(0, {"loss": 0.5})


def kept(folder):
    """The one value of all weights in best.keras."""
    (value,) = {float(v) for w in unet.load(folder / "best.keras").weights for v in np.ravel(w)}
    return value


def test_a_kill_before_the_checkpoint_leaves_the_weights_that_the_last_one_knows(
    make, tmp_path, monkeypatch
):
    selection = make()
    train(selection, 1)
    monkeypatch.setattr(checkpoints, "save", killed)
    with pytest.raises(Killed):
        train(selection, 2)
    assert kept(tmp_path) == 1 and make().restore() == 1


@pytest.mark.parametrize("damage", ["older", "missing", "cut"])
def test_best_keras_is_written_again_where_it_is_not_that_of_the_checkpoint(
    make, tmp_path, monkeypatch, damage
):
    selection = make()
    train(selection, 1)
    with monkeypatch.context() as patch:
        patch.setattr(selection, "save_best", killed)
        with pytest.raises(Killed):
            train(selection, 2)
    assert kept(tmp_path) == 1
    (tmp_path / "best.keras").write_bytes(b"PK") if damage == "cut" else None
    (tmp_path / "best.keras").unlink() if damage == "missing" else None
    resumed = make()
    assert resumed.restore() == 2 and kept(tmp_path) == 2
    resumed.best.assign(0.6)  # more than step 3 has
    train(resumed, 3)
    assert kept(tmp_path) == 2  # the best ones, not the last


def resumed_from(form, make, tmp_path):
    """What a checkpoint of step 1 in an earlier version's form is resumed as."""
    for path in (tmp_path / "checkpoints").iterdir():
        path.unlink()
    checkpoints.save(form, tmp_path / "checkpoints", 1)
    resumed = make()
    assert resumed.restore() == 1
    assert {float(v) for w in resumed.selected for v in np.ravel(w)} == {1.0}
    return resumed


def test_a_run_of_an_earlier_version_resumes_with_the_weights_of_its_best_keras(make, tmp_path):
    earlier = make()
    train(earlier, 1)
    resumed_from(earlier.earlier[1], make, tmp_path)
    (tmp_path / "best.keras").unlink()
    with pytest.raises(DataError, match="best.keras: gone"):
        make().restore()


def test_a_run_of_a_version_that_summed_the_loss_resumes_with_its_terms_at_zero(make, tmp_path):
    earlier = make()
    train(earlier, 1)
    form = earlier.earlier[0]
    form.sums = [tf.Variable(7.0) for _ in range(6)]  # of loss, supervised and consistency
    (tmp_path / "best.keras").unlink()
    resumed = resumed_from(form, make, tmp_path)
    assert kept(tmp_path) == 1 and not any(map(np.any, resumed.restored))


def test_last_weights_are_the_averages_of_the_newest_checkpoint(make, tmp_path):
    selection = make()
    train(selection, 1)
    selection.best.assign(0.6)  # more than what follows
    for value in (2, 3):
        train(selection, value)
    last = checkpoints.load_last(tmp_path)
    assert kept(tmp_path) == 1
    assert {float(v) for w in last.weights for v in np.ravel(w)} == {3.0}


def test_reported_losses_are_means_since_the_last_validation(make):
    selection, seen = make(), []
    trackers = selection.trainer.trackers
    selection.report = lambda *_: seen.append([float(t.result()) for t in trackers.values()])
    for value in (1.0, 3.0):
        for tracker in trackers.values():
            tracker.update_state(value)
        train(selection, 0)
    assert seen == [[1.0] * len(trackers), [3.0] * len(trackers)]


def test_one_stop_may_be_told_twice_and_a_later_one_ends_at_once(make, monkeypatch):
    clock = types.SimpleNamespace(now=5.0)
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    selection = make()
    for now in (5.0, 5.5):  # to the process, and to its group
        clock.now = now
        selection.stop()
    clock.now = 7.0
    with pytest.raises(KeyboardInterrupt):
        selection.stop()


def test_an_undefined_dice_counts_as_zero(make, tmp_path, monkeypatch):
    selection, found = make(), types.SimpleNamespace(dice=np.nan, predictions=[])
    monkeypatch.setattr(module, "Validation", lambda _: found)
    train(selection, 1)
    assert kept(tmp_path) == 1 and float(selection.best) == 0


@pytest.mark.parametrize(
    "jit, start, every, steps, expected",
    [
        (False, 0, 100, 1500, 1),
        (True, 0, 100, 1500, 10),
        (True, 21381, 500, 50000, 1),
        (True, 30, 4, 8, 2),
        (True, 0, 100, 1505, 5),  # the last step
        (True, 0, 25, 1500, 5),  # a validation
    ],
)
def test_steps_of_a_call_end_where_validations_are(jit, start, every, steps, expected):
    options = types.SimpleNamespace(jit=jit, eval_every=every, steps=steps)
    assert build.steps_per_call(start, options) == expected


def test_dice_is_the_mean_over_volumes_as_in_the_scores(monkeypatch):
    """One of the two volumes lacks a structure: (0.5 + (1 + 1) / 2) / 2."""
    found = {"a": np.array([0.5, np.nan]), "b": np.array([1.0, 1.0])}
    monkeypatch.setattr(module.inference, "dice", lambda _, case: found[case.name])
    maps = np.zeros((1, 1, 2, 2), np.uint8)
    cases = [types.SimpleNamespace(name=name, label_maps=maps) for name in found]
    validation = module.Validation([(case, np.full((1, 2, 2, 3), 1 / 3)) for case in cases])
    assert validation.dice == 0.75 and validation.dice_per_class == [0.75, 1.0]
