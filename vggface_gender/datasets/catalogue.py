"""The datasets that have a name, and the facts about them; nothing here needs TensorFlow."""

NAMED = {
    "UTKFace": "utk_face",
    "FairFace": "fair_face",
    "Adience": "adience",
    "AllAgeFaces": "all_age_faces",
    "GenderDataset": "gender_dataset",
    "GenderDataset_Small": "gender_dataset_small",
    "SyntheticFaces": "synthetic_faces",
}
