import numpy as np
import pytest
import tensorflow as tf

from bwcr_tf.system.errors import DataError
from bwcr_tf.training import checkpoints, run_folder


@pytest.fixture
def saved(tmp_path):
    """A checkpoint object after steps 4, 8 and 12, whose variable was the step's number."""
    variable = tf.Variable(tf.zeros([100]))
    checkpoint = tf.train.Checkpoint(x=variable)
    for step in (4, 8, 12):
        variable.assign(tf.fill([100], float(step)))
        checkpoints.save(checkpoint, tmp_path, step)
    return checkpoint, variable, tmp_path


def test_the_last_two_are_kept_and_the_newest_is_restored(saved):
    checkpoint, variable, folder = saved
    assert [path.rpartition("-")[2] for path in checkpoints.paths(folder)] == ["12", "8"]
    variable.assign(tf.zeros([100]))
    checkpoints.restore(checkpoint, folder)
    np.testing.assert_array_equal(variable, 12)
    np.testing.assert_array_equal(checkpoints.read(checkpoints.paths(folder)[1], ["x"])[0], 8)


def test_steps_are_ordered_as_numbers(tmp_path):
    for step in (1000, 900):
        (tmp_path / f"step-{step}.index").touch()
    assert checkpoints.paths(tmp_path)[0].endswith("step-1000")


@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "missing"])
def test_a_damaged_one_is_passed_over_for_the_one_before(saved, suffix, damage):
    checkpoint, variable, folder = saved
    path = folder / f"step-12.{suffix}"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes({"cut": content[:-9], "flipped": content}.get(damage, b""))
    if damage == "missing":
        path.unlink()
    checkpoints.restore(checkpoint, folder)
    np.testing.assert_array_equal(variable, 8)


def test_no_whole_one_is_refused_and_none_at_all_is_a_new_run(saved, tmp_path_factory):
    checkpoint, _, folder = saved
    for path in folder.glob("*.index"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no checkpoint is whole"):
        checkpoints.restore(checkpoint, folder)
    checkpoints.restore(checkpoint, tmp_path_factory.mktemp("new"))


def test_a_checkpoint_of_an_earlier_version_is_restored_without_what_it_lacks(saved):
    checkpoint, variable, folder = saved
    added = tf.Variable(5.0)
    variable.assign(tf.zeros([100]))
    newer = tf.train.Checkpoint(x=variable, sums=[added])
    checkpoints.restore(newer, folder, checkpoint)
    np.testing.assert_array_equal(variable, 12)
    added.assign(7.0)
    checkpoints.save(newer, folder, 16)
    added.assign(0.0)
    checkpoints.restore(newer, folder, checkpoint)
    assert added == 7


def test_a_damaged_one_is_not_taken_for_one_of_an_earlier_version(tmp_path):
    variable, added = tf.Variable(tf.zeros([100])), tf.Variable(tf.zeros([100]))
    earlier = tf.train.Checkpoint(x=variable)
    checkpoint = tf.train.Checkpoint(x=variable, sums=[added])
    for step in (4, 8):
        variable.assign(tf.fill([100], float(step)))
        added.assign(tf.fill([100], 10.0 * step))
        checkpoints.save(checkpoint, tmp_path, step)
    path = tmp_path / "step-8.data-00000-of-00001"
    assert path.read_bytes().count(np.float32(80).tobytes()) == 100
    path.write_bytes(path.read_bytes().replace(np.float32(80).tobytes(), b"wxyz"))
    assert checkpoints.restore(checkpoint, tmp_path, earlier) is checkpoint
    assert variable[0] == 4 and added[0] == 40


@pytest.mark.parametrize("name", ["runs [2]", "a\\b"])
def test_a_folder_from_which_tensorflow_reads_no_checkpoint_is_refused_before_training(
    name, tmp_path
):
    checkpoint = tf.train.Checkpoint(a=tf.Variable(1.0))
    (tmp_path / name).mkdir()
    checkpoints.save(checkpoint, tmp_path / name, 1)
    with pytest.raises(DataError, match="no checkpoint is whole"):  # TensorFlow 2.21
        checkpoints.restore(checkpoint, tmp_path / name)
    with pytest.raises(DataError, match="expected a path without"):
        run_folder.claim(tmp_path / name / "run1", {}, None)
    assert not (tmp_path / name / "run1").exists()
