"""A head from formulas: skin, eyes, mouth, beard, hair, glasses, lit and turned."""

from __future__ import annotations

import cv2
import numpy as np

from faketagger_tf.drawn.identity import HAIRS, IRISES, SKINS, Identity
from faketagger_tf.drawn.scene import (
    Field,
    closed_curve,
    linear,
    mix,
    noise,
    smooth,
)

CENTRE = -0.12  # v of the middle of the head


def _head_points(face: Identity, drop: float):
    """The outline of the skull and jaw; `drop` lowers the jaw."""
    width = face.face_width
    return [
        (0.0, CENTRE - face.forehead - 0.04),
        (0.62 * width, CENTRE - 0.93 * face.forehead),
        (0.97 * width, -0.68),
        (1.02 * width, -0.15),
        (0.97 * width, 0.22),
        ((0.78 + 0.13 * face.jaw) * width, 0.62 + 0.4 * drop),
        ((0.42 + 0.16 * face.jaw) * width, 0.90 + 0.8 * drop),
        (0.20 * width, face.chin + drop),
        (0.0, face.chin + 0.015 + drop),
    ]


def _height(field, face, scene, drop):
    """Relief of the features over the round of the head, in units."""
    smile = max(scene.smile, 0.0)
    tip = -0.30 + face.nose_length
    relief = -0.13 * field.bumps(face.eye_spacing - 0.02, -0.32, 0.22, 0.13)
    relief += 0.045 * field.bumps(0.40, -0.30 - face.brow_height, 0.26, 0.12)
    cheek = 0.12 + 0.05 * (1 - smile)
    relief += (0.05 + 0.06 * smile) * field.bumps(0.47, cheek, 0.22, 0.2)
    relief -= 0.05 * field.bumps(0.62, 0.45, 0.16, 0.22)
    # Nose: a ridge that rises from between the eyes to the tip, and falls steeply.
    v = field.v[:, 0]
    rise = smooth(-0.45, tip, v) ** 1.3
    fall = 1 - smooth(tip - 0.02, tip + 0.15, v)
    width = 0.075 + 0.32 * face.nose_width * smooth(-0.35, tip, v)
    ridge = np.exp(-((field.u / width[:, None]) ** 2))
    relief += 0.8 * face.nose_height * (rise * fall)[:, None] * ridge
    relief += 0.06 * field.bump(0, tip - 0.01, 0.10, 0.085)
    relief += 0.075 * field.bumps(0.80 * face.nose_width, tip + 0.02, 0.06, 0.07)
    # Folds from the nose to the corners of the mouth.
    depth = 0.006 + 0.018 * smile + 0.02 * face.age
    line = 0.9 * face.nose_width + 0.04 + 0.36 * np.clip(v - tip + 0.03, 0, 1) ** 0.7
    along = smooth(tip - 0.05, tip + 0.1, v) * (1 - smooth(0.62, 0.85, v))
    offset = np.abs(field.u) - line[:, None]
    relief -= depth * along[:, None] * np.exp(-((offset / 0.045) ** 2))
    relief += 0.07 * field.bump(0, 0.90 + drop, 0.22, 0.12)
    relief -= 0.035 * field.bump(0, 0.78 + drop, 0.2, 0.05)
    relief -= 0.015 * field.bump(0, tip + 0.2, 0.035, 0.08)
    if face.age > 0.45:
        lines = np.sin((v + 0.02 * np.sin(7 * v)) * 55) * smooth(-0.60, -0.68, v)
        lines *= 1 - smooth(-0.90, -0.98, v)
        relief += 0.007 * (face.age - 0.3) * lines[:, None] * np.exp(-(field.u**2) * 4)
    return relief


def skin_colour(face):
    place = np.clip(face.skin, 0, 1) * (len(SKINS) - 1)
    return linear([np.interp(place, range(len(SKINS)), c) for c in SKINS.T])


