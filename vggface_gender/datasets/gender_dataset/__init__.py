"""GenderDataset: Matroid's "agegender_cleaned"."""
