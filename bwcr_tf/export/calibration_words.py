"""How a model card says what was calibrated, on whom and how."""

from bwcr_tf.data import tiles

NONE_ASIDE = {
    True: "none were set aside",
    False: "none were set aside; the validation subjects, which selected the weights, were used",
}
MAPS = {
    "none": "probabilities are the network's own.",
    "temperature": "probabilities are softmax(logits / T) with T = {:.3f}.",
    "beta": "probabilities are those of a beta map of the network's (model.json has it).",
    "dirichlet": "probabilities are those of a Dirichlet map of the network's (model.json has it).",
}


def how(record):
    """A sentence on what chose the map."""
    if record["choice"] == "auto":
        tried, where = record["candidates"], "held out in turn (calibration.json)"
        helped = ", ".join(kind for kind in tried if tried[kind]["accepted"])
        if record["kind"] != "none":
            return f"Of {', '.join(tried)}, it gained most on calibration subjects {where}."
        if record["selected_weights"] and helped:
            return (
                f"On validation subjects {where}, {helped} helped, but none was taken, as these "
                "selected the weights; train with --num_calibration to let others choose."
            )
        return f"Of {', '.join(tried)}, none was accepted by subjects {where}."
    if "subjects" not in record:
        return "None was fitted." if record["kind"] == "none" else "It was given."
    return "It minimises the negative log-likelihood of pixels of the calibration subjects."


def calibrated(record, dataset):
    """What the probabilities were calibrated on, in words."""
    if "subjects" not in record:
        return "not calibrated on held-out data"
    done = "checked" if record["kind"] == "none" else "calibrated"
    return f"{done} on {len(record['subjects'])} subjects of {dataset}"


def beyond(record):
    """What bwcr_tf.predict makes of a scan larger than the grid, and why."""
    found = record.get("tiles")
    if not found:
        return "bwcr_tf.predict covers a larger scan in overlapping tiles."
    dice = [f"{100 * found['dice'][limit]:.1f}" for limit in ("1", str(tiles.LIMIT))]
    scored = f"(Dice {dice[0]}, in tiles {dice[1]} % of {len(found['subjects'])} subjects)"
    if found["max_tiles"] == 1:
        return (
            "Around it,\n  bwcr_tf.predict gives class frequencies of training, for tiles find "
            f"what is not there\n  {scored}; --max_tiles={tiles.LIMIT} asks for them. Volumes "
            "count\n  what is around it as the most frequent class."
        )
    return f"bwcr_tf.predict covers a larger scan in overlapping tiles\n  {scored}."