def _skin(field, face):
    """Albedo of the skin, stable for an identity."""
    base = skin_colour(face)
    shift_u, shift_v = face.texture % 509, face.texture // 509 % 509
    grain = 1.25 * field.resolution / 48
    x, y = field.pixels(field.u, field.v)
    pores = noise("skin", x / grain + shift_u, y / grain + shift_v)
    cloud = noise("cloud", x / grain * 1.5 + shift_v, y / grain * 1.5 + shift_u)
    tone = 1 + (0.035 + 0.03 * face.age) * pores + 0.04 * cloud
    skin = base * tone[..., None]
    red = field.bumps(0.48, 0.14, 0.22, 0.18) + 0.8 * field.bump(0, 0.12, 0.14, 0.12)
    red = red + 0.35 * field.bump(0, 0.92, 0.2, 0.1)
    red = (0.10 + 0.30 * face.redness) * (1 - 0.6 * face.skin) * red
    skin *= 1 - red[..., None] * np.array([0.0, 0.55, 0.5], np.float32)
    dark = field.bumps(face.eye_spacing, -0.24, 0.19, 0.13) * (0.14 + 0.18 * face.age)
    skin *= 1 - dark[..., None] * np.array([0.8, 1.0, 0.9], np.float32)
    if face.freckles > 0.1:
        spots = noise("curl", x / grain * 2.4 + shift_v, y / grain * 2.4 + 77)
        spots = smooth(1.1, 1.9, spots) * face.freckles
        spots *= np.exp(-(((field.v - 0.05) / 0.35) ** 2))
        skin *= 1 - spots[..., None] * np.array([0.25, 0.42, 0.5], np.float32)
    return skin


def _draw_eye(field, image, wet, face, scene, side):
    """Draws one eye into the albedo, and its highlights into `wet`."""
    spacing, width = side * face.eye_spacing, face.eye_width
    part, at = field.window(
        spacing - 2 * width, -0.30 - 0.27, spacing + 2 * width, -0.30 + 0.25
    )
    out = side * (part.u - spacing)  # towards the temple
    v = part.v + 0.30 + face.eye_tilt * out
    x = np.clip(out / width, -1, 1)
    opening = (1 - 0.9 * scene.blink) * (1 - 0.22 * max(scene.smile, 0))
    opening *= 1 + 0.15 * scene.brow_raise
    arch = (1 - x * x) ** 0.75
    upper = -face.eye_height * opening * arch * (1 - 0.12 * x) + 0.03 * scene.blink
    lower = 0.62 * face.eye_height * (1 - 0.35 * scene.blink) * (1 - x * x)
    lower = np.maximum(lower * (1 + 0.15 * x), upper)
    eye = part.inside(np.maximum(upper - v, v - lower), 1.3)
    eye *= part.inside(np.abs(out) - width)

    target = image[at]
    # Lid crease, and the shade that the brow throws on the lid.
    crease = np.abs(v - upper + 0.045 * (1 - 0.5 * x * x) - 0.02 * scene.blink)
    strength = 0.4 * np.exp(-((crease / 0.018) ** 2)) * (np.abs(out) < 1.15 * width)
    target *= 1 - strength[..., None]
    bag = np.abs(v - lower - 0.07 * arch) / 0.03
    bag = (0.08 + 0.2 * face.age) * np.exp(-(bag**2)) * arch
    target *= 1 - bag[..., None]

    gaze_u = spacing + 0.055 * scene.gaze[0] + 0.02 * scene.yaw
    gaze_v = -0.30 - 0.012 + 0.03 * scene.gaze[1]
    du, dv = part.u - gaze_u, part.v - gaze_v
    radius = np.hypot(du, dv)
    ball = np.array([0.72, 0.69, 0.66], np.float32) * np.ones([*part.shape, 1])
    ball *= (1 - 0.35 * np.clip(np.abs(x), 0, 1) ** 3)[..., None]
    corner = np.exp(-(((out + width * 0.93) / 0.03) ** 2))
    mix(ball, np.array([0.55, 0.25, 0.22], np.float32), 0.8 * corner)
    iris = linear(IRISES[face.iris])
    rays = 1 + 0.25 * np.sin(11 * np.arctan2(dv, du) + face.texture % 7)
    disc = iris * (rays * (0.75 + 5 * np.clip(radius - 0.03, 0, 0.06)))[..., None]
    disc *= (1 - 0.65 * smooth(0.066, 0.09, radius))[..., None]
    mix(ball, disc, part.inside(radius - 0.088, 1.5))
    mix(ball, np.array([0.008, 0.007, 0.007], np.float32), part.inside(radius - 0.036))
    # The upper lid and its lashes shade the eyeball.
    ball *= (1 - 0.6 * np.exp(-np.clip(v - upper, 0, 1) / 0.03))[..., None]
    mix(target, ball, eye)

    lash = np.exp(-(((v - upper) / (0.016 + 0.008 * (x > 0) * x)) ** 2))
    lash *= part.inside(np.abs(out - 0.01) - 1.07 * width, 3)
    mix(target, linear((30, 20, 18)), 0.85 * lash)
    line = np.exp(-(((v - lower) / 0.014) ** 2)) * arch
    mix(target, target * 0.5, 0.55 * line * (1 - eye))
    spot_u = gaze_u + 0.035 * np.sign(scene.light[0] + 0.01)
    spot = np.hypot(part.u - spot_u, part.v - gaze_v + 0.03)
    wet[at] += 0.9 * part.inside(spot - 0.018, 1.5) * eye
    return eye, at


