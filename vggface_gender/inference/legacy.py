"""Heads as files of form 1 hold them, which gave probabilities and years, as heads of logits."""

import keras

from vggface_gender.base.tasks import TASKS

# The layer whose output a loss of ages took, before it was made years.
_AGE_LAYERS = ("age_distribution", "age_laplace", "age_years")


def with_logits(head: keras.Model) -> keras.Model:
    """The head with the same weights and without its softmaxes: an output a task, of logits."""
    config = head.get_config()
    for layer in config["layers"]:
        if layer["config"].get("activation") == "softmax":
            layer["config"]["activation"] = "linear"
    plain = keras.Model.from_config(config)
    plain.set_weights(head.get_weights())
    known = {layer.name: layer for layer in plain.layers}
    outputs = {}
    for task in head.output:
        if TASKS[task].is_classification:
            outputs[task] = plain.output[task]
        else:
            outputs[task] = next(known[name].output for name in _AGE_LAYERS if name in known)
    return keras.Model(plain.input, outputs, name="head")
