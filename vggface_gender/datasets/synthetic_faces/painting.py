"""A person painted frontally, part over part, from the back to the front."""

import numpy as np

from vggface_gender.datasets.synthetic_faces import outlines, surface
from vggface_gender.datasets.synthetic_faces.appearance import Face
from vggface_gender.datasets.synthetic_faces.canvas import Canvas, cloud
from vggface_gender.datasets.synthetic_faces.outlines import curve, ellipse, pair, ribbon, symmetric
from vggface_gender.datasets.synthetic_faces.scene import Scene


def paint(
    canvas: Canvas, face: Face, *, scene: Scene, depth: np.ndarray, rng: np.random.Generator
) -> None:
    """Paint the parts from back to front, lighting the skin once the features are on it."""
    hair = _hair_texture(canvas, face, rng)
    head = canvas.mask(1.02 * outlines.head(face), blur=0.01)
    if not face.bald:
        _hair_behind(canvas, face, hair)
    _neck(canvas, face, scene)
    _head(canvas, face, rng)
    _eyes(canvas, face)
    _brows(canvas, face)
    _nose(canvas, face)
    _mouth(canvas, face)
    _beard(canvas, face, hair, head)
    _wrinkles(canvas, face)
    surface.light(canvas, scene, depth=depth, head=head)
    if not face.bald:
        _hair_before(canvas, face, hair)
    if face.glasses:
        _glasses(canvas, face)


def _hair_behind(canvas: Canvas, face: Face, hair: np.ndarray) -> None:
    width = face.cheek_width + 0.05 + face.hair_volume
    end = face.hair_length
    half = [(0, -2.2), (width, -1.7), (width + 0.05, -0.6), (width, 0.4 * end - 0.2), (width, end)]
    canvas.paint(0.8 * hair, symmetric([*half, (0.5, end), (0, end)]), blur=0.02)


def _neck(canvas: Canvas, face: Face, scene: Scene) -> None:
    """The neck, in the chin's shadow, the clothes and the ears."""
    width = 0.82 * face.jaw_width
    neck = symmetric([(0, 0.9), (width, 0.9), (width, 1.7), (width + 0.4, 2.5), (0, 2.5)])
    canvas.paint(0.52 * face.skin, neck, blur=0.015)
    collar = face.chin + 0.3
    clothes = [(0, collar + 0.12), (width, collar), (1.5, collar + 0.1), (2.2, 2.6), (0, 2.6)]
    canvas.paint(scene.clothes, symmetric(clothes), blur=0.02)
    ear = ellipse((face.cheek_width + 0.01, 0.2), 0.12, height=0.3)
    canvas.paint(0.78 * face.skin, *pair(ear), blur=0.02)


def _head(canvas: Canvas, face: Face, rng: np.random.Generator) -> None:
    """The skin: mottled, redder at the cheeks and the nose, darker in the eye sockets."""
    mottling = cloud(rng, 24, side=canvas.side) * (1.5 + 5 * face.wrinkles)
    canvas.paint(face.skin[:, None, None] + mottling, outlines.head(face), blur=0.01)
    flush = face.skin * (1.02, 0.86, 0.86)
    canvas.tint(flush, (0, face.nose - 0.1), 0.14, 0.11, 0.4)
    for side in (-1, 1):
        canvas.tint(flush, (side * 0.62, 0.62), 0.19, 0.17, 0.5 + 0.4 * face.makeup)
        canvas.tint(face.skin * (0.7, 0.62, 0.62), (side * 0.5, -0.02), 0.19, 0.12, 0.6)


def _eyes(canvas: Canvas, face: Face) -> None:
    """White, iris and pupil between the lids, then the lids' lines and crease."""
    width, height, tilt = face.eye_width, face.eye_height, face.eye_tilt
    inner, outer = (0.5 - width, 0.2 * tilt), (0.5 + width, -tilt)
    above, below = -1.6 * height, 1.15 * height
    upper = curve([inner, (0.5 - 0.5 * width, above), (0.5 + 0.6 * width, above - tilt), outer])
    lower = curve([inner, (0.5 - 0.5 * width, below), (0.5 + 0.5 * width, below), outer])
    opening = pair(np.concatenate([upper, lower[::-1]]))
    canvas.paint((226, 220, 214), *opening, blur=0.008)
    between_lids = canvas.mask(*opening)
    y = -0.15 * height
    rim, iris, pupil = (pair(ellipse((0.5, y), r, height=r)) for r in (0.105, 0.084, 0.045))
    canvas.paint(0.55 * face.iris, *rim, blur=0.006, within=between_lids)
    canvas.paint(face.iris, *iris, blur=0.015, within=between_lids)
    canvas.paint((12, 10, 10), *pupil, blur=0.006, within=between_lids)
    glints = [
        ellipse((x - 0.035, y - 0.04), 0.02, height=0.02) for x in (-0.5, 0.5)
    ]  # of one light
    canvas.paint((250, 250, 250), *glints, opacity=0.85, blur=0.005)
    lashes = pair(ribbon(upper, 0.045 + 0.03 * face.makeup))
    canvas.paint((34, 24, 22), *lashes, opacity=0.85, blur=0.01)
    crease = pair(ribbon(upper - (0, 0.04 + 0.3 * height), 0.04))
    canvas.paint(0.5 * face.skin, *crease, opacity=0.55, blur=0.015)
    canvas.paint(0.5 * face.skin, *pair(ribbon(lower, 0.03)), opacity=0.55, blur=0.012)