def _draw_brow(field, image, face, scene, side, colour):
    left = 0.05 if side > 0 else -0.85
    part, at = field.window(left, -0.85, left + 0.80, -0.38)
    out = side * part.u
    t = np.clip((out - 0.16) / 0.52, 0, 1)
    lift = 0.05 * scene.brow_raise
    frown = 0.03 * min(scene.brow_raise, 0) * (1 - t)
    line = -0.30 - face.brow_height - lift - frown
    line = line - face.brow_arch * np.sin(np.pi * t**0.8) * 1.2 + 0.05 * t * t
    half = face.brow_thickness * (1 - 0.72 * t**1.5)
    x, y = part.pixels(part.u, part.v)
    hairs = noise("strand", (y - side * 0.9 * x) * 1.6 + 40, (x * side + y) * 2.2)
    distance = np.abs(part.v - line) - half + 0.012 * hairs
    ends = smooth(0.12, 0.2, out) * (1 - smooth(0.62, 0.72, out))
    mask = np.clip(0.5 - distance / 0.045, 0, 1) * ends
    mix(image[at], colour * 0.7, 0.85 * mask)


def _draw_mouth(field, image, wet, face, scene, drop):
    smile, jaw = scene.smile + 0.35, 1.25 * drop
    width = face.mouth_width * (1 + 0.16 * max(smile, 0) - 0.10 * scene.mouth_open)
    part, at = field.window(-0.6, 0.38, 0.6, 1.02)
    target = image[at]
    x = np.clip(part.u / width, -1, 1)
    arch = 1 - x * x
    middle = 0.624 - 0.105 * smile * (x * x - 0.35)
    bow = (
        1
        - 0.22 * np.exp(-((x / 0.13) ** 2))
        + 0.12 * np.exp(-(((abs(x) - 0.27) / 0.15) ** 2))
    )
    thin = 1 - 0.25 * max(smile, 0)
    upper_edge = middle - face.upper_lip * thin * arch**0.8 * bow - 0.2 * jaw * arch
    teeth_gap = 0.055 * max(smile - 0.35, 0) * arch
    upper_in = middle - 0.15 * jaw * arch - 0.3 * teeth_gap
    lower_in = middle + jaw * arch + teeth_gap
    lower_edge = lower_in + face.lower_lip * thin * np.sqrt(arch)
    v = part.v
    ends = part.inside(np.abs(part.u) - width)

    skin = target.copy()
    tint = np.array([0.76, 0.36, 0.36], np.float32)
    vivid = np.array([0.70, 0.14, 0.19], np.float32)
    lips = skin * (tint + face.lip_colour * (vivid - tint))
    x_pixel, y_pixel = part.pixels(part.u, part.v)
    fine = noise("strand", x_pixel * 1.4 + 9, y_pixel * 0.4)
    lips *= (1 + 0.07 * fine)[..., None]
    lips *= (1 - 0.22 * (v < middle))[..., None]
    mask = part.inside(np.maximum(upper_edge - v, v - lower_edge), 2.2) * ends
    mix(target, lips, 0.9 * mask)

    inner = part.inside(np.maximum(upper_in - v, v - lower_in), 1.3) * ends
    inside = np.ones_like(target) * np.array([0.06, 0.015, 0.015], np.float32)
    tongue = np.exp(-(((v - lower_in) / 0.07) ** 2)) * arch
    mix(inside, np.array([0.32, 0.10, 0.10], np.float32), 0.8 * tongue)
    row = 0.085 * (1 - 0.35 * x * x)
    teeth = part.inside(np.maximum(upper_in - v, v - upper_in - row))
    gaps = 0.78 + 0.22 * np.abs(np.sin(np.pi * part.u / 0.075 + 0.5 * np.pi)) ** 0.25
    ivory = np.array([0.74, 0.70, 0.62], np.float32)
    ivory = ivory * (gaps * (1 - 0.75 * np.abs(x) ** 3))[..., None]
    mix(inside, ivory, teeth)
    mix(target, inside, inner)
    # Without an opening the lips meet in a dark line.
    line = np.exp(-(((v - 0.5 * (upper_in + lower_in)) / 0.014) ** 2))
    line *= part.inside(np.abs(part.u) - 1.03 * width, 2) * (1 - inner)
    closed = 1 - smooth(0.0, 0.03, float(np.max(lower_in - upper_in)))
    edge = np.exp(-((np.hypot(np.abs(part.u) - width, v - middle) / 0.035) ** 2))
    target *= (1 - 0.75 * np.maximum(closed * line, 0.6 * edge))[..., None]
    shine = np.exp(-(((v - lower_in - 0.4 * face.lower_lip) / 0.022) ** 2))
    shine *= np.exp(-((part.u / 0.14) ** 2)) * mask
    wet[at] += (0.05 + 0.08 * face.lip_colour) * shine

    relief = np.zeros(field.shape, np.float32)
    body = np.sin(np.pi * np.clip((v - upper_edge) / 0.14, 0, 1)) * 0.04
    body += np.sin(np.pi * np.clip((v - lower_in) / 0.12, 0, 1)) * 0.05
    relief[at] = body * arch * ends
    return relief


