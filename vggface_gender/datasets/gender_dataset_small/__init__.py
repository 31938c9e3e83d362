"""GenderDataset_Small: a tenth of GenderDataset."""
