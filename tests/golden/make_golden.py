"""Makes the golden numbers of the tests: inputs, and what other libraries make of them.

Each part runs on Python 3.11, in an environment of its own:

    pip install tensorflow-cpu==2.15.1 tensorflow-addons==0.23.0 numpy==1.26.4
    python tests/golden/make_golden.py tfa          # writes tfa.npz

    pip install torch==2.14.1 torchvision==0.29.1 monai==1.6.1 torchmetrics==1.9.0 \
        netcal==1.4.0 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
    python tests/golden/make_golden.py torch        # writes transforms.npz and metrics.npz

    pip install properscoring==0.1 scoringrules==0.10.0 scipy==1.17.1 numpy==2.4.6
    python tests/golden/make_golden.py crps         # writes crps.npz

    pip install torch==2.13.0 monai==1.6.1 numpy==2.4.6
    python tests/golden/make_golden.py losses       # writes losses.npz

A key that ends in a library's name is that library's answer, the others are inputs. Every
`out_to_in` maps an output pixel (x, y) to an input pixel; pixel centres are at integers.
"""

import importlib.metadata
import pathlib
import sys

import numpy as np

SIZE = HEIGHT, WIDTH = 17, 23
SIGMAS = [0.25, 0.5, 1.0, 1.5]  # pixels, one for each of four blurred images
FILTER_SIZE = 13  # covers 4 of the largest sigma on both sides
BINS = 15


def save(name, packages, arrays):
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    np.savez_compressed(pathlib.Path(__file__).parent / name, versions=versions, **arrays)


def random_images(seed, *shape):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def random_out_to_in(seed, count):
    """Maps [count, 3, 3] about the centre; rotation, scales, shear and shifts all active."""
    rng = np.random.default_rng(seed)
    center = np.array([WIDTH - 1, HEIGHT - 1]) / 2
    least, most = (0.2, 0.1, 0.1, 0.1, 1, 1), (0.6, 0.25, 0.25, 0.3, 3, 3)
    matrices = np.tile(np.eye(3, dtype=np.float32), (count, 1, 1))
    for matrix in matrices:
        angle, x, y, shear, *shift = rng.choice([-1, 1], 6) * rng.uniform(least, most)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix[:2, :2] = linear = rotation @ [[1 + x, shear], [0, 1 + y]]
        matrix[:2, 2] = center + shift - linear @ center
    return matrices


def tfa_arrays():
    """A row of 8 is an out_to_in without its last 1; `compose` multiplies left to right."""
    import tensorflow_addons.image as tfa

    images = random_images(0, 4, 24, 20, 1)
    arrays = {"blur_images": images, "blur_sigmas": SIGMAS}
    for padding in ("REFLECT", "CONSTANT"):
        arrays[f"blur_{padding.lower()}_tfa"] = [
            tfa.gaussian_filter2d(images[i], FILTER_SIZE, SIGMAS[i], padding) for i in range(4)
        ]
    angles = np.array([-2.0, -0.35, 0.0, 0.35, 1.2], np.float32)
    arrays |= {"angles_rad": angles, "angles_height_width": SIZE}
    arrays["angles_transforms_tfa"] = tfa.angles_to_projective_transforms(angles, *SIZE)
    steps = [random_out_to_in(seed, 4).reshape(4, 9)[:, :8] for seed in (1, 2, 3)]
    arrays |= {"compose_transforms": steps, "compose_tfa": tfa.compose_transforms(steps)}
    images, out_to_in = random_images(4, 3, *SIZE, 2), random_out_to_in(5, 3)
    transforms = out_to_in.reshape(3, 9)[:, :8]
    arrays |= {"warp_images": images, "warp_transforms": transforms}
    return arrays | {"warp_tfa": tfa.transform(images, transforms, "bilinear", "constant")}