def _draw_beard(field, image, face, colour, q):
    if face.beard == "none":
        return
    u, v = np.abs(field.u), field.v
    jawline = smooth(0.12, 0.42, v - 0.35 * (q - 0.75)) * smooth(0.42, 0.66, q)
    cheek = smooth(0.0, 0.14, v - 0.30 + 0.95 * (u - 0.45))
    full = np.clip(cheek * smooth(0.3, 0.45, q), 0, 1) * smooth(0.15, 0.4, v)
    lip = np.exp(-(((v - 0.50) / 0.055) ** 2)) * (1 - smooth(0.33, 0.43, u))
    goatee = smooth(0.74, 0.80, v) * (1 - smooth(0.26, 0.36, u))
    side = np.exp(-(((u - 0.40) / 0.06) ** 2)) * smooth(0.48, 0.56, v)
    soul = np.exp(-((u / 0.07) ** 2)) * smooth(0.72, 0.78, v)
    shape = {
        "stubble": 0.55 * np.maximum(full, lip),
        "moustache": lip,
        "goatee": np.maximum.reduce([lip, goatee, side, soul]),
        "full": np.maximum.reduce([full * jawline, lip, goatee, side, soul]),
    }[face.beard]
    shape = np.clip(shape, 0, 1)
    if face.beard != "stubble":
        keep = np.hypot(u / (1.1 * face.mouth_width), (v - 0.64) / 0.10)
        shape *= smooth(0.75, 1.1, keep)
    x, y = field.pixels(field.u, field.v)
    turn = 0.5 * np.sign(field.u) * u
    hairs = noise("strand", (x + turn * y) * 1.2 + face.texture % 300, y * 3.5)
    dots = noise("skin", x * 1.2, y * 1.2)
    cover = np.clip(1.4 * shape + 0.06 * hairs * (shape > 0.02) - 0.15, 0, 1)
    if face.beard == "stubble":
        cover = shape * (0.75 + 0.2 * dots)
    tone = colour * (0.85 + 0.15 * hairs)[..., None].clip(0.4, 1.5)
    mix(image, tone, np.clip(0.93 * cover, 0, 1))


