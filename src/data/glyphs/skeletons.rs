//! The strokes of the ten digits, each in the ways that people write it.
//!
//! A digit is 2 units high and about 1.2 wide, centred at the origin, x to the right and y down.

/// One movement of the pen through its control points.
#[derive(Debug)]
pub(super) struct Stroke {
    /// `[x, y]` of each control point.
    pub points: &'static [[f32; 2]],
    /// Whether the last point leads back to the first.
    pub closed: bool,
}

const fn open(points: &'static [[f32; 2]]) -> Stroke {
    Stroke {
        points,
        closed: false,
    }
}

const fn closed(points: &'static [[f32; 2]]) -> Stroke {
    Stroke {
        points,
        closed: true,
    }
}

/// Styles of each digit, strokes of each style.
#[rustfmt::skip]
pub(super) const DIGITS: [&[&[Stroke]]; 10] = [
    &[
        &[closed(&[
            [0.05, -1.0], [0.45, -0.7], [0.6, 0.0], [0.42, 0.7], [0.0, 1.0], [-0.45, 0.7],
            [-0.6, 0.0], [-0.42, -0.7],
        ])],
        // begun and ended at the top with a little overlap
        &[open(&[
            [0.2, -0.85], [-0.25, -0.9], [-0.58, -0.3], [-0.5, 0.5], [-0.05, 1.0], [0.45, 0.6],
            [0.58, -0.1], [0.35, -0.75], [-0.05, -0.95],
        ])],
    ],
    &[
        &[open(&[[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]])],
        &[
            open(&[[-0.35, -0.55], [-0.1, -0.75], [0.05, -1.0]]),
            open(&[[0.05, -1.0], [0.05, 0.0], [0.05, 1.0]]),
        ],
        &[
            open(&[[-0.3, -0.6], [0.05, -1.0]]),
            open(&[[0.05, -1.0], [0.05, 0.0], [0.05, 0.95]]),
            open(&[[-0.4, 0.95], [0.5, 0.95]]),
        ],
    ],
    &[
        &[
            open(&[
                [-0.52, -0.55], [-0.32, -0.9], [0.1, -1.0], [0.48, -0.7], [0.42, -0.2],
                [0.0, 0.35], [-0.55, 0.92],
            ]),
            open(&[[-0.55, 0.92], [0.0, 0.88], [0.6, 0.9]]),
        ],
        // with a loop at the foot
        &[open(&[
            [-0.5, -0.65], [-0.1, -1.0], [0.4, -0.8], [0.4, -0.25], [0.05, 0.4], [-0.35, 0.88],
            [-0.6, 0.8], [-0.45, 0.55], [-0.05, 0.68], [0.25, 0.9], [0.65, 0.8],
        ])],
    ],
    &[
        &[
            open(&[
                [-0.5, -0.78], [-0.1, -1.0], [0.35, -0.85], [0.4, -0.42], [0.1, -0.1],
                [-0.2, -0.05],
            ]),
            open(&[
                [-0.15, -0.05], [0.3, 0.03], [0.55, 0.42], [0.35, 0.85], [-0.1, 1.0],
                [-0.55, 0.78],
            ]),
        ],
        // flat top
        &[
            open(&[[-0.5, -0.95], [0.48, -0.95]]),
            open(&[[0.48, -0.95], [0.0, -0.2]]),
            open(&[
                [0.0, -0.2], [0.42, 0.0], [0.52, 0.5], [0.25, 0.92], [-0.2, 0.98], [-0.55, 0.75],
            ]),
        ],
    ],
    &[
        // open
        &[
            open(&[[-0.4, -0.95], [-0.5, -0.4], [-0.5, 0.1]]),
            open(&[[-0.5, 0.1], [0.0, 0.12], [0.5, 0.0]]),
            open(&[[0.45, -0.95], [0.4, 0.0], [0.35, 1.0]]),
        ],
        // closed
        &[
            open(&[[0.2, -1.0], [-0.2, -0.35], [-0.6, 0.3]]),
            open(&[[-0.6, 0.3], [0.0, 0.3], [0.62, 0.28]]),
            open(&[[0.2, -1.0], [0.22, 0.0], [0.22, 1.0]]),
        ],
    ],
    &[&[
        open(&[[-0.38, -0.95], [0.1, -0.95], [0.55, -1.0]]),
        open(&[[-0.38, -0.95], [-0.42, -0.55], [-0.46, -0.12]]),
        open(&[
            [-0.46, -0.12], [0.0, -0.28], [0.42, -0.05], [0.5, 0.42], [0.25, 0.88], [-0.15, 0.98],
            [-0.55, 0.8],
        ]),
    ]],
    &[
        &[open(&[
            [0.4, -0.98], [-0.05, -0.7], [-0.42, -0.15], [-0.52, 0.45], [-0.25, 0.95], [0.2, 0.95],
            [0.48, 0.6], [0.3, 0.18], [-0.1, 0.15], [-0.45, 0.5],
        ])],
        // straighter back, smaller loop
        &[open(&[
            [0.1, -1.0], [-0.25, -0.5], [-0.45, 0.1], [-0.45, 0.65], [-0.1, 1.0], [0.3, 0.85],
            [0.4, 0.45], [0.1, 0.22], [-0.25, 0.38], [-0.42, 0.7],
        ])],
    ],
    &[
        &[
            open(&[[-0.55, -0.85], [0.0, -0.92], [0.55, -0.9]]),
            open(&[[0.55, -0.9], [0.3, -0.35], [0.05, 0.3], [-0.1, 1.0]]),
        ],
        // with a bar
        &[
            open(&[[-0.55, -0.9], [0.0, -0.92], [0.55, -0.95]]),
            open(&[[0.55, -0.95], [0.25, -0.3], [0.0, 0.3], [-0.15, 1.0]]),
            open(&[[-0.25, 0.05], [0.5, 0.0]]),
        ],
        // with a serif
        &[
            open(&[[-0.5, -0.6], [-0.5, -0.92]]),
            open(&[[-0.5, -0.92], [0.5, -0.92]]),
            open(&[[0.5, -0.92], [0.25, -0.2], [0.1, 0.35], [0.05, 1.0]]),
        ],
    ],
    &[
        // one movement, crossing itself in the middle
        &[closed(&[
            [0.4, -0.75], [0.0, -1.0], [-0.42, -0.72], [-0.32, -0.3], [0.05, -0.02], [0.45, 0.35],
            [0.42, 0.8], [0.0, 1.0], [-0.45, 0.78], [-0.42, 0.32], [0.0, -0.02], [0.35, -0.35],
        ])],
        // two circles
        &[
            closed(&[
                [0.0, -1.0], [0.38, -0.78], [0.38, -0.3], [0.0, -0.08], [-0.38, -0.3],
                [-0.38, -0.78],
            ]),
            closed(&[
                [0.0, -0.08], [0.46, 0.18], [0.46, 0.76], [0.0, 1.0], [-0.46, 0.76], [-0.46, 0.18],
            ]),
        ],
    ],
    &[
        // straight leg
        &[
            closed(&[
                [0.1, -1.0], [-0.3, -0.9], [-0.48, -0.5], [-0.25, -0.1], [0.2, -0.15],
                [0.45, -0.6],
            ]),
            open(&[[0.46, -0.75], [0.42, 0.1], [0.3, 1.0]]),
        ],
        // bent leg
        &[
            open(&[
                [0.45, -0.7], [0.1, -1.0], [-0.35, -0.85], [-0.45, -0.4], [-0.1, -0.08],
                [0.3, -0.3], [0.48, -0.8],
            ]),
            open(&[[0.48, -0.8], [0.52, -0.1], [0.42, 0.6], [0.05, 0.98], [-0.4, 0.85]]),
        ],
    ],
];