def transforms_arrays():
    """torchvision's blur (reflecting), gamma and affine, and grid_sample, all in float64.

    Affine: degrees clockwise, shift last, the default `fill` (`fill=0` darkens the rim twice).
    """
    import torch
    from torchvision.transforms import InterpolationMode, functional

    images, image, gammas = random_images(0, 4, 24, 20), random_images(6, 24, 20), [0.5, 1.3, 2]
    stack = torch.from_numpy(images).double()[:, None]  # [4, 1, H, W]
    blurred = [functional.gaussian_blur(stack[i], FILTER_SIZE, SIGMAS[i])[0] for i in range(4)]
    arrays = {"blur_images": images, "blur_sigmas": SIGMAS, "blur_torchvision": blurred}
    single = torch.from_numpy(image).double()[None]
    arrays |= {"gamma_image": image, "gammas": gammas}
    arrays["gamma_torchvision"] = [functional.adjust_gamma(single, g)[0] for g in gammas]

    # angle_deg, shift (x, y), scale, shear_deg (x, y)
    cases = (17, [3, -2], 1.2, [5, -4]), (-33, [-1, 4], 0.8, [-8, 3]), (8, [2, 2], 1.1, [10, 7])
    arrays["affine_parameters"] = [np.hstack(case) for case in cases]
    for name, image in ("square", random_images(7, 21, 21)), ("wide", random_images(8, *SIZE)):
        center = [(length - 1) / 2 for length in image.shape[::-1]]
        rows = [functional._get_inverse_affine_matrix(center, *case) for case in cases]
        arrays[f"affine_{name}_image"] = image
        arrays[f"affine_{name}_out_to_in"] = [[r[:3], r[3:], [0, 0, 1]] for r in rows]
        single = torch.from_numpy(image).double()[None]
        arrays[f"affine_{name}_torchvision"] = [
            functional.affine(single, *case, InterpolationMode.BILINEAR)[0] for case in cases
        ]

    images, out_to_in = random_images(4, 3, *SIZE, 2), random_out_to_in(5, 3)
    x, y = np.meshgrid(range(WIDTH), range(HEIGHT))
    pixels = np.einsum("bij,jhw->bhwi", out_to_in, [x, y, np.ones_like(x)])[..., :2]
    grid = torch.from_numpy(2 * pixels / [WIDTH - 1, HEIGHT - 1] - 1)  # centres: -1 to 1
    stack = torch.from_numpy(images).double().movedim(-1, 1)
    sampled = torch.nn.functional.grid_sample(stack, grid, align_corners=True)
    arrays |= {"warp_images": images, "warp_out_to_in": out_to_in}
    return arrays | {"warp_torch": sampled.movedim(1, -1)}


def smooth_noise(rng, *shape):
    """Noise [Z, H, W, C] of standard deviation 1, smooth in a slice: its argmax has blobs."""
    from scipy import ndimage

    noise = ndimage.gaussian_filter(rng.normal(size=shape), (0.5, 2.5, 2.5, 0))
    return noise / noise.std()


def overlap_arrays():
    """Dice of classes 0-6 and the larger directed 95 % Hausdorff distance of classes 1-6.

    Class 4 is nowhere, 5 only predicted, 6 only in the label map.
    """
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance

    rng, spacing_mm = np.random.default_rng(9), [8.0, 1.3, 1.5]  # z, y, x
    scores = smooth_noise(rng, 5, 24, 30, 4)
    label_map = scores.argmax(-1)
    prediction = (scores + 0.4 * smooth_noise(rng, *scores.shape)).argmax(-1)
    prediction[1, 3:6, 4:8], label_map[2, 10:14, 20:23] = 5, 6
    arrays = {"overlap_prediction": prediction, "overlap_label_map": label_map}
    arrays["overlap_spacing_mm"] = spacing_mm
    pair = [torch.eye(7).bool()[m].movedim(-1, 0)[None] for m in (prediction, label_map)]
    distances = compute_hausdorff_distance(*pair, percentile=95, spacing=spacing_mm)
    arrays |= {"dice_monai": compute_dice(*pair)[0], "hd95_mm_monai": distances[0]}
    return arrays | {"dice_keep_empty_monai": compute_dice(*pair, ignore_empty=False)[0]}


def expected_errors(rows, labels):
    """Calibration error of the top label, and `per_class`: each class against the others."""
    import torch
    from monai.metrics import CalibrationErrorMetric
    from netcal.metrics import ECE
    from sklearn.metrics import brier_score_loss
    from torchmetrics.functional.classification import multiclass_calibration_error

    pair, one_hot = (torch.tensor(rows), torch.tensor(labels)), torch.eye(4)[labels]
    foreground = multiclass_calibration_error(*pair, 4, BINS, ignore_index=0)
    per_class = CalibrationErrorMetric(BINS, metric_reduction="none")
    return {
        "ece_torchmetrics": multiclass_calibration_error(*pair, 4, BINS),
        "ece_foreground_torchmetrics": foreground,  # where the true class is not 0
        "ece_netcal": ECE(BINS).measure(rows, labels),
        "ece_per_class_netcal": [ECE(BINS).measure(rows[:, c], labels == c) for c in range(4)],
        "ece_per_class_monai": per_class(pair[0].T[None], one_hot.T[None])[0],
        "brier_sklearn": brier_score_loss(labels, rows, labels=range(4)),
    }