def _normals(field, height):
    """Unit normals (u, v, z) of a height field, [rows, columns, 3]."""
    # Sobel over 3x3 pixels sums to eight times the difference per pixel.
    scale = field.resolution / 8
    du = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=scale)
    dv = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=scale)
    norm = 1 / np.sqrt(1 + du * du + dv * dv)
    return np.stack([-du * norm, -dv * norm, norm], -1)


def light_on(scene, normals, wrap=0.25):
    """RGB light that arrives at a surface: a key light and a sky."""
    # Head and light turn together here: the pose is small against the light's angle.
    key = np.clip((normals @ scene.light + wrap) / (1 + wrap), 0, None)
    sky = 0.68 - 0.32 * normals[..., 1]
    fill = 0.12 * np.clip(-normals[..., 0] * np.sign(scene.light[0]), 0, 1)
    return key[..., None] * scene.key + (sky + fill)[..., None] * scene.ambient


def _hair_shade(field, face, scene, outer):
    """RGB of the hair at every point, lit."""
    x, y = field.pixels(field.u, field.v)
    scale = 48 / field.resolution
    if face.hair_style == "curly":
        strands = noise("curl", x * scale * 1.3 + face.texture % 400, y * scale * 1.3)
        contrast = 0.42
    else:
        du, dv = field.u - face.hair_part * 0.6, field.v + 1.55
        angle = np.arctan2(du, dv + 0.2)
        far = np.hypot(du, dv)
        wave = 0.05 if face.hair_style in ("long", "bob") else 0.015
        angle += wave * np.sin(5 * far + 2 * angle + face.texture % 6)
        strands = noise("strand", angle * 95 + face.texture % 400, far * 48)
        contrast = 0.30
    tone = np.clip(1 + contrast * strands, 0.25, 2.2)
    round_ = 0.85 * np.sqrt(np.clip(1 - outer * outer, 0, None) + 0.10)
    normals = _normals(field, round_.astype(np.float32) + 0.012 * strands)
    light = light_on(scene, normals, 0.4)
    colour = linear(HAIRS[face.hair])
    band = np.exp(-(((outer - 0.80 + 0.25 * field.u * scene.light[0]) / 0.10) ** 2))
    band *= np.clip(0.5 - field.v, 0, 1) * np.clip(0.7 + 0.5 * strands, 0, 2)
    shine = (0.02 + 0.45 * colour) * band[..., None] * scene.key
    return colour * tone[..., None] * light * 0.9 + 0.8 * shine


