"""The frame of a crop: how much of the scene around a face it shows.

It is stated as the `padding` of `dlib.get_face_chip`: the margin on each side of the face, as a
fraction of its size.
"""

PADDING = 0.25  # of dlib's own chips, which dlib's network was trained on

# Whether pictures of one face each are aligned on the way in: those whose frame is not known, all
# of them, or none.
ALIGN = ("auto", "always", "never")