def _brows(canvas: Canvas, face: Face) -> None:
    y, tilt = face.brow, face.eye_tilt
    line = [(0.17, y + 0.05), (0.4, y - 0.02), (0.65, y - 0.05 - tilt), (0.9, y + 0.07 - tilt)]
    brow = ribbon(curve(line), 1.7 * face.brow_thickness)
    canvas.paint(0.7 * face.hair, *pair(brow), opacity=0.8, blur=0.018)


def _nose(canvas: Canvas, face: Face) -> None:
    """The shades beside the bridge, the wings' edges and the nostrils; light does the rest."""
    width, base = face.nose_width, face.nose
    bridge = ribbon(curve([(0.17, -0.1), (0.13, 0.2), (0.16, base - 0.25)]), 0.1)
    canvas.paint(0.7 * face.skin, *pair(bridge), opacity=0.2, blur=0.05)
    edge = [(0.72 * width, base - 0.2), (width, base - 0.1), (0.9 * width, base + 0.02)]
    wing = ribbon(curve(edge), 0.045)
    canvas.paint(0.5 * face.skin, *pair(wing), opacity=0.6, blur=0.018)
    nostril = ellipse((0.45 * width, base), 0.36 * width, height=0.035)
    canvas.paint(0.22 * face.skin, *pair(nostril), opacity=0.85, blur=0.015)


def _mouth(canvas: Canvas, face: Face) -> None:
    """The lips, around a gap that shows the teeth, and the shades under nose and lower lip."""
    width, gap, lips = face.mouth_width, face.mouth_open, face.lips
    corner = (width, face.mouth - face.smile)
    line = face.mouth + 0.02 * np.sign(face.smile)
    bottom = line + gap + lips
    canvas.tint(0.6 * face.skin, (0, face.nose + 0.09), 0.14, 0.06, 0.4)
    canvas.tint(0.6 * face.skin, (0, bottom + 0.07), 0.14, 0.045, 0.5)
    upper = [(0, line - 0.62 * lips), (0.2 * width, line - 0.8 * lips), corner, corner, (0, line)]
    canvas.paint(0.82 * face.lip, symmetric(upper), opacity=0.85, blur=0.014)
    lower = [(0, line), corner, corner, (0.55 * width, bottom - 0.1 * lips), (0, bottom)]
    canvas.paint(face.lip, symmetric(lower), opacity=0.85, blur=0.014)
    if gap > 0.03:
        end, floor = (0.85 * width, corner[1]), line + gap
        inside = symmetric([(0, line - 0.02), end, (0.5 * width, floor), (0, floor)])
        canvas.paint((62, 26, 26), inside, blur=0.008)
        teeth = inside * (0.92, 1) - (0, 0.3 * gap)
        canvas.paint((222, 214, 200), teeth, blur=0.01, within=canvas.mask(inside))
    else:
        closed = ribbon(curve([(-corner[0], corner[1]), (0, line), corner]), 0.035)
        canvas.paint(0.32 * face.lip, closed, opacity=0.85, blur=0.012)


def _beard(canvas: Canvas, face: Face, hair: np.ndarray, head: np.ndarray) -> None:
    """Beard and moustache over the skin, the mouth left free."""
    if not (face.beard or face.moustache):
        return
    mouth = ellipse((0, face.mouth + 0.03), 0.8 * face.mouth_width, height=face.lips + 0.05)
    free = head * (1 - canvas.mask(mouth, blur=0.03))
    dark = 0.75 * hair
    top, wide = face.mouth - 0.02, face.cheek_width + 0.1
    half = [(0, top + 0.05), (0.5, top - 0.1), (0.8, 0.6), (wide, 0.1), (wide, 2.2), (0, 2.2)]
    canvas.paint(dark, symmetric(half), opacity=face.beard, blur=0.05, within=free)
    top, end = face.nose + 0.1, (1.05 * face.mouth_width, face.mouth + 0.08)
    half = [(0, top), (0.25, top), end, end, (0.1, face.mouth - 0.02), (0, face.mouth - 0.04)]
    canvas.paint(dark, symmetric(half), opacity=face.moustache, blur=0.025, within=free)