def _hair_masks(field, face):
    """Returns (front mask, back mask, place between centre and outline 0..1)."""
    width, top = face.face_width, CENTRE - face.forehead
    volume, style = face.hair_volume, face.hair_style
    x, y = field.pixels(field.u, field.v)
    scale = 48 / field.resolution
    rough = noise("strand", x * scale * 1.3 + face.texture % 200, y * scale * 1.3)
    amount, fray = 0.018, 0.009 if style in ("long", "receding") else 0.018
    if style == "curly":
        rough = noise("curl", x * scale * 0.8, y * scale * 0.8 + face.texture % 200)
        amount, volume = 0.05, volume + 0.16
    lift = {"bald": 0.0, "receding": 0.3, "short": 0.8}.get(style, 1.0) * volume
    end = {"long": 2.4, "bob": 0.82}.get(style, 0.0)
    sides = 0.45 if style in ("bald", "receding", "short", "fringe") else 1.0
    reach = width * 1.02 + sides * lift
    points = [
        (0.0, top - 0.05 - lift),
        (0.66 * width + 0.5 * lift, top + 0.06 - 0.8 * lift),
        (width + sides * lift * 0.9, -0.70),
        (reach, -0.18),
        (0.99 * width + (0.6 * lift if style == "curly" else 0.0), 0.12),
        (0.5 * width, 0.35),
        (0.0, 0.40),
    ]
    radius, curve = closed_curve(field, CENTRE, points)
    outer = radius / curve
    cap = field.inside((outer - 1) * curve + amount * rough, 1.6)

    # The face's opening in the cap.
    line, temple = {
        "short": (-0.86, -0.62),
        "fringe": (-0.60, -0.50),
        "long": (-1.0, -0.56),
        "bob": (-0.58, -0.48),
        "curly": (-0.84, -0.60),
        "receding": (-1.08, -0.80),
        "bald": (-1.6, -0.9),
    }[style]
    opening = [
        (0.0, line),
        (0.38 * width, line + 0.02),
        (0.80 * width, 0.5 * (line + temple)),
        (0.93 * width, temple + 0.1),
        (0.955 * width, -0.2),
        (0.99 * width, 0.15),
        (0.9 * width, 0.5),
        (0.0, 1.2),
    ]
    if style == "bald":
        return None, None, outer
    hole_radius, hole = closed_curve(field, CENTRE, opening)
    slant = 0.10 * face.hair_part * field.u if style != "receding" else 0
    inner = hole_radius - hole + slant + fray * rough
    if style == "receding":
        inner += 0.10 * np.exp(-((field.u / 0.22) ** 2)) * (field.v < -0.6)
    if style == "long":  # a parting that opens the forehead in the middle
        inner -= 0.06 * np.exp(-(((field.u - face.hair_part * 0.5) / 0.16) ** 2))
    front = cap * np.clip(0.5 + inner / 0.08, 0, 1)
    if style in ("short", "receding", "fringe"):
        front *= 1 - smooth(-0.15, 0.12, field.v + 0.03 * rough)
    if not end:
        return front, None, outer
    u, v = np.abs(field.u), field.v
    flare = reach + 0.10 * smooth(-0.1, 0.9, v) + 0.02 * np.sin(4 * v + field.u)
    flare = flare - (0.25 * smooth(0.5, 0.85, v) if style == "bob" else 0.0)
    tail = np.maximum(u - flare + amount * rough, v - end + 0.05 * rough)
    low = np.where(v > -0.3, tail, 1.0)
    back = field.inside(np.minimum(low, (outer - 1) * curve) + 0.03, 1.6)
    edge = width * (0.93 + 0.02 * np.sin(3 * v)) - 0.25 * smooth(0.45, 1.3, v)
    locks = field.inside(np.maximum(tail, edge - u + 0.02 * rough), 2.0) * (v > -0.5)
    return np.maximum(front, locks), back, outer


def _draw_glasses(field, image, alpha, face, scene):
    if not face.glasses:
        return
    u, v = np.abs(field.u), field.v + 0.28
    # Rounded rectangles, as superellipses.
    wide, high = (0.29, 0.20) if face.glasses == 1 else (0.27, 0.22)
    power = 3.5 if face.glasses == 1 else 2.2
    x = np.abs(u - face.eye_spacing) / wide
    y = np.abs(v) / high
    shape = (x**power + y**power + 1e-6) ** (1 / power)
    distance = (shape - 1) * min(wide, high)
    thick = 0.022 if face.glasses == 1 else 0.012
    rim = field.inside(np.abs(distance) - thick, 1.3)
    gap = face.eye_spacing - wide
    bridge = field.inside(np.abs(v + 0.06 + 0.2 * u * u) - thick) * (u < gap)
    arm = field.inside(np.abs(v + 0.07) - thick) * (u > face.eye_spacing + 0.97 * wide)
    arm *= field.inside(u - 1.0 * face.face_width)
    frame = np.maximum.reduce([rim, bridge, arm])
    colour = ((24, 20, 20), (150, 120, 70))[face.glasses - 1]
    lens = field.inside(distance)
    glare = smooth(0.75, 1.0, np.sin(6 * (field.u + 1.4 * field.v) + 1.0))
    image += (lens * (0.015 + 0.05 * glare))[..., None] * scene.key
    shadow = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), field.resolution / 30)
    shadow = np.roll(shadow, round(0.05 * field.resolution), 0)
    image *= 1 - 0.35 * (shadow * (1 - frame))[..., None]
    edge = 1 + 0.8 * np.clip(-(v + high) / 0.03, -0.3, 1)
    mix(image, linear(colour) * edge[..., None], 0.95 * frame * alpha)