/// Straight pieces between two control points.
const PIECES: usize = 6;

/// The smooth curve through `points` as a poly-line.
///
/// A uniform Catmull-Rom spline (Catmull and Rom, A Class of Local Interpolating Splines, 1974): between
/// `p1` and `p2`, with neighbours `p0` and `p3`, the cubic with the end slopes `(p2 - p0) / 2` and
/// `(p3 - p1) / 2`. The ends of an open curve are their own neighbours, so two points give a straight
/// line.
pub(super) fn smooth(points: &[[f32; 2]], closed: bool) -> Vec<[f32; 2]> {
    let count = points.len();
    let at = |i: usize| match closed {
        // `i` is one more than the index, so that the neighbour before the first point has a number
        true => points[(i + count - 1) % count],
        false => points[i.saturating_sub(1).min(count - 1)],
    };
    let spans = if closed { count } else { count - 1 };
    let mut line = Vec::with_capacity(spans * PIECES + 1);
    line.push(points[0]);
    for span in 0..spans {
        let neighbours = [at(span), at(span + 1), at(span + 2), at(span + 3)];
        for piece in 1..=PIECES {
            let t = piece as f32 / PIECES as f32;
            line.push([0, 1].map(|axis| {
                let [p0, p1, p2, p3] = neighbours.map(|point| point[axis]);
                let (m1, m2) = (0.5 * (p2 - p0), 0.5 * (p3 - p1));
                let rise = p2 - p1;
                p1 + t * (m1 + t * ((3.0 * rise - 2.0 * m1 - m2) + t * (m1 + m2 - 2.0 * rise)))
            }));
        }
    }
    line
}
