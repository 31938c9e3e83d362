"""SyntheticFaces: labelled faces drawn by the package, the default where no data is at hand."""