def draw_head(face, scene, resolution):
    """Draws the frontal head.

    Returns:
        (field, image [rows, columns, 4] linear RGB premultiplied by alpha, the layer
        behind the neck of the same kind or None, depth [rows, columns]).
    """
    bottom = {"long": 2.2}.get(face.hair_style, 1.3)
    field = Field(-1.45, -1.8, 1.45, bottom, resolution)
    drop = 0.09 * scene.mouth_open
    radius, curve = closed_curve(field, CENTRE, _head_points(face, drop))
    q = radius / curve
    head = field.inside((q - 1) * curve, 1.3)
    inner = np.clip(1 - q * q, 0, None)

    image = _skin(field, face)
    wet = np.zeros(field.shape, np.float32)
    hair_colour = linear(HAIRS[face.hair])
    relief = _height(field, face, scene, drop)
    # Nostrils.
    tip = -0.30 + face.nose_length
    nostril = field.bumps(0.5 * face.nose_width, tip + 0.075, 0.042, 0.022)
    under = field.bump(0, tip + 0.10, 0.8 * face.nose_width, 0.035)
    image *= 1 - np.clip(0.85 * nostril + 0.25 * under, 0, 0.92)[..., None]
    relief += _draw_mouth(field, image, wet, face, scene, drop)
    if face.beard != "none":
        mouth = field.window(-0.6, 0.38, 0.6, 1.02)[1]
        before = image[mouth].copy()
        _draw_beard(field, image, face, hair_colour, q)
        part = field.window(-0.6, 0.38, 0.6, 1.02)[0]
        keep = part.inside(
            np.hypot(part.u / (1.02 * face.mouth_width), (part.v - 0.64) / 0.085) - 1,
            0.5,
        )
        mix(image[mouth], before, np.clip(keep, 0, 1))
    eyes = np.zeros(field.shape, np.float32)
    for side in (-1, 1):
        eye, at = _draw_eye(field, image, wet, face, scene, side)
        eyes[at] = np.maximum(eyes[at], eye)
        _draw_brow(field, image, face, scene, side, hair_colour)

    light_height = 0.80 * np.sqrt(inner + 0.04) + relief * (1 - 0.7 * eyes)
    normals = _normals(field, light_height.astype(np.float32))
    light = light_on(scene, normals)
    half = scene.light + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    gloss = np.clip(normals @ half, 0, 1)
    gloss = 0.06 * gloss**16 + 0.07 * gloss**50
    # Crevices see less of the sky.
    hollow = cv2.GaussianBlur(relief, (0, 0), 0.10 * resolution) - relief
    occlusion = 1 - np.clip(3.2 * hollow, -0.1, 0.45)
    occlusion *= 1 - 0.25 * smooth(0.8, 1.0, q)
    light *= occlusion[..., None]
    lit = (
        image * light + ((gloss * (1 - eyes) + wet) * occlusion)[..., None] * scene.key
    )

    # Ears stand behind the face's outline.
    u = np.abs(field.u) - 1.06 * face.face_width
    ear_q = np.hypot((u - 0.12 * (field.v + 0.05)) / 0.11, (field.v + 0.04) / 0.25)
    ear = field.inside((ear_q - 1) * 0.12, 1.2)
    rim = 0.62 + 0.5 * smooth(0.45, 0.9, ear_q) - 0.25 * smooth(0.9, 1.05, ear_q)
    away = field.u * scene.light[0] < 0
    ear_light = (0.75 * scene.key + scene.ambient) * np.where(away, 0.7, 1.0)[..., None]
    ears = image * rim[..., None] * ear_light * np.array([0.95, 0.78, 0.75], np.float32)
    alpha = np.maximum(head, ear)
    lit = ears * (alpha - head)[..., None] + lit * head[..., None]

    front, back, outer = _hair_masks(field, face)
    behind = None
    if front is not None:
        front = front.astype(np.float32)
        hair = _hair_shade(field, face, scene, outer)
        shadow = cv2.GaussianBlur(front, (0, 0), 0.07 * resolution)
        shadow = np.roll(shadow, round(0.04 * resolution), 0)
        lit *= 1 - 0.45 * shadow[..., None]
        mix(lit, hair, front)
        alpha = alpha + (1 - alpha) * front
        if back is not None:
            behind = np.dstack([hair * 0.5 * back[..., None], back])
    _draw_glasses(field, lit, alpha, face, scene)

    depth = 0.55 * np.clip(inner, 0, 1) + 0.9 * relief * head
    depth = cv2.GaussianBlur(depth.astype(np.float32), (0, 0), 0.03 * resolution)
    return field, np.dstack([lit, alpha]), behind, depth
