import numpy as np
import pytest
from scipy import special

from bwcr_tf.evaluation import calibration

KINDS = list(calibration.PARAMETERS)


def draw(rng, probabilities):
    """One-hot labels [N, C] drawn from probabilities [N, C]."""
    chosen = (rng.random((len(probabilities), 1)) > probabilities.cumsum(axis=-1)).sum(axis=-1)
    return np.eye(probabilities.shape[-1])[chosen.clip(0, probabilities.shape[-1] - 1)]


def sharpened(num_classes, slope, count=20_000, seed=0):
    """Probabilities [N, C] whose logits are `slope` times those that drew the targets [N, C]."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, num_classes))
    p = special.softmax(slope * logits, axis=-1).astype(np.float32)
    return p, draw(rng, special.softmax(logits, axis=-1))


def test_a_heavy_penalty_leaves_dirichlet_its_diagonal(monkeypatch):
    monkeypatch.setattr(calibration, "PENALTY", 100.0)
    found = calibration.fit("dirichlet", [calibration.sample(*sharpened(3, 2, 2000))])
    off = found.weights[:3][~np.eye(3, dtype=bool)]
    assert np.abs(off).max() < 0.01 and np.abs(found.bias).max() < 0.01
    np.testing.assert_allclose(np.diag(found.weights), 0.5, atol=0.1)


def test_identity_leaves_probabilities_unchanged():
    p, _ = sharpened(3, 2)
    assert calibration.apply(calibration.identity(3), p) is p
    unnamed = calibration.identity(3)._replace(kind="dirichlet")
    np.testing.assert_allclose(calibration.apply(unnamed, p), p, atol=1e-7)


def test_features_are_log_p_and_log_of_its_complement_where_p_rounds_to_one():
    p = np.array([[1.0, 1e-12, 0.0]], np.float32)
    found = calibration.features(p)[:, 0]
    tiny = np.log(np.finfo(np.float32).tiny)
    expected = [0, np.log(1e-12), tiny, np.log(1e-12), 0, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_temperature_divides_the_logits():
    logits = np.random.default_rng(0).normal(0, 4, (50, 3))
    found = calibration.apply(calibration.scaled(3, 1.7), special.softmax(logits, axis=-1))
    np.testing.assert_allclose(found, special.softmax(logits / 1.7, axis=-1), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_classes", [2, 4])
def test_gradient_equals_finite_differences(kind, num_classes):
    rng = np.random.default_rng(1)
    pixels = calibration.sample(*sharpened(num_classes, 2, 300))
    basis, start, _, penalty = calibration.PARAMETERS[kind](num_classes)
    at = start + rng.normal(0, 0.3, len(start))
    _, gradient = calibration.objective(at, basis, penalty, pixels)
    for i, step in enumerate(1e-5 * np.eye(len(at))):
        high, low = (
            calibration.objective(at + sign * step, basis, penalty, pixels)[0]
            for sign in (1, -1)
        )
        assert gradient[i] == pytest.approx((high - low) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("slope", [0.6, 1.0, 2.5])
def test_temperature_finds_the_slope_that_made_the_labels(slope):
    found = calibration.fit("temperature", [calibration.sample(*sharpened(3, slope))])
    assert found.weights[0, 0] == pytest.approx(1 / slope, rel=0.05)


def newton(inputs, targets, steps=30):
    """Logistic regression [K] of targets [N] on inputs [N, K], by Newton's method."""
    found = np.zeros(inputs.shape[1])
    for _ in range(steps):
        p = special.expit(inputs @ found)
        hessian = (inputs * (p * (1 - p))[:, None]).T @ inputs
        found += np.linalg.solve(hessian, inputs.T @ (targets - p))
    return found


def test_beta_of_two_classes_is_logistic_regression_on_log_p_and_minus_log_of_its_complement():
    rng = np.random.default_rng(2)
    p = rng.beta(0.7, 0.9, 5000).clip(0.002, 0.998)
    true = special.expit(0.6 * np.log(p) - 1.3 * np.log(1 - p) + 0.4)
    targets = draw(rng, np.stack([1 - true, true], axis=-1))
    found = calibration.fit("beta", [calibration.sample(np.stack([1 - p, p], -1), targets)])
    inputs = np.stack([np.log(p), -np.log(1 - p), np.ones_like(p)], axis=-1)
    ours = found.weights[1, 1], found.weights[0, 0], found.bias[1] - found.bias[0]
    np.testing.assert_allclose(ours, newton(inputs, targets[:, 1]), atol=0.01)
    np.testing.assert_allclose(ours, [0.6, 1.3, 0.4], atol=0.15)  # what made the labels
    assert not found.weights[2:].any()


