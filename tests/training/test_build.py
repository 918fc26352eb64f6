import types

import pytest

from bwcr_tf.data.settings import Settings
from bwcr_tf.methods import METHODS
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import build


def options(method, scale=1.0, radius=None):
    return types.SimpleNamespace(method=method, consistency_scale=scale, radius=radius)


@pytest.mark.parametrize("method", METHODS)
def test_a_scale_of_the_consistency_loss_is_taken_where_there_is_one(method):
    assert build.find_method(options(method)) is METHODS[method]
    if METHODS[method].num_views == 2:
        assert build.find_method(options(method, 10.0)) is METHODS[method]
    else:
        with pytest.raises(DataError, match=f"^consistency_scale=10: {method} has no L_C"):
            build.find_method(options(method, 10.0))


def test_the_trainer_is_what_the_options_ask_for():
    asked = options("cr", scale=0.1)
    asked.mixed_precision, asked.jit, asked.width = True, False, 4
    asked.learning_rate, asked.steps = 1e-4, 50_000
    trainer = build.trainer(Settings(3, 16), asked)
    assert trainer.consistency_scale == 0.1 and trainer.method is METHODS["cr"]
    assert trainer.network.get_layer("up0_conv2").compute_dtype == "bfloat16"
    for step, rate in ((0, 1e-4), (25_000, 5.005e-5), (50_000, 1e-7)):  # Sec. 4
        trainer.optimizer.iterations.assign(step)
        assert float(trainer.optimizer.learning_rate) == pytest.approx(rate, rel=1e-3)


def test_a_radius_is_taken_where_there_is_one():
    assert build.radius(build.find_method(options("bwcr", radius=5.0))) == 5
    with pytest.raises(DataError, match="^radius=5: cr has no R; expected none"):
        build.find_method(options("cr", radius=5.0))
