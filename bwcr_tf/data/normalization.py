"""Intensities of a scan: the bias field removed, two percentiles to 0 and 1 (Sec. 4)."""

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from bwcr_tf.data import measured

PERCENTILES = (2, 98)  # become 0 and 1 (Sec. 4)
FAINT = 1e-4  # where the largest value is a hundredth of that, N4 corrects another field
MIN_SHARE = 0.005  # of the pixels in the mask of N4, which else would follow a few bright spots


def normalize(image, settings, window=None):
    """N4, then the 2nd and 98th percentile to 0 and 1, clipped (Sec. 4): a sitk.Image.

    What is not measured (`measured.mask`) counts in neither, and becomes 0. With a `window`
    (low, high), these values become 0 and 1 instead, without N4: CT has no bias field.
    """
    padding, n4_shrink = measured.padding(image), 0 if window else settings.n4_shrink
    if n4_shrink:
        image = sitk.DICOMOrient(image, settings.orientation)
    mask = measured.mask(image, padding)
    image = measured.without_outliers(image, mask)
    if n4_shrink:
        image = correct_bias(image, n4_shrink, mask)
    low, high = window or percentiles(sitk.GetArrayViewFromImage(image)[mask])
    scaled = sitk.Clamp((image - float(low)) / float(high - low), sitk.sitkFloat32, 0.0, 1.0)
    return scaled if mask.all() else sitk.Mask(scaled, _image_of(mask, image))


def percentiles(pixels):
    """The values that become 0 and 1: PERCENTILES, or the extremes where these are one value."""
    low, high = np.percentile(pixels, PERCENTILES)
    return (low, high) if high > low else (pixels.min(), pixels.max())


def in_words(names, settings):
    """What is done to each of the channels `names`, as a model card says it."""
    n4 = f"N4 (shrink {settings.n4_shrink})" if settings.n4_shrink else "no N4"
    found = []
    for window in settings.windows:
        scaled = "{:g} and {:g}".format(*window) if window else "2nd and 98th percentile"
        found.append(f"{'no N4' if window else n4}, {scaled} to [0, 1]")
    if len(found) == 1:
        return found[0]
    return "; ".join(f"{name}: {text}" for name, text in zip(names, found, strict=True))


def correct_bias(image, shrink, mask=None):
    """N4 (Tustison et al., 2010) within an Otsu mask of 200 bins, the field estimated in plane on
    every `shrink`-th pixel (fewer where that leaves under 32) and applied at full resolution.

    In three levels of fitting, not ITK's four: a field that real hearts were multiplied by is
    removed as well, in half the time, and the finest level, of which the spacing of knots is that
    of a heart, made the result depend on how the scan was sampled (tools/geometry.py). A scan
    with under 0.5 % of its pixels, or too few for a spline, in the mask is returned as it is.

    Args:
      mask: which pixels [Z, Y, X] are measured, if not all; the box around them is corrected.
    """
    peak = float(np.abs(sitk.GetArrayViewFromImage(image)).max())
    if 0 < peak < FAINT:  # diffusivities in m^2/s, say
        return correct_bias(image / peak, shrink, mask) * peak
    if mask is None or mask.all():
        return _divide_by_field(image, shrink, sitk.OtsuThreshold(image, 0, 1, 200))
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    part = image[box[::-1]]
    if mask[box].all():
        part = correct_bias(part, shrink)
    else:
        inside = _image_of(mask[box], part)
        otsu = sitk.OtsuThreshold(part, inside, 0, 1, 200, True, 1) * inside
        part = _divide_by_field(part, shrink, otsu)
    start = [edge.start for edge in box[::-1]]
    whole = sitk.Cast(image, part.GetPixelID())
    return sitk.Paste(whole, part, part.GetSize(), destinationIndex=start)


def _image_of(mask, image):
    """A mask [Z, Y, X] as a sitk.Image on the grid of `image`."""
    found = sitk.GetImageFromArray(mask.astype(np.uint8))
    found.CopyInformation(image)
    return found


def _divide_by_field(image, shrink, mask):
    """`correct_bias` within a mask, a sitk.Image; in two dimensions where there is one slice."""
    if image.GetDepth() == 1:  # through which no spline fits
        plane = sitk.JoinSeries(_divide_by_field(image[:, :, 0], shrink, mask[:, :, 0]))
        plane.CopyInformation(image)
        return plane
    if sitk.GetArrayViewFromImage(mask).mean() < MIN_SHARE:
        return image
    factor = max(1, min(shrink, min(image.GetSize()[:2]) // 32))
    factors = [factor, factor, 1][: image.GetDimension()]
    filter_n4 = sitk.N4BiasFieldCorrectionImageFilter()
    filter_n4.SetNumberOfThreads(1)  # the volumes go in parallel
    filter_n4.SetMaximumNumberOfIterations([50] * 3)  # of each level
    try:
        filter_n4.Execute(*(sitk.Shrink(volume, factors) for volume in (image, mask)))
    except RuntimeError:  # too few pixels in the mask for a spline
        return image
    return image / sitk.Exp(
        sitk.Cast(filter_n4.GetLogBiasFieldAsImage(image), image.GetPixelID())
    )