def test_beta_of_more_classes_has_a_slope_on_each_side_that_keeps_the_order():
    p, targets = sharpened(4, 2)
    found = calibration.fit("beta", [calibration.sample(p, targets)])
    assert (np.diag(found.weights[:4]) >= 0).all() and (np.diag(found.weights[4:]) <= 0).all()
    off = found.weights.copy()
    off[range(4), range(4)] = off[range(4, 8), range(4)] = 0
    assert not off.any()
    expected = special.softmax(
        np.log(p) @ found.weights[:4]
        + np.log1p(-p.astype(float)) @ found.weights[4:]
        + found.bias,
        -1,
    )
    np.testing.assert_allclose(calibration.apply(found, p), expected, atol=1e-4)


def test_dirichlet_finds_the_matrix_that_made_the_labels():
    rng = np.random.default_rng(3)
    p = rng.dirichlet([1, 1, 1], 15_000).clip(0.001)
    p /= p.sum(axis=-1, keepdims=True)
    weights = np.array([[1.2, 0.3, 0.0], [0.0, 0.8, 0.2], [-0.3, 0.0, 1.0]])
    true = special.softmax(np.log(p) @ weights + [0.2, 0, -0.2], axis=-1)
    found = calibration.fit("dirichlet", [calibration.sample(p, draw(rng, true))])
    assert np.abs(calibration.apply(found, p) - true).mean() < 0.01
    assert np.abs(p - true).mean() > 0.02


def test_penalty_is_of_off_diagonal_weights_and_intercepts_alone():
    basis, start, _, penalty = calibration.PARAMETERS["dirichlet"](3)
    weights, bias = np.arange(9.0).reshape(3, 3), np.array([1.0, 2, 3])
    parameters = np.array([(basis * np.vstack([weights, np.zeros((3, 3)), bias])).sum((1, 2))])
    off = weights[~np.eye(3, dtype=bool)]
    expected = 0.01 * (np.square(off).mean() + np.square(bias).mean())  # ODIR, lambda = mu
    assert penalty @ np.square(parameters[0]) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["temperature", "beta"])
def test_slopes_stay_positive_where_labels_contradict_the_probabilities(kind):
    p, targets = sharpened(3, 1, 1000)
    found = calibration.fit(kind, [calibration.sample(p, targets[:, [1, 2, 0]])])
    assert (np.diag(found.weights) >= 0).all() and np.diag(found.weights).max() < 0.2


def test_every_kth_pixel_is_taken_and_not_the_first_ones(monkeypatch):
    monkeypatch.setattr(calibration, "_MOST", 100)
    thinned = calibration.sample(np.full((1000, 2), 0.5), np.eye(2)[np.arange(1000) // 500])
    np.testing.assert_allclose(thinned.targets @ thinned.mass, 0.5)
    assert thinned.mass.size == 100


def test_penalty_weighs_the_same_for_any_number_of_subjects():
    part = calibration.sample(*sharpened(3, 2, 200))
    one, four = (calibration.fit("dirichlet", [part] * count) for count in (1, 4))
    np.testing.assert_allclose(one.weights, four.weights, atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("most", "share", "error"), [(60_000, 0.6, 0.006), (8000, 0.4, 0.04)])
def test_fit_to_every_kth_pixel_is_the_fit_to_all(kind, most, share, error, monkeypatch):
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 6, (60_000, 3))
    p, targets = special.softmax(1.5 * logits, -1), draw(rng, special.softmax(logits, -1))
    monkeypatch.setattr(calibration, "_MOST", most)
    thinned = calibration.sample(p, targets)
    for name in ("_MOST", "_MOST_SURE"):
        monkeypatch.setattr(calibration, name, len(p))
    whole = calibration.sample(p, targets)
    assert len(thinned.mass) < share * len(whole.mass) == share * len(p)
    assert thinned.mass.sum() == pytest.approx(1) == whole.mass.sum()
    found = [calibration.fit(kind, [part]) for part in (thinned, whole)]
    np.testing.assert_allclose(*(calibration.apply(f, p) for f in found), atol=error)


def test_subjects_count_alike_however_many_pixels_they_have():
    large, small = sharpened(2, 3.0, 15_000), sharpened(2, 0.5, 1000, seed=5)
    twice = [np.tile(part, (2, 1)) for part in small]
    one = calibration.fit("temperature", [calibration.sample(*p) for p in (large, small)])
    two = calibration.fit("temperature", [calibration.sample(*p) for p in (large, twice)])
    np.testing.assert_allclose(one.weights, two.weights, rtol=1e-3)