def metrics_arrays():
    """Scores of `probabilities` and of `probabilities_sure` (some exactly 1), and a loss.

    `ace`, `tace`: mean gap over equally full bins, of all and of the probabilities above 0.01.
    """
    import torch
    from netcal.metrics import ACE
    from torch.nn.functional import cross_entropy, nll_loss

    rng, shape = np.random.default_rng(10), (3, 26, 25, 4)  # 15 bins of 130 pixels
    evidence = smooth_noise(rng, *shape)
    label_map = (evidence + 0.3 * rng.normal(size=shape)).argmax(-1)
    scores = np.exp(2 * evidence + 0.5 * rng.normal(size=shape)).reshape(-1, 4)
    rows, labels = scores / scores.sum(-1, keepdims=True), label_map.ravel()
    top = rows.argmax(-1)
    for column in rows.T:  # a few leave so that the pixels above 0.01 fill 15 bins equally too
        shown = np.flatnonzero(column > 0.01)
        column[shown[column[shown].argsort()][: len(shown) % BINS]] = 0.009
    rows[np.arange(len(rows)), top] += 1 - rows.sum(-1)
    rows = rows.astype(np.float32)
    sure_rows = np.where(rng.uniform(size=(len(rows), 1)) < 0.15, np.eye(4)[top], rows)
    sure_rows = sure_rows.astype(np.float32)

    arrays = {"label_map": label_map, "probabilities": rows.reshape(shape)}
    arrays |= {"probabilities_sure": sure_rows.reshape(shape)} | expected_errors(rows, labels)
    arrays |= {
        f"sure_{key}": error for key, error in expected_errors(sure_rows, labels).items()
    }
    for name, threshold in ("ace", 0), ("tace", 0.01):
        shown, equally_full = rows > threshold, ACE(BINS, equal_intervals=False)
        arrays[f"{name}_per_class_netcal"] = [
            equally_full.measure(rows[shown[:, c], c], labels[shown[:, c]] == c)
            for c in range(4)
        ]
    arrays["nll_torch"] = nll_loss(torch.tensor(rows).log(), torch.tensor(labels))
    logits = 3 * rng.normal(size=(2, 5, 6, 4)).astype(np.float32)
    logits_label_map = rng.integers(4, size=(2, 5, 6))
    arrays |= {"logits": logits, "logits_label_map": logits_label_map}
    pair = torch.tensor(logits).movedim(-1, 1), torch.tensor(logits_label_map)
    return (
        overlap_arrays()
        | arrays
        | {"cross_entropy_torch": cross_entropy(*pair, reduction="none")}
    )


def crps_arrays():
    """CRPS of values under normal distributions, from a tenth of an sd to eight sd away."""
    import properscoring
    import scoringrules

    rng = np.random.default_rng(11)
    mean, sd = rng.uniform(1, 50, 40), rng.uniform(0.05, 5, 40)
    value = mean + sd * np.linspace(-8, 8, 40)
    return {
        "value": value,
        "mean": mean,
        "sd": sd,
        "crps_properscoring": properscoring.crps_gaussian(value, mean, sd),
        "crps_scoringrules": scoringrules.crps_normal(value, mean, sd),
    }


def losses_arrays():
    """MONAI's rival losses on the logits of metrics.npz.

    Its NACL pads the one-hot labels with zeros, so its shares at the border are not ours.
    """
    import torch
    from monai.losses import DiceLoss, NACLLoss

    golden = np.load(pathlib.Path(__file__).parent / "metrics.npz")
    labels = torch.tensor(golden["logits_label_map"])
    logits = torch.tensor(golden["logits"]).movedim(-1, 1)
    shares = NACLLoss(classes=4, dim=2).get_constr_target(labels).movedim(1, -1)
    dice = DiceLoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True,
        smooth_nr=1e-5, smooth_dr=1e-5,
    )  # fmt: skip
    return {"nacl_shares_monai": shares, "dice_monai": dice(logits, labels[:, None])}


if __name__ == "__main__":
    if sys.argv[1:] == ["tfa"]:
        save("tfa.npz", ["tensorflow-cpu", "tensorflow-addons", "numpy"], tfa_arrays())
    elif sys.argv[1:] == ["torch"]:
        save("transforms.npz", ["torch", "torchvision", "numpy"], transforms_arrays())
        peers = ["torch", "monai", "torchmetrics", "netcal", "scikit-learn", "scipy", "numpy"]
        save("metrics.npz", peers, metrics_arrays())
    elif sys.argv[1:] == ["crps"]:
        save("crps.npz", ["properscoring", "scoringrules", "scipy", "numpy"], crps_arrays())
    elif sys.argv[1:] == ["losses"]:
        save("losses.npz", ["torch", "monai", "numpy"], losses_arrays())
    else:
        sys.exit("usage: make_golden.py tfa|torch|crps|losses")
