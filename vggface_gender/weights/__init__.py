"""Other frameworks' weight files, read into NumPy arrays. No Keras here."""