def _wrinkles(canvas: Canvas, face: Face) -> None:
    """Lines of the forehead and beside the eyes, bags under them, folds from nose to mouth."""
    dark, deep = 0.58 * face.skin, face.wrinkles
    rows = face.brow - 0.14 - 0.11 * np.arange(3)
    forehead = [curve([(-0.6, y + 0.03), (0, y - 0.03), (0.6, y + 0.03)]) for y in rows]
    brow_lines = [ribbon(line, 0.03) for line in forehead]
    canvas.paint(dark, *brow_lines, opacity=0.6 * deep, blur=0.014)
    x = 0.5 + face.eye_width
    crows_feet = [
        outline
        for rise in (-0.1, 0, 0.1)
        for outline in pair(
            ribbon(curve([(x + 0.08, 0.02 + rise), (x + 0.2, 0.02 + 2 * rise)]), 0.02)
        )
    ]
    canvas.paint(dark, *crows_feet, opacity=0.6 * deep, blur=0.014)
    bag = ribbon(curve([(0.3, 0.17), (0.5, 0.24), (0.72, 0.17)]), 0.05)
    canvas.paint(dark, *pair(bag), opacity=0.1 + 0.7 * deep, blur=0.014)
    start, end = face.nose_width + 0.04, face.mouth_width + 0.12
    line = [(start, face.nose - 0.1), (0.85 * end, face.nose + 0.1), (end, face.mouth)]
    fold = ribbon(curve(line), 0.05)
    opacity = min(0.15 + 0.6 * deep + 2 * max(face.smile, 0), 1)
    canvas.paint(dark, *pair(fold), opacity=opacity, blur=0.014)


def _hair_before(canvas: Canvas, face: Face, hair: np.ndarray) -> None:
    """The hair above the hairline and, where long, down the sides of the face, with its shadow."""
    width, top, end = face.cheek_width, face.hairline, face.hair_length
    outside = width + 0.05 + face.hair_volume
    temple = min(max(-0.45, top + 0.25), 0)
    inner = [(0, top), (0.6 * width, top + 0.04), (0.88 * width, temple), (0.98 * width, 0)]
    if end > 0.5:
        edge = [(0.99 * width, 0.6), (0.97 * width, end), (outside, end), (outside, 0.5)]
    else:
        edge = [(width, max(end + 0.25, 0.02)), (outside - 0.05, -0.1)]
    outline = symmetric([*inner, *edge, (outside, -0.7), (outside, -2.2), (0, -2.2)])
    outline[:, 1] += face.parting * outline[:, 0]
    person = canvas.rgba[3].copy()  # nothing to throw a shadow on beside it
    shadow = outline + np.array([0, 0.05])
    canvas.paint(0.45 * face.skin, shadow, opacity=0.35, blur=0.04, within=person)
    canvas.paint(hair, outline, blur=0.015 + 0.03 * face.curl)


def _glasses(canvas: Canvas, face: Face) -> None:
    frame = (30, 26, 26)
    lens = ellipse((0.5, 0.04), 0.36, height=0.27)
    canvas.paint((235, 240, 245), *pair(lens), opacity=0.1)
    rim = ribbon(np.concatenate([lens, lens[:1]]), 0.05, pointed=False)
    canvas.paint(frame, *pair(rim), opacity=0.9, blur=0.006)
    arm = ribbon(np.array([(0.85, -0.03), (face.cheek_width + 0.05, -0.06)]), 0.06, pointed=False)
    canvas.paint(frame, *pair(arm), opacity=0.9, blur=0.006)
    bridge = ribbon(curve([(-0.17, 0), (0, -0.05), (0.17, 0)]), 0.06)
    canvas.paint(frame, bridge, opacity=0.9)


def _hair_texture(canvas: Canvas, face: Face, rng: np.random.Generator) -> np.ndarray:
    """The hair's colour, (3, side, side): strands from the crown, or tufts where curly."""
    slope = canvas.x / (canvas.y[:, None] + 2.2)  # of the line to the crown
    strands = rng.standard_normal(256, np.float32)[(128 + 55 * slope).astype(int)]
    tufts = cloud(rng, 60, side=canvas.side)
    gloss = 0.3 * (1 - face.curl) * np.exp(-(((canvas.y[:, None] + 0.75) / 0.3) ** 2))
    light = 1 + 0.16 * ((1 - face.curl) * strands + face.curl * tufts) + gloss
    return np.minimum(light * face.hair[:, None, None], 255)
